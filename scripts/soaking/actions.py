# SPDX-License-Identifier: Apache-2.0
"""What can be done to the running system; the schedule draws these, the driver carries them out."""

from __future__ import annotations

from dataclasses import dataclass

Value = bool | int | float | str


@dataclass(frozen=True)
class CameraDropout:
    """A camera publishes nothing for a while."""

    camera: str
    duration_s: float


@dataclass(frozen=True)
class JointDropout:
    """No joint states for a while."""

    duration_s: float


@dataclass(frozen=True)
class FrozenCamera:
    """A camera publishes the same picture for a while, with fresh stamps."""

    camera: str
    duration_s: float


@dataclass(frozen=True)
class PolicyFault:
    """The policy misbehaves for a while: ``nan``, ``raise``, ``hang``, or ``delay`` every inference by ``delay_s``."""

    kind: str
    duration_s: float
    delay_s: float = 0.0


@dataclass(frozen=True)
class SetParameter:
    """A parameter changes while the node is active."""

    name: str
    value: Value


@dataclass(frozen=True)
class RefusedParameter:
    """A parameter that must be refused, with a reason."""

    name: str
    value: Value


@dataclass(frozen=True)
class Reset:
    """``~/reset``, whether or not the node holds."""


@dataclass(frozen=True)
class Reactivate:
    """Deactivate, stay inactive for a while, activate."""

    pause_s: float


@dataclass(frozen=True)
class Reconfigure:
    """Deactivate, clean up, configure another policy, activate."""

    policy: str


@dataclass(frozen=True)
class RestartRobot:
    """The robot's process ends, in order or killed, and begins again."""

    kill: bool


@dataclass(frozen=True)
class RestartNode:
    """The node's process is told to end while it is active, and begins again."""


@dataclass(frozen=True)
class Swap:
    """Another policy takes over while the node is active."""

    policy: str


Fault = CameraDropout | JointDropout | FrozenCamera | PolicyFault
Change = SetParameter | RefusedParameter | Swap | Reset | Reactivate
Action = Fault | Change | Reconfigure | RestartRobot | RestartNode


@dataclass(frozen=True)
class Step:
    """One step of a soak.

    Attributes:
        pause_s: undisturbed running before it.
        action: what is done.
        meanwhile: done in the middle of a fault, before it is lifted.
    """

    pause_s: float
    action: Action
    meanwhile: Change | None = None


def label(action: Action) -> str:
    """Name for counts and reports."""
    if isinstance(action, PolicyFault):
        return {"nan": "NaN chunks", "raise": "exceptions", "hang": "hanging inference", "delay": "delay spike"}[
            action.kind
        ]
    if isinstance(action, RestartRobot):
        return "robot killed (SIGKILL)" if action.kill else "robot restarted (SIGTERM)"
    return {
        CameraDropout: "camera drop-out",
        JointDropout: "joint state drop-out",
        FrozenCamera: "frozen camera",
        SetParameter: "parameter change",
        RefusedParameter: "invalid parameter",
        Swap: "another policy takes over",
        Reset: "reset while running",
        Reactivate: "deactivate, activate",
        Reconfigure: "deactivate, clean up, configure, activate",
        RestartNode: "node restarted (SIGTERM)",
    }[type(action)]
