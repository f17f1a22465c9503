# SPDX-License-Identifier: Apache-2.0
"""The task: along a path in joint space that passes four obstacles, each on either side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

JOINTS = ("base", "shoulder")
PERIOD_S = 0.02  # 50 Hz
HORIZON = 50  # H, rows of a chunk
DURATION_S = 15.0
GOAL_TOLERANCE_RAD = 0.06
SIDES = (1.0, -1.0)  # above and below an obstacle

_SWEEP_RAD = (-2.4, 2.4)
_RAMP_S = 1.0  # the base speeds up and slows down for so long
_VIA_S = (0.0, 3.5, 7.0, 10.5, DURATION_S)
_VIA_RAD = (0.0, 0.5, -0.3, 0.4, 0.0)
_FORKS_S = (1.0, 4.5, 8.0, 11.5)  # where the two ways part
_FORK_DURATION_S = 2.6
_FORK_TURN_S = 0.8  # to leave the centre line, and to come back
_FORK_RAD = 0.25
_OBSTACLE_SHARE = 0.25  # of the way from the centre line to either side
_OBSTACLE_FROM_RAD = 0.8 * _FORK_RAD  # an obstacle reaches as far as the ways are this far from the centre line
_GRID_S = 0.002
_CHECKED_POINTS = 20  # of a step that may touch an obstacle
_AHEAD_S = tuple(0.1 * step for step in range(11))
AHEAD = 2 * len(_AHEAD_S)


class ForkedPath:
    """Reference positions over time, and what a position means for the task.

    The base sweeps at a constant speed, so that its position tells the progress. The shoulder goes through via points
    by minimum-jerk segments and leaves this centre line on either side of each obstacle; both ways are equally good.
    """

    start = np.array([_SWEEP_RAD[0], _VIA_RAD[0]])
    goal = np.array([_SWEEP_RAD[1], _VIA_RAD[-1]])

    def __init__(self) -> None:
        self._grid_s = np.arange(0.0, DURATION_S + _GRID_S, _GRID_S)
        self._sweep = _sweep(self._grid_s)
        self._ways = np.stack([self.at(self._grid_s, side) for side in SIDES])  # (2, G, 2)

    def at(self, time_s: FloatArray, side: float | FloatArray) -> FloatArray:
        """Reference ``(…, 2)`` [rad] at times ``(…)`` [s] on the way that passes the obstacles on ``side``."""
        shoulder = _centre(time_s) + side * _offset(time_s)
        return np.stack([_sweep(time_s), shoulder], axis=-1)

    def progress_s(self, positions: FloatArray) -> FloatArray:
        """Times ``(…)`` [s] at which the reference's base is where it is at positions ``(…, 2)``."""
        time_s: FloatArray = np.interp(positions[..., 0], self._sweep, self._grid_s)
        return time_s

    def ahead(self, positions: FloatArray) -> NDArray[np.float32]:
        """What a camera would tell at positions ``(…, 2)``: the way ahead, ``(…, AHEAD)`` [rad].

        For now and some times ahead: the centre line relative to the shoulder, and how far the two ways are from it.
        """
        time_s = self.progress_s(positions)[..., None] + np.asarray(_AHEAD_S)
        centre = _centre(time_s) - positions[..., 1:]
        return np.concatenate([centre, _offset(time_s)], axis=-1).astype(np.float32)

    def distance(self, positions: FloatArray) -> FloatArray:
        """From each of ``(T, 2)`` positions to the nearest point of the nearer way, ``(T,)`` [rad]."""
        points = self._ways.reshape(-1, 2)[:: round(0.01 / _GRID_S)]
        return np.array([np.sqrt(np.min(np.sum((points - position) ** 2, axis=1))) for position in positions])

    def collisions(self, positions: FloatArray) -> NDArray[np.bool_]:
        """Which of the ``T - 1`` straight steps between ``(T, 2)`` positions touch an obstacle."""
        share = np.linspace(0.0, 1.0, _CHECKED_POINTS)[:, None, None]
        between = positions[:-1] + share * np.diff(positions, axis=0)  # (points, T - 1, 2)
        time_s = self.progress_s(between)
        room = _offset(time_s)
        inside = np.abs(between[..., 1] - _centre(time_s)) < _OBSTACLE_SHARE * room
        touched: NDArray[np.bool_] = np.any(inside & (room > _OBSTACLE_FROM_RAD), axis=0)
        return touched

    def reached(self, position: FloatArray) -> bool:
        """Whether ``(2,)`` is at the goal."""
        return bool(np.max(np.abs(position - self.goal)) <= GOAL_TOLERANCE_RAD)

    def obstacles(self) -> list[FloatArray]:
        """Outlines ``(N, 2)`` [rad], for pictures."""
        outlines = []
        for start_s in _FORKS_S:
            time_s = np.arange(start_s, start_s + _FORK_DURATION_S, 0.02)
            time_s = time_s[_offset(time_s) > _OBSTACLE_FROM_RAD]
            half = _OBSTACLE_SHARE * _offset(time_s)
            edges = [np.stack([_sweep(time_s), _centre(time_s) + side * half], axis=-1) for side in SIDES]
            outlines.append(np.concatenate([edges[0], edges[1][::-1]]))
        return outlines

    def peak_acceleration(self, period_s: float) -> float:
        """Largest acceleration of the reference itself, sampled at ``period_s`` [rad/s^2]."""
        time_s = np.arange(0.0, DURATION_S, period_s)
        return max(float(np.max(np.abs(np.diff(self.at(time_s, side), 2, axis=0)))) for side in SIDES) / period_s**2


