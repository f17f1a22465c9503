# SPDX-License-Identifier: Apache-2.0
"""What a strategy decides: when to infer, what to hand to a guided policy, and how a new chunk joins the timeline."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import ActionChunk
from policy_ros.errors import ConfigurationError
from policy_ros.execution.assessment import Assessment
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.strategies.cross_fade import faded_in
from policy_ros.execution.timeline import Timeline
from policy_ros.rtc import GuidanceOptions

_SUCCESSION_SCHEDULE = "linear"  # the same step for every row: the smallest that gets there


@dataclass(frozen=True)
class ChunkShape:
    """Size of a policy's chunks.

    Attributes:
        horizon: H, rows in a chunk.
        n_action_steps: rows that the checkpoint means to be executed before it looks again, at most H.

    Raises:
        ConfigurationError: the numbers do not fit together.
    """

    horizon: int
    n_action_steps: int

    def __post_init__(self) -> None:
        if not 1 <= self.n_action_steps <= self.horizon:
            raise ConfigurationError(
                f"n_action_steps: expected 1 to chunk_size ({self.horizon}), got {self.n_action_steps}"
            )


@dataclass(frozen=True)
class Guidance:
    """What a guided policy is to continue.

    Attributes:
        prefix: ``(N, A)`` rows not executed yet, robot units, row 0 aligned with row 0 of the new chunk; N <= H.
        delay: d, expected delay of this inference [steps].
        execution_horizon: s, steps executed since the previous observation.
        options: schedule, largest weight and Jacobian.
    """

    prefix: NDArray[np.float32]
    delay: int
    execution_horizon: int
    options: GuidanceOptions = GuidanceOptions()


class Strategy(ABC):
    """How chunks follow one another. Called with the executor's lock held: every method is short.

    Attributes:
        name: value of ``execution.mode``.
        gapless: whether a row is expected on every tick, so that running out of rows is a fault.
        shape: size of the chunks.
        execution_horizon: s, steps between two inferences that the strategy aims at.
        stands_in_for: mode that was chosen and that the policy cannot do; empty where this strategy was chosen.
    """

    name: ClassVar[str]
    gapless: ClassVar[bool]

    def __init__(self, shape: ChunkShape, config: ExecutionConfig) -> None:
        self.shape = shape
        self.execution_horizon = self.choose_execution_horizon(shape, config.execution_horizon)
        self.stands_in_for = ""

    @property
    def mode(self) -> str:
        """The mode that was chosen."""
        return self.stands_in_for or self.name

    @abstractmethod
    def choose_execution_horizon(self, shape: ChunkShape, requested: int) -> int:
        """s for these chunks; ``requested`` 0 means automatic.

        Raises:
            ConfigurationError: the request cannot work with chunks of this shape.
        """

    @abstractmethod
    def wants_inference(self, timeline: Timeline, newest: ActionChunk | None, delay: int) -> bool:
        """Whether an inference is to start now.

        Args:
            timeline: what is planned.
            newest: the chunk that took over last in this epoch.
            delay: d to expect; 0 while nothing is known.
        """

    @abstractmethod
    def merge(self, timeline: Timeline, chunk: ActionChunk) -> None:
        """Put a new chunk onto the timeline; its row 0 belongs to ``chunk.first_step``."""

    def succeed(self, timeline: Timeline, chunk: ActionChunk) -> None:
        """As :meth:`merge`, for the first chunk of another policy: it fades in over the rows that are still planned.

        Two policies agree even less than two chunks of one, whatever the mode.
        """
        rows = faded_in(timeline, chunk, _SUCCESSION_SCHEDULE)
        self.merge(timeline, dataclasses.replace(chunk, actions=rows))

    def assess(self, delay: int, execution_horizon: int) -> Assessment:
        """What an inference that takes ``delay`` steps, ``execution_horizon`` steps after the previous one, can do."""
        if self.stands_in_for:
            return Assessment(self.name, f"the policy cannot be guided: {self.name} stands in for {self.stands_in_for}")
        return Assessment(self.name)

    def guidance(self, timeline: Timeline, delay: int, execution_horizon: int) -> Guidance | None:
        """What to hand to a guided policy; None: infer without guidance. Asked only where the assessment allows it."""
        return None

    def reset(self) -> None:  # noqa: B027 - most strategies keep nothing
        """Forget what was kept of earlier chunks: a new epoch begins."""
