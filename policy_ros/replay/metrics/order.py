# SPDX-License-Identifier: Apache-2.0
"""Whether joints or cameras are in another order for the policy than on the robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.replay.metrics.rounding import rounded

SUSPICIOUS_GAIN = 0.5


@dataclass(frozen=True)
class SuspectedOrder:
    """Joints, or cameras, that fit what belongs to one another.

    Attributes:
        predicted: names, in the order of the configuration.
        fits: for each of these, the one that it fits best: the joint whose recording fits its prediction, or the camera
            whose training fits its pictures; the same names in another order.
        gain: share of their error that would go if they were exchanged.
    """

    predicted: tuple[str, ...]
    fits: tuple[str, ...]
    gain: float


def suspected_order(errors: NDArray[np.float64], names: tuple[str, ...]) -> list[SuspectedOrder]:
    """Groups to exchange, most telling first; none is suspected in a policy that is merely bad.

    Every one points at the one that it fits best. A group is suspected where these arrows
    form a circle of two or more, and following it takes at least half of the group's error away.

    Args:
        errors: ``(A, A)`` how badly j fits k, such as the mean absolute error of joint j's prediction against joint k's
            recording; NaN: not known.
        names: A names.
    """
    best = np.where(np.isfinite(errors), errors, np.inf)
    prefer_own = np.isfinite(errors.diagonal()) & (errors.diagonal() <= best.min(axis=1, initial=np.inf))
    target = np.where(prefer_own, np.arange(len(names)), np.argmin(best, axis=1) if len(names) else 0)
    found = []
    for circle in _circles(target.tolist()):
        before = sum(errors[joint, joint] for joint in circle)
        after = sum(errors[joint, target[joint]] for joint in circle)
        gain = 1.0 - after / before if before > 0.0 else 0.0
        if gain >= SUSPICIOUS_GAIN:
            fits = tuple(names[target[joint]] for joint in circle)
            found.append(SuspectedOrder(tuple(names[joint] for joint in circle), fits, rounded(gain)))
    return sorted(found, key=lambda each: -each.gain)


def _circles(target: list[int]) -> list[list[int]]:
    """Circles of at least two in a graph where every node has one arrow, each sorted."""
    found = []
    for start in range(len(target)):
        members, node = [start], target[start]
        while node not in members:
            members.append(node)
            node = target[node]
        if node == start and len(members) > 1 and start == min(members):
            found.append(sorted(members))
    return found
