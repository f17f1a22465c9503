# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from support.bags import ARRAY, TRAJECTORY, Recording, array, joint_state, ns, serialized, trajectory

from policy_ros.bags import BagError, CommandTracks, open_bag
from policy_ros.errors import ConfigurationError
from policy_ros.parameters.node import JointParameters, NodeParameters, OutputParameters

JOINTS = ("a", "b", "g")
PARAMETERS = NodeParameters(
    joints=JointParameters(names=JOINTS),
    outputs={
        "gripper": OutputParameters(type="position_array", topic="gripper/commands", joints=("g",)),
        "arm": OutputParameters(type="joint_trajectory", topic="arm/joint_trajectory", joints=("b", "a")),
    },
)
ARM, GRIPPER = "/arm/joint_trajectory", "/gripper/commands"


@pytest.fixture
def make(tmp_path):
    """A bag of these messages (time, topic, message), and its tracks."""

    def make(*messages, parameters=PARAMETERS, **options):
        with Recording(tmp_path / "bag") as bag:
            for time_s, topic, message in messages:
                bag.add(topic, ns(time_s), message)
        read = open_bag(tmp_path / "bag")
        return read, CommandTracks(parameters, read, **options)

    return make


def feed(bag, tracks, until_s=1e9):
    for message in bag.messages(tracks.topics, stop_ns=ns(until_s)):
        tracks.feed(message)


MEASURED = (0.0, "/joint_states", joint_state(0, ["g", "a", "b"], [0.0, 10.0, 20.0]))


def test_there_is_no_setpoint_before_every_joint_was_commanded(make):
    bag, tracks = make(
        MEASURED, (1.0, GRIPPER, array([0.5])), (2.0, ARM, trajectory(0, ["a", "b"], [(1.0, [11.0, 22.0])]))
    )
    assert tracks.topics == (ARM, GRIPPER, "/joint_states")
    assert tracks.setpoint(ns(0.0)) is None
    feed(bag, tracks, 2.0)
    assert tracks.setpoint(ns(1.5)) is None
    feed(bag, tracks)
    assert tracks.setpoint(ns(2.0)).tolist() == [10.0, 20.0, 0.5]
    assert bag.problems == []


def test_a_trajectory_is_followed_from_where_the_joints_were_and_kept_at_its_end(make):
    bag, tracks = make(
        MEASURED, (1.0, GRIPPER, array([0.5])), (1.0, ARM, trajectory(0, ["a", "b"], [(1.0, [11.0, 22.0])]))
    )
    feed(bag, tracks)
    assert tracks.setpoint(ns(1.5)).tolist() == [10.5, 21.0, 0.5]
    assert tracks.setpoint(ns(2.0)).tolist() == [11.0, 22.0, 0.5]
    assert tracks.setpoint(ns(9.0)).tolist() == [11.0, 22.0, 0.5]


def test_a_stamp_in_the_future_is_when_a_trajectory_starts(make):
    first = trajectory(ns(1.0), ["a", "b"], [(1.0, [11.0, 22.0])])
    second = trajectory(ns(1.5), ["a", "b"], [(0.5, [0.0, 0.0])])
    bag, tracks = make(MEASURED, (0.9, GRIPPER, array([0.5])), (1.0, ARM, first), (1.2, ARM, second))
    feed(bag, tracks)
    assert tracks.setpoint(ns(1.25))[:2].tolist() == pytest.approx([10.25, 20.5])
    assert tracks.setpoint(ns(1.5))[:2].tolist() == pytest.approx([10.5, 21.0])
    assert tracks.setpoint(ns(1.75))[:2].tolist() == pytest.approx([5.25, 10.5])


