# SPDX-License-Identifier: Apache-2.0
"""Samples of a bag equal those of a brute-force reading of the same events, none of which went through a bag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from support.demonstrations import (
    ARM,
    ARM_COMMANDS,
    GRIPPER_COMMANDS,
    PARAMETERS,
    Event,
    demonstration,
    write,
)

from policy_ros.bags import BagMessage, open_bag
from policy_ros.controllers import CommandRefused, JointTrajectoryFollower, Trajectory, TrajectoryPoint
from policy_ros.data import Observation
from policy_ros.observation import NotReady, ObservationAssembler, default_decoder
from policy_ros.parameters.build import action_scaling
from policy_ros.training.dataset import DatasetOptions
from policy_ros.training.planning import plan_dataset
from policy_ros.training.reading import BagReader, Bags, dataset_observation
from policy_ros.training.samples import Point

RATE_HZ = PARAMETERS.execution.rate_hz
PERIOD_NS = 1e9 / RATE_HZ


class BruteForce:
    """Everything anew for every moment."""

    def __init__(self, events: Sequence[Event], options: DatasetOptions) -> None:
        self.events, self.options = events, options
        complete = [
            event.log_ns
            for event in events
            if not self.assembler(event.log_ns).missing() and self.setpoint(event.log_ns) is not None
        ]
        self.origin_ns = complete[0]
        self.last_ns = events[-1].log_ns

    def time_ns(self, index: int) -> int:
        return self.origin_ns + round(index * PERIOD_NS)

    def assembler(self, time_ns: int) -> ObservationAssembler:
        assembler = ObservationAssembler(dataset_observation(PARAMETERS, self.options), default_decoder())
        for event in self.events:
            if event.log_ns <= time_ns and event.push is not None and not event.lossy:
                event.push(assembler)
        return assembler

    def setpoint(self, time_ns: int) -> np.ndarray | None:
        commands = [event for event in self.events if event.log_ns <= time_ns]
        gripper = [event.positions[0] for event in commands if event.topic == GRIPPER_COMMANDS]
        follower = None
        measured: dict[str, float] = {}
        for event in commands:
            if event.topic == "/joint_states":
                measured.update(zip(event.message.name, event.positions, strict=True))
            if event.topic == ARM_COMMANDS and follower is None and set(ARM) <= set(measured):
                follower = JointTrajectoryFollower(ARM, np.array([measured[name] for name in ARM]))
            if event.topic == ARM_COMMANDS and follower is not None:
                try:
                    follower.accept(trajectory(event.message), event.log_ns)
                except CommandRefused:
                    pytest.fail("the demonstration has commands that nobody would follow")
        if follower is None or not gripper:
            return None
        return np.array([*follower.sample(time_ns)[0], gripper[-1]])

    def observation(self, index: int) -> Observation | None:
        before_ns = self.time_ns(index - 1) if index else self.origin_ns - 1
        now_ns = self.time_ns(index)
        if any(event.lossy and max(before_ns, self.origin_ns) < event.log_ns <= now_ns for event in self.events):
            return None
        try:
            return self.assembler(now_ns).assemble(now_ns)
        except NotReady:
            return None

    def actions(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = range(index - self.options.past_rows, index + self.options.chunk_size)
        last = max(number for number in numbers if self.time_ns(number + 1) <= self.last_ns)
        is_pad = np.array([not 0 <= number <= last for number in numbers])
        rows = [self.setpoint(self.time_ns(min(max(0, number), last) + 1)) for number in numbers]
        return action_scaling(PARAMETERS).to_policy(np.array(rows)), is_pad


def trajectory(message: object) -> Trajectory:
    stamp = message.header.stamp
    points = [
        TrajectoryPoint(p.time_from_start.sec * 10**9 + p.time_from_start.nanosec, p.positions, p.velocities)
        for p in message.points
    ]
    return Trajectory(message.joint_names, points, start_ns=stamp.sec * 10**9 + stamp.nanosec)


def points_of_bag(bag: Path, options: DatasetOptions) -> list[Point]:
    plan = plan_dataset([bag], PARAMETERS, options)
    (part,) = plan.training
    return list(Bags(PARAMETERS, options, default_decoder()).read(part, frozenset(part.points.tolist())))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("n_obs_steps", "past_rows", "chunk_size", "stride"), [(1, 0, 7, 1), (3, 2, 50, 2)])
def test_samples_of_a_bag_are_to_the_byte_those_of_the_pushed_events(
    tmp_path: Path, seed: int, n_obs_steps: int, past_rows: int, chunk_size: int, stride: int
):
    events = demonstration(seed=seed, seconds=1.2, lossy=True)
    options = DatasetOptions(chunk_size=chunk_size, past_rows=past_rows, n_obs_steps=n_obs_steps, stride=stride)
    expected = BruteForce(events, options)

    points = points_of_bag(write(tmp_path / "bag", events), options)

    candidates = [k for k in range(0, 100, stride) if expected.time_ns(k + 1) <= expected.last_ns]
    samples = {k: observation for k in candidates if (observation := expected.observation(k)) is not None}
    assert len(samples) > 5
    assert [point.index for point in points] == list(samples)
    for point in points:
        features = samples[point.index].features
        assert point.time_ns == expected.time_ns(point.index)
        assert point.observation.stamps_ns == samples[point.index].stamps_ns
        assert set(point.observation.features) == set(features)
        for key, value in features.items():
            got = point.observation.features[key]
            assert (got.dtype, got.shape, got.tobytes()) == (value.dtype, value.shape, value.tobytes()), key
        actions, is_pad = expected.actions(point.index)
        assert point.actions.dtype == np.float32
        np.testing.assert_array_equal(point.actions, actions)
        np.testing.assert_array_equal(point.is_pad, is_pad)


def test_no_message_is_read_further_ahead_than_the_rows_of_a_sample_ask_for(tmp_path: Path):
    options = DatasetOptions(chunk_size=4)
    bag = open_bag(write(tmp_path / "bag", demonstration(seconds=2.0)))
    reader = BagReader(bag, PARAMETERS, options)
    assembler = ObservationAssembler(reader.config, default_decoder())
    read_ns: list[int] = []

    def messages() -> Iterator[BagMessage]:
        for message in reader.messages(bag.start_ns, bag.end_ns + 1):
            read_ns.append(message.log_ns)
            yield message

    points = 0
    for point in reader.grid(assembler).read(messages(), range(1000)):
        last_row_ns = point.time_ns + round(options.chunk_size * PERIOD_NS)
        assert sum(log_ns > last_row_ns for log_ns in read_ns) <= 1
        points += 1
    assert points > 20
