# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest
from support.bags import (
    IMAGE,
    JOINT_STATE,
    Recording,
    array,
    compressed_image,
    image,
    joint_state,
    ns,
)

from policy_ros.bags import BagError, BagInputs, open_bag
from policy_ros.observation import (
    CameraStream,
    NotReady,
    ObservationAssembler,
    ObservationConfig,
    VectorStream,
    default_decoder,
)
from policy_ros.parameters.node import CameraParameters, JointParameters, NodeParameters, ObservationParameters

PARAMETERS = NodeParameters(
    joints=JointParameters(names=("a", "b")),
    cameras={"top": CameraParameters(), "wrist": CameraParameters(compressed=True)},
    observation=ObservationParameters(environment_topic="/world/state"),
)
CONFIG = ObservationConfig(
    joints=("a", "b"),
    cameras=(CameraStream("top", "observation.images.top"), CameraStream("wrist", "observation.images.wrist")),
    environment_state=VectorStream(3),
)
PIXELS = np.random.default_rng(2).integers(0, 256, (6, 8, 3), dtype=np.uint8)
PNG = cv2.imencode(".png", PIXELS[:, :, ::-1])[1].tobytes()


def record(path, namespace="", count=5, left_out=()):
    """Joints and environment at 100 Hz, both cameras at 50 Hz."""
    root = f"/{namespace}" if namespace else ""
    with Recording(path) as bag:

        def add(topic, t, message):
            if topic not in left_out:
                bag.add(topic, t, message)

        for i in range(count):
            t = ns(i * 0.01)
            add(f"{root}/joint_states", t, joint_state(t - 2_000_000, ["b", "x", "a"], [i + 0.5, 9.0, i]))
            add("/world/state", t, array([i, 2.0, 3.0]))
            if i % 2 == 0:
                add(f"{root}/camera/top/image_raw", t, image(t - 5_000_000, PIXELS + np.uint8(i), padding=2))
                add(f"{root}/camera/wrist/image_raw/compressed", t, compressed_image(t - 4_000_000, PNG))
    return path


def feed_all(bag, inputs, assembler):
    for message in bag.messages(inputs.topics):
        inputs.feed(message, assembler)


def new_assembler(config=CONFIG):
    return ObservationAssembler(config, default_decoder())


@pytest.mark.parametrize("namespace", ["", "left"])
def test_an_observation_is_assembled_from_recorded_messages(tmp_path, namespace):
    bag = open_bag(record(tmp_path / "bag", namespace))
    inputs, assembler = BagInputs(PARAMETERS, CONFIG, bag, namespace=f"/{namespace}"), new_assembler()
    feed_all(bag, inputs, assembler)
    seen = assembler.assemble(ns(0.04))
    assert seen.features["observation.state"].tolist() == [4.0, 4.5]
    assert seen.features["observation.environment_state"].tolist() == [3.0, 2.0, 3.0]  # nearest to the camera
    assert np.array_equal(seen.features["observation.images.top"], (PIXELS + np.uint8(4)).transpose(2, 0, 1))
    assert np.array_equal(seen.features["observation.images.wrist"], PIXELS.transpose(2, 0, 1))
    assert seen.stamps_ns == {
        "joint_states": ns(0.038),
        "camera/top": ns(0.035),
        "camera/wrist": ns(0.036),
        "environment_state": ns(0.03),  # it has no stamp: when it was recorded
    }
    assert bag.problems == []


def test_a_message_counts_as_received_when_it_was_recorded(tmp_path):
    bag = open_bag(record(tmp_path / "bag"))
    inputs, assembler = BagInputs(PARAMETERS, CONFIG, bag), new_assembler()
    feed_all(bag, inputs, assembler)
    assert assembler.statistics(ns(0.04))["joint_states"].received == 5
    assert assembler.statistics(ns(0.04))["joint_states"].rate_hz == pytest.approx(100.0)


def test_other_topics_are_ignored(tmp_path):
    bag = open_bag(record(tmp_path / "bag"))
    config = ObservationConfig(joints=("a", "b"))
    inputs, assembler = BagInputs(PARAMETERS, config, bag), new_assembler(config)
    assert inputs.topics == ("/joint_states",)
    for message in bag.messages(bag.topics):
        inputs.feed(message, assembler)
    assert assembler.assemble(ns(0.04)).features["observation.state"].tolist() == [4.0, 4.5]


def test_a_missing_topic_is_an_error_that_names_bag_topic_parameter_and_close_ones(tmp_path):
    bag = open_bag(record(tmp_path / "bag", left_out=("/camera/top/image_raw",)))
    with pytest.raises(BagError, match="for cameras.top, got none") as error:
        BagInputs(PARAMETERS, CONFIG, bag)
    assert f"{tmp_path / 'bag'}: expected topic '/camera/top/image_raw' ({IMAGE})" in str(error.value)
    bag = open_bag(record(tmp_path / "other", "left"))
    with pytest.raises(BagError, match="did you mean '/left/joint_states'"):
        BagInputs(PARAMETERS, CONFIG, bag)


def test_a_topic_of_another_type_is_an_error(tmp_path):
    bag = open_bag(record(tmp_path / "bag"))
    cameras = {"top": CameraParameters(topic="/joint_states"), "wrist": CameraParameters(compressed=True)}
    parameters = NodeParameters(joints=PARAMETERS.joints, cameras=cameras, observation=PARAMETERS.observation)
    with pytest.raises(BagError, match=f"topic '/joint_states': expected {IMAGE} for cameras.top, got {JOINT_STATE}"):
        BagInputs(parameters, CONFIG, bag)


