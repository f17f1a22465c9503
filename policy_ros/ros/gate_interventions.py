# SPDX-License-Identifier: Apache-2.0
"""Tells people what the gate changes, while it changes it."""

from __future__ import annotations

from collections.abc import Sequence

from policy_ros.execution import ExecutionStatus


class GateInterventions:
    """Compares counts between calls, so that what is over is no longer reported.

    Args:
        joints: names of the commanded joints.
    """

    def __init__(self, joints: Sequence[str]) -> None:
        self._joints = tuple(joints)
        self._clamped = (0,) * len(self._joints)

    def update(self, execution: ExecutionStatus) -> str:
        """One line with the joints whose commands were changed since the previous call; empty if none was."""
        before, self._clamped = self._clamped, execution.joint_clamped
        # A count that became smaller began again with the activation.
        new = [now - was if now >= was else now for now, was in zip(self._clamped, before, strict=True)]
        changed = [f"{name} {count}" for name, count in zip(self._joints, new, strict=True) if count > 0]
        return f"the gate limits commands: {', '.join(changed)}" if changed else ""
