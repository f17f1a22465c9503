# SPDX-License-Identifier: Apache-2.0
"""What every joint may do."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import ConfigurationError

Float64Array = NDArray[np.float64]

_RATES = ("max_velocity", "max_jump", "max_acceleration", "max_jerk")


@dataclass(frozen=True)
class GateLimits:
    """Limits per joint in robot units, arrays ``(A,)`` in the order of ``names``; infinite means unlimited.

    One number stands for all joints.

    Attributes:
        names: joints.
        lower: smallest position [rad, m].
        upper: largest position [rad, m].
        max_velocity: largest speed between two rows [rad/s, m/s].
        max_jump: largest distance of a row that is due from the measured position and from the last command [rad, m].
        margin: kept from both position limits [rad, m].
        reject: for which joints rows beyond a limit are refused, which ends in a hold, instead of clamped.
        max_acceleration: largest change of speed [rad/s², m/s²].
        max_jerk: largest change of acceleration [rad/s³, m/s³]; gives way where another limit could not be kept.
        ramp_down_s: time in which a hold brings the joints to rest, longer where ``max_acceleration`` asks for it [s].

    Raises:
        ConfigurationError: lengths differ, a limit is NaN or negative, or a joint has no room left.
    """

    names: tuple[str, ...]
    lower: Float64Array
    upper: Float64Array
    max_velocity: Float64Array
    max_jump: Float64Array
    margin: float = 0.0
    reject: NDArray[np.bool_] | bool = False
    max_acceleration: Float64Array | float = inf
    max_jerk: Float64Array | float = inf
    ramp_down_s: float = 0.0

    def __post_init__(self) -> None:
        for field in ("lower", "upper", *_RATES):
            self._set(field, np.array(getattr(self, field), dtype=np.float64))
        self._set("reject", np.array(self.reject, dtype=np.bool_))
        for field in _RATES:
            if np.any(getattr(self, field) <= 0.0):
                raise ConfigurationError(f"gate {field}: expected positive values, got {getattr(self, field).tolist()}")
        for field in ("margin", "ramp_down_s"):
            if not 0.0 <= getattr(self, field) < inf:
                raise ConfigurationError(f"gate {field}: expected 0 or more, got {getattr(self, field)}")
        for name, lower, upper in zip(self.names, self.lower, self.upper, strict=True):
            if not lower + self.margin < upper - self.margin:
                raise ConfigurationError(
                    f"gate limits of {name}: expected lower + margin < upper - margin, got {lower}, {upper} "
                    f"with margin {self.margin}"
                )

    def _set(self, field: str, values: NDArray[np.generic]) -> None:
        if values.shape == ():
            values = np.full(len(self.names), values)
        if values.shape != (len(self.names),) or np.any(np.isnan(values)):
            raise ConfigurationError(
                f"gate {field}: expected one value for each of {len(self.names)} joints "
                f"({', '.join(self.names)}), got {values.tolist()}"
            )
        values.setflags(write=False)
        object.__setattr__(self, field, values)

    @classmethod
    def unlimited(cls, names: tuple[str, ...]) -> GateLimits:
        """Only shapes and finiteness are checked."""
        infinite = np.full(len(names), inf)
        return cls(names, -infinite, infinite, infinite, infinite)