def test_a_position_command_holds_until_the_next(make):
    parameters = NodeParameters(
        joints=JointParameters(names=("a", "b")),
        outputs={"arm": OutputParameters(type="position_array", topic="arm/commands", joints=("b", "a"))},
    )
    bag, tracks = make(
        (1.0, "/arm/commands", array([1.0, 2.0])), (2.0, "/arm/commands", array([3.0, 4.0])), parameters=parameters
    )
    assert tracks.topics == ("/arm/commands",)  # no joint states: nothing starts where joints are
    feed(bag, tracks, 2.0)
    assert tracks.setpoint(ns(1.9)).tolist() == [2.0, 1.0]
    feed(bag, tracks)
    assert tracks.setpoint(ns(2.0)).tolist() == [4.0, 3.0]


def test_a_setpoint_is_the_callers_own(make):
    bag, tracks = make((0.0, "/leader", joint_state(0, JOINTS, [1.0, 2.0, 3.0])), action_topic="/leader")
    feed(bag, tracks)
    tracks.setpoint(ns(0.0))[:] = 7.0
    assert tracks.setpoint(ns(0.0)).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("topic", "message", "problem"),
    [
        (ARM, trajectory(0, ["a"], [(1.0, [5.0])]), "expected joint_names b, a"),
        (ARM, trajectory(0, ["a", "b"], []), "at least one point"),
        (ARM, trajectory(0, ["a", "b"], [(1.0, [float("nan"), 0.0])]), "expected finite values"),
        (ARM, trajectory(0, ["a", "b"], [(1.0, [5.0])]), "expected 2 values, got 1"),
        (ARM, trajectory(ns(0.5), ["a", "b"], [(0.1, [5.0, 5.0])]), "expected one that ends in the future"),
        (GRIPPER, array([1.0, 2.0]), "expected 1 values, got 2"),
        (GRIPPER, array([float("inf")]), "expected finite values"),
    ],
)
def test_a_command_that_a_controller_refuses_changes_nothing_and_is_reported(make, topic, message, problem):
    bag, tracks = make(
        MEASURED,
        (1.0, GRIPPER, array([0.5])),
        (1.0, ARM, trajectory(0, ["a", "b"], [(0.5, [11.0, 22.0])])),
        (2.0, topic, message),
        (2.1, topic, message),
    )
    feed(bag, tracks)
    assert tracks.setpoint(ns(3.0)).tolist() == [11.0, 22.0, 0.5]
    (found,) = bag.problems
    assert found.startswith(f"{bag.path}: topic '{topic}': command left out: ")
    assert problem in found
    assert found.endswith("(2 times)")


def test_a_malformed_command_is_reported(tmp_path):
    with Recording(tmp_path / "bag") as bag:
        bag.add("/joint_states", ns(0.0), MEASURED[2])
        bag.raw(ARM, ns(1.0), TRAJECTORY, serialized(trajectory(0, ["a", "b"], [(1.0, [1.0, 2.0])]))[:-30])
        bag.raw(GRIPPER, ns(1.0), ARRAY, b"\x00\x01")
    read = open_bag(tmp_path / "bag")
    tracks = CommandTracks(PARAMETERS, read)
    feed(read, tracks)
    assert tracks.setpoint(ns(2.0)) is None
    assert {text.split("'")[1] for text in read.problems} == {ARM, GRIPPER}


def test_a_trajectory_before_any_joint_state_is_reported_since_nobody_knows_where_it_starts(make):
    bag, tracks = make(
        (0.0, ARM, trajectory(0, ["a", "b"], [(1.0, [1.0, 2.0])])), (0.1, GRIPPER, array([0.0])), (0.2, *MEASURED[1:])
    )
    feed(bag, tracks)
    assert tracks.setpoint(ns(1.0)) is None
    assert "expected the joint states where it starts before it, got none of b, a" in bag.problems[0]


def test_a_trajectory_starts_where_a_joint_state_just_after_it_says(make):
    bag, tracks = make(
        (1.0, ARM, trajectory(0, ["a", "b"], [(1.0, [1.0, 2.0])])), (1.0, GRIPPER, array([0.0])), (1.01, *MEASURED[1:])
    )
    feed(bag, tracks)
    assert tracks.setpoint(ns(1.5)).tolist() == pytest.approx([5.5, 11.0, 0.0])
    assert tracks.setpoint(ns(2.0)).tolist() == pytest.approx([1.0, 2.0, 0.0])
    assert bag.problems == []


