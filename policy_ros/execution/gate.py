# SPDX-License-Identifier: Apache-2.0
"""The last check in front of the motors: no row reaches an output without passing here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import ConfigurationError
from policy_ros.execution.hold import HoldCause

FloatArray = NDArray[np.floating]
Float64Array = NDArray[np.float64]

_ROUNDING = 1e-6  # float32 rows may exceed a limit by their own rounding


@dataclass(frozen=True)
class GateLimits:
    """Limits per joint in robot units, arrays ``(A,)`` in the order of ``names``; infinite means unlimited.

    Attributes:
        names: joints.
        lower: smallest position [rad, m].
        upper: largest position [rad, m].
        max_velocity: largest speed between two rows [rad/s, m/s].
        max_jump: largest distance of a row that is due from the measured position and from the last command [rad, m].
        margin: kept from both position limits [rad, m].
        reject: refuse rows beyond a position or velocity limit, which ends in a hold, instead of clamping them.

    Raises:
        ConfigurationError: lengths differ, a limit is NaN or negative, or a joint has no room left.
    """

    names: tuple[str, ...]
    lower: Float64Array
    upper: Float64Array
    max_velocity: Float64Array
    max_jump: Float64Array
    margin: float = 0.0
    reject: bool = False

    def __post_init__(self) -> None:
        for field in ("lower", "upper", "max_velocity", "max_jump"):
            values = np.array(getattr(self, field), dtype=np.float64)
            if values.shape != (len(self.names),) or np.any(np.isnan(values)):
                raise ConfigurationError(
                    f"gate {field}: expected one number for each of {len(self.names)} joints "
                    f"({', '.join(self.names)}), got {values.tolist()}"
                )
            values.setflags(write=False)
            object.__setattr__(self, field, values)
        for field in ("max_velocity", "max_jump"):
            if np.any(getattr(self, field) <= 0.0):
                raise ConfigurationError(f"gate {field}: expected positive values, got {getattr(self, field).tolist()}")
        if not self.margin >= 0.0:
            raise ConfigurationError(f"gate margin: expected 0 or more, got {self.margin}")
        for name, lower, upper in zip(self.names, self.lower, self.upper, strict=True):
            if not lower + self.margin < upper - self.margin:
                raise ConfigurationError(
                    f"gate limits of {name}: expected lower + margin < upper - margin, got {lower}, {upper} "
                    f"with margin {self.margin}"
                )

    @classmethod
    def unlimited(cls, names: tuple[str, ...]) -> GateLimits:
        """Only shapes and finiteness are checked."""
        infinite = np.full(len(names), np.inf)
        return cls(names, -infinite, infinite, infinite, infinite)


@dataclass(frozen=True)
class GateResult:
    """Verdict on one window.

    Attributes:
        rows: ``(K', A)`` rows that may be commanded, K' <= K; None: none may.
        clamped: ``(K',)`` which of them were changed.
        rejected: rows refused, which are the first bad one and all after it.
        reason: why rows were refused, else None.
        detail: one line with the facts.
    """

    rows: Float64Array | None
    clamped: NDArray[np.bool_]
    rejected: int = 0
    reason: HoldCause | None = None
    detail: str = ""


class Gate:
    """Checks windows of rows against limits. Keeps no state: the previous command is handed in.

    Args:
        limits: per joint.
    """

    def __init__(self, limits: GateLimits) -> None:
        self.limits = limits
        self._lower = limits.lower + limits.margin
        self._upper = limits.upper - limits.margin
        self._needs_reference = bool(np.any(np.isfinite(limits.max_velocity)) or np.any(np.isfinite(limits.max_jump)))

    def check(
        self,
        rows: FloatArray,
        previous: Float64Array | None,
        measured: Float64Array | None,
        dt: float,
    ) -> GateResult:
        """Judge a window.

        Args:
            rows: ``(K, A)`` robot units, row 0 is due now, K >= 1.
            previous: ``(A,)`` last commanded row, None when nothing was commanded in this epoch.
            measured: ``(A,)`` measured positions, NaN for joints that are not measured; None: nothing is measured.
            dt: time between two rows [s].

        Rows behind the first that is refused are refused too; they come due later and are judged again then.
        """
        fault = self._malformed(rows, measured) or self._jump(rows[0], previous, measured)
        if fault is not None:
            return GateResult(None, np.zeros(0, dtype=np.bool_), len(rows), *fault)
        wanted = np.asarray(rows, dtype=np.float64)
        allowed = self._clamp(wanted, self._reference(previous, measured), dt)
        changed = np.abs(allowed - wanted) > _ROUNDING
        clamped = np.any(changed, axis=1)
        if not self.limits.reject or not np.any(clamped):
            return GateResult(allowed, clamped)
        return self._refuse_from(int(np.argmax(clamped)), wanted, allowed, changed)

    def _malformed(self, rows: FloatArray, measured: FloatArray | None) -> tuple[HoldCause, str] | None:
        size = len(self.limits.names)
        if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] != size:
            return HoldCause.INVALID_ACTION, f"expected rows of {size} joints, got shape {rows.shape}"
        if not np.all(np.isfinite(rows)):
            return HoldCause.NON_FINITE_ACTION, f"expected finite actions, got {rows[~np.isfinite(rows)][0]}"
        if measured is not None and np.shape(measured) != (size,):
            return HoldCause.INTERNAL_ERROR, f"expected {size} measured positions, got shape {np.shape(measured)}"
        return None

    def _jump(
        self, row: FloatArray, previous: Float64Array | None, measured: Float64Array | None
    ) -> tuple[HoldCause, str] | None:
        if previous is None and measured is None and self._needs_reference:
            return HoldCause.JUMP, "expected measured positions to compare the first command with, got none"
        for reference, label in ((measured, "measured position"), (previous, "last command")):
            if reference is None:
                continue
            distance = np.abs(row - reference)  # NaN where a joint is not measured: compares as within the limit
            beyond = distance > self.limits.max_jump
            if np.any(beyond):
                joint = int(np.argmax(beyond))
                return HoldCause.JUMP, (
                    f"{self.limits.names[joint]}: expected at most {self.limits.max_jump[joint]:.4g} from the {label} "
                    f"{reference[joint]:.4g}, got {row[joint]:.4g}"
                )
        return None

    @staticmethod
    def _reference(previous: Float64Array | None, measured: Float64Array | None) -> Float64Array | None:
        return measured if previous is None else previous

    def _clamp(self, rows: Float64Array, reference: FloatArray | None, dt: float) -> Float64Array:
        """Rows within position limits, each at most one step of the largest velocity from the one before."""
        allowed = np.clip(rows, self._lower, self._upper)
        if reference is None or not np.any(np.isfinite(self.limits.max_velocity)):
            return allowed
        step = self.limits.max_velocity * dt
        before = np.where(np.isfinite(reference), reference, allowed[0])  # a joint that is not measured starts free
        for row in allowed:
            np.clip(row, before - step, before + step, out=row)
            before = row
        return allowed

    def _refuse_from(
        self, first: int, wanted: Float64Array, allowed: Float64Array, changed: NDArray[np.bool_]
    ) -> GateResult:
        joint = int(np.argmax(changed[first]))
        detail = (
            f"{self.limits.names[joint]}: expected at most {allowed[first, joint]:.4g} within the position and "
            f"velocity limits, got {wanted[first, joint]:.4g}"
        )
        kept = allowed[:first] if first > 0 else None
        return GateResult(kept, np.zeros(first, dtype=np.bool_), len(wanted) - first, HoldCause.LIMIT, detail)
