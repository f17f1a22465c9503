# SPDX-License-Identifier: Apache-2.0
"""Which bags are refused, with the bag and the topic in the message, and what is left out of the others and said."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import bags
from support.bags import ns
from support.demonstrations import (
    ARM,
    ARM_COMMANDS,
    GRIPPER_COMMANDS,
    JOINTS,
    PARAMETERS,
    TOP,
    WRIST,
    Event,
    arm,
    demonstration,
    episode,
    gripper,
    joints,
    picture,
    png,
    shifted,
    write,
)

from policy_ros.bags import BagError
from policy_ros.data import FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.parameters.node import CameraParameters
from policy_ros.training.dataset import DatasetError, DatasetOptions, DatasetPlan
from policy_ros.training.planning import plan_dataset
from policy_ros.training.stream import SampleStream

OPTIONS = DatasetOptions(chunk_size=5)
JOINT_STATES = "/joint_states"

Write = Callable[..., Path]


@pytest.fixture
def bag(tmp_path: Path) -> Write:
    count = iter(range(100))

    def write_next(events: Sequence[Event], episodes: Sequence[Event] = ()) -> Path:
        return write(tmp_path / f"bag{next(count)}", events, episodes)

    return write_next


def plan(*bags: Path, options: DatasetOptions = OPTIONS, parameters=PARAMETERS) -> DatasetPlan:
    return plan_dataset(bags, parameters, options)


def samples(plan: DatasetPlan) -> int:
    return sum(map(len, plan.training))


def steady(seconds: float = 2.0, *, gripper_times: Sequence[float] = (0.0,)) -> list[Event]:
    """Everything on time, so that every moment is a sample."""
    rng = np.random.default_rng(0)
    events = [joints(ns(time), rng.normal(scale=0.001, size=3)) for time in np.arange(0.0, seconds, 0.02)]
    for time in np.arange(0.0, seconds, 0.05):
        pixels = rng.integers(0, 256, (6, 8, 3), np.uint8)
        events += [picture(ns(time), pixels), png(ns(time), pixels), arm(ns(time), [(0.1, rng.normal(size=2))])]
    events += [gripper(ns(time), 0.04) for time in gripper_times]
    return sorted(events, key=lambda event: event.log_ns)


def without(events: Sequence[Event], topic: str, start_s: float = -1.0, stop_s: float = 1e6) -> list[Event]:
    return [event for event in events if event.topic != topic or not ns(start_s) <= event.log_ns < ns(stop_s)]


def refused(*bags: Path, options: DatasetOptions = OPTIONS, error: type[Exception] = DatasetError) -> str:
    with pytest.raises(error) as caught:
        plan(*bags, options=options)
    return str(caught.value)


# Good bags


def test_a_steady_bag_is_all_samples_and_no_problems(bag: Write):
    found = plan(bag(steady()))
    # 0.05 s apart from 0 to 1.98 s, each with a row after it
    assert samples(found) == 39
    assert found.problems == ()


def test_features_are_those_of_configuration_and_bags(bag: Write):
    found = plan(bag(steady()))
    assert {key: (spec.type, spec.shape) for key, spec in found.features.items()} == {
        "observation.state": (FeatureType.STATE, (3,)),
        "observation.images.top": (FeatureType.VISUAL, (3, 6, 8)),
        "observation.images.wrist": (FeatureType.VISUAL, (3, 6, 8)),
        "action": (FeatureType.ACTION, (3,)),
    }
    resized = plan(bag(steady()), options=replace(OPTIONS, image_size=(4, 5)))
    assert resized.features["observation.images.top"].shape == (3, 4, 5)


def test_joints_in_another_order_are_the_same_joints(bag: Write):
    events = steady()
    turned = [
        joints(event.log_ns, event.positions[::-1], names=JOINTS[::-1]) if event.topic == JOINT_STATES else event
        for event in events
    ]
    turned = [
        arm(event.log_ns, [(0.1, event.message.points[0].positions[::-1])], names=ARM[::-1])
        if event.topic == ARM_COMMANDS
        else event
        for event in turned
    ]
    first, second = (plan(bag(each)) for each in (events, turned))
    pairs = zip(*(SampleStream(p.training, PARAMETERS, OPTIONS, shuffle=False) for p in (first, second)), strict=True)
    for one, other in pairs:
        assert all((one[key] == other[key]).all() for key in one)


def test_progress_never_falls_and_ends_at_one(bag: Write):
    shares: list[float] = []
    plan_dataset([bag(steady(8.0)), bag(shifted(steady(8.0), 0))], PARAMETERS, OPTIONS, progress=shares.append)
    assert len(shares) > 2
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


# Refused


def test_a_missing_topic(bag: Write):
    path = bag(without(steady(), WRIST))
    message = refused(path, error=BagError)
    assert str(path) in message
    assert WRIST in message


def test_a_joint_that_is_configured_and_missing_in_one_bag(bag: Write):
    good = bag(steady())
    short = [
        joints(event.log_ns, event.positions[:2], names=ARM) if event.topic == JOINT_STATES else event
        for event in steady()
    ]
    path = bag(short)
    message = refused(good, path)
    assert f"{path}: expected samples, got none" in message
    assert f"topic '{JOINT_STATES}': never got joint 'gripper'" in message


def test_a_joint_that_was_never_commanded(bag: Write):
    events = [*without(steady(), GRIPPER_COMMANDS), gripper(ns(3.0), 0.04)]
    path = bag(events, [episode(0.0, 0, 0), episode(1.9, 0, 1)])
    message = refused(path)
    assert str(path) in message
    assert f"topic '{GRIPPER_COMMANDS}': no command" in message


def test_trajectories_of_other_joints(bag: Write):
    events = [
        arm(event.log_ns, [(0.1, [0.0, 0.0])], names=("shoulder", "wrist")) if event.topic == ARM_COMMANDS else event
        for event in steady()
    ]
    path = bag(events)
    message = refused(path)
    assert str(path) in message
    assert ARM_COMMANDS in message
    assert "expected joint_names shoulder, elbow" in message


def test_a_position_command_of_another_length(bag: Write):
    wrong = Event(ns(0.0), GRIPPER_COMMANDS, bags.array([0.1, 0.2]))
    path = bag([*without(steady(), GRIPPER_COMMANDS), wrong])
    message = refused(path)
    assert GRIPPER_COMMANDS in message
    assert "expected 1 values, got 2" in message


@pytest.mark.parametrize("change", ["size", "encoding"])
def test_pictures_that_change_within_a_bag(bag: Write, change: str):
    size = (6, 10, 3) if change == "size" else (6, 8, 3)
    encoding = "rgb8" if change == "size" else "bgr8"
    other = picture(ns(1.0), np.zeros(size, np.uint8), encoding=encoding)
    events = [other if event.topic == TOP and event.log_ns == ns(1.0) else event for event in steady()]
    path = bag(events)
    message = refused(path)
    assert f"{path}: topic '{TOP}': expected pictures of one kind, got 8x6 'rgb8' and, after 1.000 s, " in message


def test_pictures_that_differ_between_bags(bag: Write):
    first = bag(steady())
    second = bag(demonstration(size=(8, 8)))
    message = refused(first, second)
    assert message.startswith(f"{second}: topic '{TOP}': expected pictures of 8x6 'rgb8' as in {first}, got 8x8 'rgb8'")


def test_compressed_pictures_that_differ_between_bags(bag: Write):
    first = bag(steady())
    other = np.zeros((4, 4, 3), np.uint8)
    second = bag([png(event.log_ns, other) if event.topic == WRIST else event for event in steady()])
    assert refused(first, second).startswith(f"{second}: topic '{WRIST}': expected pictures of 8x6 'png'")


def test_a_stream_that_is_too_slow(bag: Write):
    events = steady(4.0)
    slow = [event for event in events if event.topic != TOP or (event.log_ns - ns(0.0)) % 500_000_000 == 0]
    path = bag(slow)
    message = refused(path)
    assert f"{path}: topic '{TOP}': expected at least 3.3 Hz" in message
    assert "got 2.0 Hz" in message


def test_the_same_bag_twice(bag: Write):
    path = bag(steady())
    assert "got twice" in refused(path, path.parent / "." / path.name)


def test_no_joints(bag: Write):
    with pytest.raises(ConfigurationError, match="joints.names"):
        plan(bag(steady()), parameters=replace(PARAMETERS, joints=replace(PARAMETERS.joints, names=())))


def test_no_bag():
    assert "at least one bag" in refused()


def test_a_bag_whose_only_episode_failed(bag: Write):
    path = bag(steady(), [episode(0.0, 0, 0), episode(1.9, 0, 1, result=2)])
    assert "left out, since it failed" in refused(path)
    assert samples(plan(path, options=replace(OPTIONS, failures=True))) > 20


def test_stamps_of_another_clock(bag: Write):
    events = [
        joints(event.log_ns, event.positions, late_ns=3_600_000_000_000) if event.topic == JOINT_STATES else event
        for event in steady()
    ]
    message = refused(bag(events))
    assert JOINT_STATES in message
    assert "synchronise the clocks" in message


@pytest.mark.parametrize(
    "wrong", [{"chunk_size": 0}, {"stride": 0}, {"validation_fraction": 1.0}, {"image_size": (0, 4)}, {"interleave": 0}]
)
def test_options_out_of_range(wrong: dict):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        DatasetOptions(**{"chunk_size": 5, **wrong})


def test_a_camera_that_the_bag_has_under_another_name(bag: Write):
    parameters = replace(PARAMETERS, cameras={**PARAMETERS.cameras, "front": CameraParameters()})
    path = bag(steady())
    with pytest.raises(BagError, match=f"{re.escape(str(path))}.*/camera/front/image_raw"):
        plan(path, parameters=parameters)


# Left out, and said


def test_a_stream_that_pauses_leaves_out_the_moments_when_it_is_stale(bag: Write):
    found = plan(bag(without(steady(), TOP, 0.62, 1.38)))
    # A picture at 0.60 s, the next at 1.40 s. It is fresh up to 0.9 s, which is 0.3 s old and the last.
    times = 0.05 * found.training[0].points
    missing = sorted(set(range(39)) - set(found.training[0].points.tolist()))
    assert [round(0.05 * index, 2) for index in missing] == [0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35]
    assert len(times) == 30
    (problem,) = found.problems
    assert "9 of 39 moments are no samples (camera/top " in problem


def test_a_jump_of_the_clock_cuts_the_episode(bag: Write):
    events = steady()
    jumped = [*(e for e in events if e.log_ns < ns(1.0)), *later(events, 1.0, by_s=3600.0)]
    found = plan(bag(jumped))
    assert len(found.training) == 2
    first, second = found.training
    assert first.episode == second.episode
    assert first.stop_ns <= ns(1.0)
    assert second.start_ns >= ns(3601.0)
    assert any(
        "got none on any topic for 3600." in line and "the episode is cut there" in line for line in found.problems
    )
    assert samples(found) > 30


def test_stamps_that_run_backwards_cut_the_episode(bag: Write):
    """One driver's clock was set back, by less than what would make all its samples stale."""
    events = [
        joints(event.log_ns, event.positions, late_ns=0 if event.log_ns < ns(1.0) else 800_000_000)
        if event.topic == JOINT_STATES
        else event
        for event in steady(gripper_times=(0.0, 1.1))
    ]
    parameters = replace(PARAMETERS, joints=replace(PARAMETERS.joints, max_age_s=2.0))
    parameters = replace(parameters, observation=replace(parameters.observation, max_skew_s=1.0))
    found = plan(bag(events), parameters=parameters)
    first, second = found.training
    assert first.start_ns == ns(0.0)
    assert second.start_ns == ns(1.02)  # with the second message it is certain
    assert any(f"topic '{JOINT_STATES}'" in line and "jump back by" in line for line in found.problems)


