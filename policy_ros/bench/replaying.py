# SPDX-License-Identifier: Apache-2.0
"""How fast and in how much memory a bag is replayed, beside how fast it is read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from policy_ros.bags import BagInputs, CommandTracks, open_bag
from policy_ros.bench.bag_reading import observation_config, read_samples
from policy_ros.data import ACTION, OBSERVATION_STATE, FeatureSpec, FeatureType, Observation
from policy_ros.observation import ObservationAssembler, default_decoder
from policy_ros.parameters.build import camera_feature
from policy_ros.parameters.node import NodeParameters
from policy_ros.policies.base import Policy
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.inputs import Array, RawObservation
from policy_ros.replay.bag_replay import BagReplay
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.trace import ChunkTrace, EpisodeTrace

HORIZON = 50


@dataclass(frozen=True, kw_only=True)
class StubConfig(PolicyConfig):
    """Of a policy that is nothing but its shapes."""

    n_action_steps: int = HORIZON

    @property
    def chunk_size(self) -> int:
        """H."""
        return HORIZON


class StubPolicy(Policy):
    """Answers at once to stay where the robot is, so that nothing but the replay is measured.

    Args:
        parameters: joints and cameras that it observes, all of them.
    """

    name = "stub"
    config_class = StubConfig

    def __init__(self, parameters: NodeParameters) -> None:
        joints = len(parameters.joints.names)
        images = {
            camera_feature(name, camera): FeatureSpec(FeatureType.VISUAL, (3, 1, 1))
            for name, camera in parameters.cameras.items()
        }
        state = {OBSERVATION_STATE: FeatureSpec(FeatureType.STATE, (joints,))}
        action = {ACTION: FeatureSpec(FeatureType.ACTION, (joints,))}
        super().__init__(StubConfig(input_features={**state, **images}, output_features=action))

    def predict(self, observation: RawObservation, *, noise: Array | None = None) -> NDArray[np.float32]:
        """``(H, A)``, all rows the state."""
        return np.repeat(np.asarray(observation[OBSERVATION_STATE], dtype=np.float32)[None], HORIZON, axis=0)

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """Likewise, ``(B, H, A)``."""
        return batch[OBSERVATION_STATE][:, None].expand(-1, HORIZON, -1)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """There is nothing to learn."""
        raise NotImplementedError("the stub of a benchmark is not trained")


@dataclass(frozen=True)
class Result:
    """What was measured; every turn of a kind in order.

    Attributes:
        recorded_s: length of what was replayed [s].
        messages: of the topics that are needed.
        feeding_s: to read all messages and feed them to an assembler [s].
        sampling_s: to read a sample (observation and setpoint) at every control period [s].
        stub_s: to replay a policy that answers at once [s].
        policy_s: to replay the given policy; empty without one [s].
        memory_mb: anonymous memory of the process, once for each second of the first replay that was recorded [MB].
    """

    recorded_s: float
    messages: int
    feeding_s: tuple[float, ...]
    sampling_s: tuple[float, ...]
    stub_s: tuple[float, ...]
    policy_s: tuple[float, ...]
    memory_mb: tuple[float, ...]

    @property
    def of_reader(self) -> float:
        """Speed of the replay with the stub as a share of that of the bag reader, of the medians."""
        return statistics.median(self.sampling_s) / statistics.median(self.stub_s)

    @property
    def of_feeding(self) -> float:
        """The same as a share of reading without assembling anything."""
        return statistics.median(self.feeding_s) / statistics.median(self.stub_s)

    @property
    def times_real_time(self) -> float | None:
        """Recorded seconds that the given policy is replayed on in a second."""
        return self.recorded_s / statistics.median(self.policy_s) if self.policy_s else None

    @property
    def memory_growth_mb(self) -> float:
        """From a quarter of the recording, when everything has been allocated once, to its end [MB]."""
        if len(self.memory_mb) < 2:
            return 0.0
        return self.memory_mb[-1] - self.memory_mb[len(self.memory_mb) // 4]


@dataclass
class _Times:
    feeding: list[float] = field(default_factory=list)
    sampling: list[float] = field(default_factory=list)
    stub: list[float] = field(default_factory=list)
    policy: list[float] = field(default_factory=list)


class _Nobody:
    """Listens to nothing; counts how long the episodes are."""

    def __init__(self) -> None:
        self.recorded_s = 0.0

    def chunk(self, chunk: ChunkTrace, observation: Observation) -> None:
        pass

    def episode(self, trace: EpisodeTrace) -> None:
        self.recorded_s += trace.duration_s


def measure(
    path: Path, parameters: NodeParameters, *, turns: int, policy: Policy | None, report: Callable[[str], None]
) -> Result:
    """In turns: feed the bag, read samples from it, replay the stub on it and, if there is one, the policy.

    Args:
        path: the bag.
        parameters: the node's.
        turns: of each; the first of each only warms up and does not count.
        policy: loaded, warmed up and frozen.
        report: told what happened, a line at a time.

    Raises:
        BagError: the bag lacks a topic.
    """
    times, memory_mb = _Times(), list[float]()
    nobody = _Nobody()
    stub = StubPolicy(parameters)
    for turn in range(turns + 1):
        nobody = _Nobody()
        stub_s = _timed(partial(_replay, path, stub, parameters, nobody, memory_mb if turn == 0 else None))
        feeding_s = _timed(lambda: feed(path, parameters))
        sampling_s = _timed(lambda: read_samples(path, parameters))
        policy_s = 0.0 if policy is None else _timed(lambda: _replay(path, policy, parameters, _Nobody(), None))
        if turn == 0:
            continue
        times.feeding.append(feeding_s)
        times.sampling.append(sampling_s)
        times.stub.append(stub_s)
        times.policy += [] if policy is None else [policy_s]
        report(
            f"turn {turn} of {turns}: reading {feeding_s:.3f} s, samples {sampling_s:.3f} s, stub {stub_s:.3f} s"
            + (f", policy {policy_s:.3f} s" if policy is not None else "")
        )
    return Result(
        recorded_s=nobody.recorded_s,
        messages=feed(path, parameters),
        feeding_s=tuple(times.feeding),
        sampling_s=tuple(times.sampling),
        stub_s=tuple(times.stub),
        policy_s=tuple(times.policy),
        memory_mb=tuple(memory_mb),
    )


def feed(path: Path, parameters: NodeParameters) -> int:
    """Read all messages that are needed into an assembler and a robot's controllers; how many there were."""
    bag = open_bag(path)
    config = observation_config(parameters)
    inputs, tracks = BagInputs(parameters, config, bag), CommandTracks(parameters, bag)
    assembler = ObservationAssembler(config, default_decoder())
    count = 0
    for message in bag.messages({*inputs.topics, *tracks.topics}):
        inputs.feed(message, assembler)
        tracks.feed(message)
        count += 1
    return count


def _replay(
    path: Path, policy: Policy, parameters: NodeParameters, listener: _Nobody, memory_mb: list[float] | None
) -> None:
    def told(_: float) -> None:
        if memory_mb is not None:
            memory_mb.append(anonymous_memory_mb())

    BagReplay(path, policy, ReplayOptions(parameters)).run(listener, told)


def anonymous_memory_mb() -> float:
    """Of this process, without what it has mapped from files [MB]."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("expected RssAnon in /proc/self/status, got none: memory is measured on Linux only")


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