def test_a_topic_without_messages_is_an_error(tmp_path):
    with Recording(tmp_path / "bag") as writing:
        writing.topic("/joint_states", JOINT_STATE)
        writing.add("/other", ns(0.0), array([1.0]))
    with pytest.raises(BagError, match="topic '/joint_states': expected messages for joints.topic, got none"):
        BagInputs(PARAMETERS, ObservationConfig(joints=("a", "b")), open_bag(tmp_path / "bag"))


def test_a_malformed_message_is_counted_and_left_out(tmp_path):
    with Recording(tmp_path / "bag") as writing:
        for i in range(3):
            writing.raw("/joint_states", ns(0.0) + i, JOINT_STATE, b"\x00\x01\x00\x00\x07")
        writing.add("/joint_states", ns(0.1), joint_state(0, ["a", "b"], [1.0, 2.0]))
    bag = open_bag(tmp_path / "bag")
    config = ObservationConfig(joints=("a", "b"))
    inputs, assembler = BagInputs(PARAMETERS, config, bag), new_assembler(config)
    feed_all(bag, inputs, assembler)
    assert assembler.assemble(ns(0.1)).features["observation.state"].tolist() == [1.0, 2.0]
    (problem,) = bag.problems
    assert problem.startswith(f"{bag.path}: topic '/joint_states': expected 8 bytes at 4, got 1")
    assert problem.endswith("(3 times)")


def test_no_observation_reaches_across_stamps_that_ran_backwards(tmp_path):
    """A recording that was played twice, 0.7 s long, while the log time goes on."""
    with Recording(tmp_path / "bag") as writing:
        for run in range(2):
            for i in range(70):
                log = ns(run * 0.72 + i * 0.01)
                writing.add("/joint_states", log, joint_state(ns(i * 0.01), ["a"], [run]))
                writing.add("/joint_states", log + 1, joint_state(ns(i * 0.01), ["b"], [run]))
    bag = open_bag(tmp_path / "bag")
    config = ObservationConfig(joints=("a", "b"), joint_max_age_s=10.0)
    inputs, assembler = BagInputs(PARAMETERS, config, bag), new_assembler(config)
    states = []
    for message in bag.messages(inputs.topics):
        jump = inputs.feed(message, assembler)
        assert (jump is not None) == (message.log_ns == ns(0.72) + 1)
        try:
            states.append(tuple(assembler.assemble(message.log_ns).features["observation.state"]))
        except NotReady:
            states.append(None)
    assert set(states) == {None, (0.0, 0.0), (1.0, 1.0)}
    assert states[141] is None  # a of the second run has not come yet
    assert states[142] == (1.0, 1.0)
    (jump,) = inputs.jumps
    assert (jump.topic, jump.log_ns, jump.back_s) == ("/joint_states", ns(0.72) + 1, pytest.approx(0.69))
    (problem,) = bag.problems
    assert (
        f"{bag.path}: topic '/joint_states': expected header stamps that increase, got a jump back by 0.690 s"
        in problem
    )
    assert "after 0.720 s" in problem


def test_sources_of_one_topic_that_lag_behind_each_other_are_no_jump(tmp_path):
    with Recording(tmp_path / "bag") as writing:
        for i in range(20):
            writing.add("/joint_states", ns(i * 0.01), joint_state(ns(i * 0.01), ["a"], [i]))
            writing.add("/joint_states", ns(i * 0.01), joint_state(ns(i * 0.01 - 0.2), ["b"], [i]))
    bag = open_bag(tmp_path / "bag")
    config = ObservationConfig(joints=("a", "b"))
    inputs, assembler = BagInputs(PARAMETERS, config, bag), new_assembler(config)
    feed_all(bag, inputs, assembler)
    assert inputs.jumps == []
    assert bag.problems == []


def test_a_single_late_message_and_one_from_the_future_are_no_jump(tmp_path):
    """The running node drops them and goes on."""
    with Recording(tmp_path / "bag") as writing:
        for i in range(100):
            stamp = {60: ns(0.0), 80: ns(9.0)}.get(i, ns(i * 0.01))
            writing.add("/joint_states", ns(i * 0.01), joint_state(stamp, ["a", "b"], [i, i]))
    bag = open_bag(tmp_path / "bag")
    config = ObservationConfig(joints=("a", "b"))
    inputs, assembler = BagInputs(PARAMETERS, config, bag), new_assembler(config)
    states = []
    for message in bag.messages(inputs.topics):
        assert inputs.feed(message, assembler) is None
        states.append(assembler.assemble(message.log_ns).features["observation.state"][0])
    assert states == [i - (i in (60, 80)) for i in range(100)]
    assert bag.problems == []


def test_stamps_of_another_clock_are_reported(tmp_path):
    with Recording(tmp_path / "bag") as writing:
        for i in range(10):  # simulated time, recorded without --use-sim-time
            writing.add("/joint_states", ns(i * 0.01), joint_state(1 + i * 10_000_000, ["a", "b"], [1.0, 2.0]))
    bag = open_bag(tmp_path / "bag")
    config = ObservationConfig(joints=("a", "b"))
    inputs, assembler = BagInputs(PARAMETERS, config, bag), new_assembler(config)
    feed_all(bag, inputs, assembler)
    with pytest.raises(NotReady):
        assembler.assemble(ns(0.1))
    (problem,) = bag.problems
    assert "topic '/joint_states': expected header stamps near the time of recording" in problem
    assert "--use-sim-time" in problem