def test_an_episode_in_which_two_clocks_alternate_is_left_out(bag: Write):
    """Two robots publish on one topic."""
    events = [
        joints(event.log_ns, event.positions, late_ns=800_000_000 * ((event.log_ns - ns(0.0)) // 200_000_000 % 2))
        if event.topic == JOINT_STATES
        else event
        for event in steady()
    ]
    assert "do two publishers share a topic?" in refused(bag(events))


def test_no_row_reaches_across_a_jump(bag: Write):
    events = steady()
    found = plan(bag([*(e for e in events if e.log_ns < ns(1.0)), *later(events, 1.0, by_s=10.0)]))
    first = list(SampleStream(found.training[:1], PARAMETERS, OPTIONS, shuffle=False))
    assert first[-1]["action_is_pad"].tolist() == [False, True, True, True, True]


def later(events: Sequence[Event], start_s: float, by_s: float) -> list[Event]:
    """What was recorded after a moment, with log times and stamps of a clock that was set forward."""
    moved = []
    for event in events:
        if event.log_ns < ns(start_s):
            continue
        log_ns = event.log_ns + round(by_s * 1e9)
        if event.topic == JOINT_STATES:
            moved.append(joints(log_ns, event.positions))
        elif event.topic == TOP:
            moved.append(picture(log_ns, event.message.data.reshape(6, 8, 3)))
        elif event.topic == WRIST:
            moved.append(replace(png(log_ns, np.zeros((6, 8, 3), np.uint8))))
        elif event.topic == ARM_COMMANDS:
            moved.append(arm(log_ns, [(0.1, event.message.points[0].positions)]))
    return [*moved, gripper(ns(start_s + by_s), 0.02)]


def test_episodes_are_cut_out_and_those_without_samples_named(bag: Write):
    marks = [
        episode(0.2, 0, 0),
        episode(1.0, 0, 1, result=1),
        episode(1.05, 1, 0),
        episode(1.06, 1, 1),
        episode(1.1, 2, 0),
        episode(1.3, 2, 2),
        episode(1.4, 3, 0),
        episode(1.9, 3, 1, result=2),
    ]
    found = plan(bag(steady(gripper_times=(0.25, 1.0, 1.2, 1.5)), marks))
    assert [part.episode.index for part in found.training] == [0]
    part = found.training[0]
    assert ns(0.2) <= part.start_ns < part.stop_ns <= ns(1.0)
    assert any("episode 1: no sample" in line for line in found.problems)
    assert any("episode 3: left out, since it failed" in line for line in found.problems)
    assert not any("episode 2" in line for line in found.problems)


def test_an_episode_counts_only_the_commands_in_it(bag: Write):
    """The gripper may have been moved by hand between two episodes: its old command says nothing."""
    marks = [episode(0.0, 0, 0), episode(0.9, 0, 1), episode(1.0, 1, 0), episode(1.9, 1, 1)]
    found = plan(bag(steady(gripper_times=(0.0, 0.5)), marks))
    assert [part.episode.index for part in found.training] == [0]
    assert any(f"episode 1: no sample: topic '{GRIPPER_COMMANDS}': no command" in line for line in found.problems)


def test_a_command_is_held_and_a_pause_of_a_stream_of_commands_is_said(bag: Write):
    found = plan(bag(without(steady(3.0), ARM_COMMANDS, 1.02, 2.0)))
    assert samples(found) == 59
    (problem,) = found.problems
    assert f"topic '{ARM_COMMANDS}'" in problem
    assert "paused for 1.0 s; the last one counts as held" in problem


def test_rows_end_where_a_leader_arm_is_silent(bag: Write):
    leader = [
        replace(joints(event.log_ns, [0.1, 0.2, 0.3]), topic="/leader")
        for event in steady()
        if event.topic == JOINT_STATES and not ns(0.72) <= event.log_ns < ns(1.4)
    ]
    options = replace(OPTIONS, action_topic="leader", max_action_gap_s=0.3)
    found = plan(bag([*steady(), *leader]), options=options)
    (part,) = found.training
    silent = [k for k in range(39) if 0.70 + 0.3 + 1e-6 < 0.05 * (k + 1) < 1.4]
    assert sorted(set(range(39)) - set(part.points.tolist())) == silent
    stream = list(SampleStream([part], PARAMETERS, options, shuffle=False))
    before = stream[part.points.tolist().index(silent[0] - 2)]
    assert before["action_is_pad"].tolist() == [False, False, True, True, True]
    assert any(f"{len(silent)} of 39 moments are no samples (no command)" in line for line in found.problems)


def test_a_grid_that_begins_late_is_said(bag: Write):
    found = plan(bag(steady(3.0, gripper_times=(1.5,))))
    assert any(f"its first 1.5 s are no samples: topic '{GRIPPER_COMMANDS}'" in line for line in found.problems)


def test_a_frozen_camera_is_said(bag: Write):
    still = np.full((6, 8, 3), 7, np.uint8)
    events = [picture(event.log_ns, still) if event.topic == TOP else event for event in steady(3.0)]
    found = plan(bag(events))
    assert any(f"topic '{TOP}': expected new pictures" in line for line in found.problems)


def test_a_frozen_camera_that_would_hold_the_robot_is_no_sample(bag: Write):
    still = np.full((6, 8, 3), 7, np.uint8)
    events = [picture(event.log_ns, still) if event.topic == TOP else event for event in steady(3.0)]
    cameras = {**PARAMETERS.cameras, "top": CameraParameters(on_frozen="hold")}
    found = plan(bag(events), parameters=replace(PARAMETERS, cameras=cameras))
    assert found.training[0].points.tolist() == list(range(21))
    assert any("(camera/top frozen)" in line for line in found.problems)


def test_a_bag_that_was_cut_off_is_read_as_far_as_it_goes(bag: Write):
    whole = bag(steady(6.0, gripper_times=(0.0,)))
    found = samples(plan(whole))
    (file,) = whole.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    rest = plan(whole)
    assert 0 < samples(rest) < found
    assert any(str(whole) in line and "cut off" in line for line in rest.problems)


def test_slow_joint_states_are_said(bag: Write):
    events = [e for e in steady(3.0) if e.topic != JOINT_STATES or (e.log_ns - ns(0.0)) % 120_000_000 == 0]
    found = plan(bag(events))
    assert any("expected about the control rate of 20 Hz, got 8." in line for line in found.problems)
