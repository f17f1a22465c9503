# SPDX-License-Identifier: Apache-2.0
"""Whether an inference can do what the mode promises, and what acts instead where it cannot."""

from __future__ import annotations

from dataclasses import dataclass

HOLD = "hold"


def who_acts(active_mode: str, mode: str) -> str:
    """In words, what acts where a mode cannot do what it promises."""
    return f"{mode} without margin" if active_mode == mode else f"{active_mode} instead of {mode}"


@dataclass(frozen=True)
class Assessment:
    """Judgement on one inference before it starts.

    Attributes:
        active_mode: what acts: the mode itself, another mode, or ``hold`` where the robot will have to wait for chunks.
        degradation: one line that says why ``active_mode`` is not the mode that was chosen; empty where it is.
    """

    active_mode: str
    degradation: str = ""
