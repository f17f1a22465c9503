# SPDX-License-Identifier: Apache-2.0
"""Judges windows of rows, and brings the robot to rest."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policy_ros.execution.gate.braking import longest_ramp_s, ramp_down
from policy_ros.execution.gate.clamp import Clamp
from policy_ros.execution.gate.limits import GateLimits
from policy_ros.execution.gate.motion import Motion
from policy_ros.execution.hold import HoldCause

FloatArray = NDArray[np.floating]
Float64Array = NDArray[np.float64]

_ROUNDING = 1e-6  # float32 rows may exceed a limit by their own rounding
_SAME = 1e-9  # closer than this is the wanted row itself, computed again


@dataclass(frozen=True)
class GateResult:
    """Verdict on one window.

    Attributes:
        rows: ``(K', A)`` rows that may be commanded, K' <= K; None: none may.
        changed: ``(K', A)`` which of their values were changed.
        rejected: rows refused, which are the first bad one and all after it.
        offending: ``(A,)`` joints for which the first bad row was refused.
        reason: why rows were refused, else None.
        detail: one line with the facts.
    """

    rows: Float64Array | None
    changed: NDArray[np.bool_]
    rejected: int = 0
    offending: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    reason: HoldCause | None = None
    detail: str = ""

    @property
    def clamped(self) -> NDArray[np.bool_]:
        """``(K',)`` which rows were changed."""
        rows: NDArray[np.bool_] = np.any(self.changed, axis=1)
        return rows


_Fault = tuple[HoldCause, str, NDArray[np.bool_]]


class Gate:
    """Checks windows of rows against limits. Keeps no state: the motion so far is handed in.

    Args:
        limits: per joint.
    """

    def __init__(self, limits: GateLimits) -> None:
        self.limits = limits
        rates = (limits.max_velocity, limits.max_jump, limits.max_acceleration, limits.max_jerk)
        self._jumps = bool(np.isfinite(limits.max_jump).any())
        self._needs_reference = any(bool(np.any(np.isfinite(rate))) for rate in rates)
        self._nobody = np.zeros(len(limits.names), dtype=np.bool_)
        self._clamp = Clamp(limits)
        self._reject = np.asarray(limits.reject)
        self._rejects = bool(self._reject.any())

    @staticmethod
    def reference(previous: Motion | None, measured: Float64Array | None) -> Motion | None:
        """What the next command continues: the commands so far, or the robot at rest where it is measured."""
        if previous is not None:
            return previous
        return None if measured is None else Motion.at_rest(measured)

    def check(self, rows: FloatArray, previous: Motion | None, measured: Float64Array | None, dt: float) -> GateResult:
        """Judge a window.

        Args:
            rows: ``(K, A)`` robot units, row 0 is due now, K >= 1.
            previous: what was commanded so far, None when nothing was commanded in this epoch.
            measured: ``(A,)`` measured positions, NaN for joints that are not measured; None: nothing is measured.
            dt: time between two rows [s].

        Rows behind the first that is refused are refused too; they come due later and are judged again then.
        """
        fault = self._malformed(rows, measured) or self._jump(rows[0], previous, measured)
        if fault is not None:
            return self._refuse_all(len(rows), *fault)
        wanted = np.asarray(rows, dtype=np.float64)
        allowed = self._clamp(wanted, self.reference(previous, measured), dt)
        if not _all(np.isfinite(allowed)):  # cannot be; but nothing that is not finite ever leaves here
            return self._refuse_all(len(rows), HoldCause.INTERNAL_ERROR, "the gate computed no number", self._nobody)
        moved = np.abs(allowed - wanted)
        changed = moved > _ROUNDING
        np.copyto(allowed, wanted, where=moved <= _SAME)
        refused = changed & self._reject if self._rejects else None
        if refused is None or not _any(refused):
            return GateResult(allowed, changed)
        return self._refuse_from(int(np.argmax(np.any(refused, axis=1))), wanted, allowed, changed, refused)

    def ramp_down(self, motion: Motion, dt: float) -> Float64Array:
        """Rows ``(N, A)`` that bring a motion to rest, see :func:`~policy_ros.execution.gate.braking.ramp_down`."""
        rows = ramp_down(motion, self.limits, dt)
        # As in check(): nothing that is not finite ever leaves here. Without a ramp the robot is told to stay.
        return rows if np.all(np.isfinite(rows)) else rows[:0]

    def longest_ramp_s(self) -> float:
        """Upper bound of the duration of :meth:`ramp_down` [s]."""
        return longest_ramp_s(self.limits)

    def _malformed(self, rows: FloatArray, measured: FloatArray | None) -> _Fault | None:
        size = len(self.limits.names)
        if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] != size:
            return HoldCause.INVALID_ACTION, f"expected rows of {size} joints, got shape {rows.shape}", self._nobody
        finite = np.isfinite(rows)
        if not _all(finite):
            bad = ~finite
            return HoldCause.NON_FINITE_ACTION, f"expected finite actions, got {rows[bad][0]}", np.any(bad, axis=0)
        if measured is not None and np.shape(measured) != (size,):
            detail = f"expected {size} measured positions, got shape {np.shape(measured)}"
            return HoldCause.INTERNAL_ERROR, detail, self._nobody
        return None

    def _jump(self, row: FloatArray, previous: Motion | None, measured: Float64Array | None) -> _Fault | None:
        if previous is None and measured is None and self._needs_reference:
            detail = "expected measured positions to compare the first command with, got none"
            return HoldCause.JUMP, detail, self._nobody
        if not self._jumps:
            return None
        commanded = None if previous is None else previous.position
        for reference, label in ((measured, "measured position"), (commanded, "last command")):
            if reference is None:
                continue
            distance = np.abs(row - reference)  # NaN where a joint is not measured: compares as within the limit
            beyond = distance > self.limits.max_jump
            if _any(beyond):
                joint = int(np.argmax(beyond))
                detail = (
                    f"{self.limits.names[joint]}: expected at most {self.limits.max_jump[joint]:.4g} from the {label} "
                    f"{reference[joint]:.4g}, got {row[joint]:.4g}"
                )
                return HoldCause.JUMP, detail, beyond
        return None

    def _refuse_all(self, count: int, reason: HoldCause, detail: str, offending: NDArray[np.bool_]) -> GateResult:
        changed = np.zeros((0, len(self.limits.names)), dtype=np.bool_)
        return GateResult(None, changed, count, offending, reason, detail)

    def _refuse_from(
        self,
        first: int,
        wanted: Float64Array,
        allowed: Float64Array,
        changed: NDArray[np.bool_],
        refused: NDArray[np.bool_],
    ) -> GateResult:
        joint = int(np.argmax(refused[first]))
        detail = (
            f"{self.limits.names[joint]}: expected at most {allowed[first, joint]:.4g} within the position, velocity "
            f"and acceleration limits, got {wanted[first, joint]:.4g}"
        )
        kept = allowed[:first] if first > 0 else None
        return GateResult(kept, changed[:first], len(wanted) - first, refused[first], HoldCause.LIMIT, detail)


def _any(flags: NDArray[np.bool_]) -> bool:
    """As ``flags.any()``, which takes ten times as long for a few flags."""
    return bool(np.count_nonzero(flags))


def _all(flags: NDArray[np.bool_]) -> bool:
    """As ``flags.all()``, likewise."""
    return bool(np.count_nonzero(flags) == flags.size)
