# SPDX-License-Identifier: Apache-2.0
"""Another policy that is to take over from the one that runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policy_ros.data import Observation
from policy_ros.execution.strategies import Strategy

if TYPE_CHECKING:
    from policy_ros.execution.inference import ChunkPolicy


def _nothing() -> None:
    """Nobody wants to know."""


def _ignore(reason: str) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, eq=False)
class Successor:
    """What runs from the next chunk boundary on, and who is told about it.

    The callbacks come with the executor's lock held, from the inference thread or, where nothing is being executed,
    from whoever offered it: they must be short and must not call the executor.

    Attributes:
        policy: loaded and warmed up; from its first inference on it belongs to the inference thread.
        observe: makes its observations.
        horizon: H, rows of its chunks [steps].
        make_strategy: how its chunks are to follow one another, asked for at the last moment, so that it says what is
            wanted then. Raises ConfigurationError where the policy cannot do it.
        begun: its first inference has begun.
        taken_over: it runs; the policy before it is not used any more.
        failed: it will not run, and why, in one line; the policy before it goes on.
    """

    policy: ChunkPolicy
    observe: Callable[[], Observation]
    horizon: int
    make_strategy: Callable[[], Strategy]
    begun: Callable[[], None] = _nothing
    taken_over: Callable[[], None] = _nothing
    failed: Callable[[str], None] = _ignore