def _sweep(time_s: FloatArray) -> FloatArray:
    """Base position: trapezoidal speed."""
    time_s = np.clip(time_s, 0.0, DURATION_S)
    left_s = DURATION_S - time_s
    share = time_s - _RAMP_S / 2.0
    share = np.where(time_s < _RAMP_S, time_s**2 / (2.0 * _RAMP_S), share)
    share = np.where(left_s < _RAMP_S, DURATION_S - _RAMP_S - left_s**2 / (2.0 * _RAMP_S), share)
    start, end = _SWEEP_RAD
    return start + (end - start) * share / (DURATION_S - _RAMP_S)


def _centre(time_s: FloatArray) -> FloatArray:
    """Shoulder position half-way between the two ways: minimum-jerk segments between the via points."""
    time_s = np.clip(time_s, 0.0, DURATION_S)
    segment = np.clip(np.searchsorted(_VIA_S, time_s, side="right") - 1, 0, len(_VIA_S) - 2)
    via_s, via_rad = np.asarray(_VIA_S), np.asarray(_VIA_RAD)
    share = _minimum_jerk((time_s - via_s[segment]) / (via_s[segment + 1] - via_s[segment]))
    position: FloatArray = via_rad[segment] + (via_rad[segment + 1] - via_rad[segment]) * share
    return position


def _offset(time_s: FloatArray) -> FloatArray:
    """Distance of either way from the centre line: out, along the obstacle, and back."""
    total = np.zeros_like(np.asarray(time_s, dtype=np.float64))
    for start_s in _FORKS_S:
        out = _minimum_jerk((time_s - start_s) / _FORK_TURN_S)
        back = _minimum_jerk((time_s - (start_s + _FORK_DURATION_S - _FORK_TURN_S)) / _FORK_TURN_S)
        total += _FORK_RAD * (out - back)
    return total


def _minimum_jerk(share: FloatArray) -> FloatArray:
    """From 0 to 1 as ``share`` of the time goes from 0 to 1, at rest at both ends."""
    u = np.clip(share, 0.0, 1.0)
    return u**3 * (10.0 - 15.0 * u + 6.0 * u**2)