def test_a_leader_arm_commands_by_joint_name(make):
    bag, tracks = make(
        (1.0, "/leader/joint_states", joint_state(0, ["g", "other", "a"], [0.1, 9.0, 1.0])),
        (2.0, "/leader/joint_states", joint_state(0, ["b"], [2.0])),
        (3.0, "/leader/joint_states", joint_state(0, ["a", "b", "g"], [5.0, 6.0, 7.0])),
        action_topic="leader/joint_states",
    )
    assert tracks.topics == ("/leader/joint_states",)
    feed(bag, tracks, 2.0)
    assert tracks.setpoint(ns(1.5)) is None
    feed(bag, tracks, 3.0)
    assert tracks.setpoint(ns(2.5)).tolist() == [1.0, 2.0, 0.1]
    feed(bag, tracks)
    assert tracks.setpoint(ns(3.0)).tolist() == [5.0, 6.0, 7.0]


@pytest.mark.parametrize(
    ("names", "positions", "problem"),
    [
        (["x"], [1.0], "expected some of a, b, g, got x"),
        (["a"], [float("nan")], "expected finite positions"),
        (["a", "b"], [1.0], "expected one position for each of 2"),
        (["a", "a"], [1.0, 2.0], "2 different joints"),
    ],
)
def test_a_leader_arm_that_makes_no_sense_is_reported(make, names, positions, problem):
    bag, tracks = make(
        (1.0, "/leader", joint_state(0, JOINTS, [1.0, 2.0, 3.0])),
        (2.0, "/leader", joint_state(0, names, positions)),
        action_topic="/leader",
    )
    feed(bag, tracks)
    assert tracks.setpoint(ns(2.0)).tolist() == [1.0, 2.0, 3.0]
    assert problem in bag.problems[0]


def test_clear_forgets_every_command(make):
    bag, tracks = make(
        MEASURED, (1.0, GRIPPER, array([0.5])), (1.0, ARM, trajectory(0, ["a", "b"], [(1.0, [11.0, 22.0])]))
    )
    feed(bag, tracks)
    tracks.clear()
    assert tracks.setpoint(ns(3.0)) is None
    feed(bag, tracks)
    assert tracks.setpoint(ns(3.0)).tolist() == [11.0, 22.0, 0.5]


def test_topics_lie_in_the_namespace(tmp_path):
    with Recording(tmp_path / "bag") as bag:
        for topic, message in (
            ("joint_states", MEASURED[2]),
            ("gripper/commands", array([0.5])),
            ("arm/joint_trajectory", trajectory(0, ["a", "b"], [(1.0, [11.0, 22.0])])),
        ):
            bag.add(f"/left/{topic}", ns(0.0), message)
    read = open_bag(tmp_path / "bag")
    tracks = CommandTracks(PARAMETERS, read, namespace="left")
    feed(read, tracks)
    assert tracks.setpoint(ns(2.0)).tolist() == [11.0, 22.0, 0.5]
    with pytest.raises(
        BagError, match="expected topic '/gripper/commands'.*for outputs.gripper.*'/left/gripper/commands'"
    ):
        CommandTracks(PARAMETERS, read)


def test_a_leader_topic_that_is_missing_is_an_error(make):
    with pytest.raises(BagError, match=r"expected topic '/leader' \(sensor_msgs/msg/JointState\) for the action topic"):
        make(MEASURED, action_topic="/leader")


def test_outputs_that_leave_a_joint_out_are_refused(make):
    parameters = NodeParameters(joints=PARAMETERS.joints, outputs={"gripper": PARAMETERS.outputs["gripper"]})
    with pytest.raises(ConfigurationError, match="no output commands a, b"):
        make((0.0, GRIPPER, array([0.5])), parameters=parameters)
