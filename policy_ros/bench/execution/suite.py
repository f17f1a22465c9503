# SPDX-License-Identifier: Apache-2.0
"""All episodes of the benchmark: each policy, way of execution and delay, several times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from policy_ros.bench.execution.contenders import Contender
from policy_ros.bench.execution.delay import DelayModel, DelaySequence
from policy_ros.bench.execution.episode import Episode, Trace
from policy_ros.bench.execution.metrics import EpisodeMetrics, Summary, measure, summarise
from policy_ros.bench.execution.task import PERIOD_S, ForkedPath
from policy_ros.errors import ConfigurationError, closest
from policy_ros.execution import ExecutionConfig
from policy_ros.rtc import GuidanceOptions

MODES = ("sync", "overlap", "ensemble", "blend", "rtc")
EXECUTION_HORIZON = 25  # s; ensemble infers as often as it can
INFEASIBLE_MS = 800.0  # d = 40 > H - s = 25


@dataclass(frozen=True)
class Way:
    """One way of executing chunks.

    Attributes:
        label: for tables and file names.
        mode: of the execution.
        guidance: of ``rtc``.
    """

    label: str
    mode: str
    guidance: GuidanceOptions = GuidanceOptions()

    @property
    def config(self) -> ExecutionConfig:
        """Settings of the executor."""
        horizon = 0 if self.mode == "ensemble" else EXECUTION_HORIZON
        return ExecutionConfig(
            rate_hz=1.0 / PERIOD_S, mode=self.mode, execution_horizon=horizon, guidance=self.guidance
        )


VARIANTS = (
    Way("rtc hard mask", "rtc", GuidanceOptions(schedule="zeros")),
    Way("rtc identity", "rtc", GuidanceOptions(jacobian="identity")),
)


@dataclass(frozen=True)
class SuiteOptions:
    """What to run.

    Attributes:
        modes: of the execution.
        delays_ms: of the inferences [ms].
        episodes: of each policy, mode and delay.
        seed: of noise and jitter.
        jitter, spike_ms: see :class:`DelayModel`.
        variants: add hard mask and identity Jacobian to ``rtc``.

    Raises:
        ConfigurationError: an unknown mode, nothing to run, or a value out of range.
    """

    modes: tuple[str, ...] = MODES
    delays_ms: tuple[float, ...] = (0.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0)
    episodes: int = 10
    seed: int = 0
    jitter: float = 0.0
    spike_ms: float = 0.0
    variants: bool = False

    def __post_init__(self) -> None:
        for mode in self.modes:
            if mode not in MODES:
                raise ConfigurationError(f"bench execution: unknown mode '{mode}', {closest(mode, MODES)}")
        if not self.modes or not self.delays_ms:
            raise ConfigurationError("bench execution: expected at least one mode and one delay, got none")
        if self.episodes < 1 or self.seed < 0:
            raise ConfigurationError(
                f"bench execution: expected at least 1 episode and a seed of 0 or more, got {self.episodes} and "
                f"{self.seed}"
            )
        for delay_ms in self.delays_ms:
            self.delay(delay_ms)

    def delay(self, delay_ms: float) -> DelayModel:
        """Duration of inferences."""
        return DelayModel(delay_ms, self.jitter, self.spike_ms)

    @property
    def ways(self) -> tuple[Way, ...]:
        """The modes, and variants of ``rtc``."""
        return tuple(Way(mode, mode) for mode in self.modes) + (VARIANTS if self.variants else ())


@dataclass(frozen=True)
class Cell:
    """Result of one policy, way and delay over all episodes."""

    policy: str
    way: str
    mode: str
    delay_ms: float
    summary: Summary


Watch = Callable[[Cell, Trace], None]


def run_suite(path: ForkedPath, contenders: Sequence[Contender], options: SuiteOptions, watch: Watch) -> list[Cell]:
    """Run everything; ``watch`` is told each cell as it is done, with the trace of its first episode.

    Raises:
        ConfigurationError: ``rtc`` with a policy that cannot be guided.
    """
    cells = []
    with one_thread():
        for contender in contenders:
            for way in options.ways:
                for delay_ms in options.delays_ms:
                    traces = [
                        run_episode(path, contender, way, options.delay(delay_ms), options.seed, number)
                        for number in range(options.episodes)
                    ]
                    metrics: list[EpisodeMetrics] = [measure(trace, path) for trace in traces]
                    cell = Cell(contender.name, way.label, way.mode, delay_ms, summarise(metrics, traces))
                    watch(cell, traces[0])
                    cells.append(cell)
    return cells


def run_episode(path: ForkedPath, contender: Contender, way: Way, delay: DelayModel, seed: int, number: int) -> Trace:
    """Episode ``number``: noise and jitter depend on it and the seed only, so that all ways start from the same."""
    noise, jitter = (np.random.default_rng([seed, number, purpose]) for purpose in range(2))
    return Episode(path, contender, noise, way.config, DelaySequence(delay, jitter)).run()


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: sums in the same order every time, and small networks are faster."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
