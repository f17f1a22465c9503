# SPDX-License-Identifier: Apache-2.0
"""Samples in, one aligned observation out; and the precise reason where there is none."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from policy_ros.data import JointScaling, Observation
from policy_ros.errors import ConfigurationError, DecodeError
from policy_ros.observation import (
    CameraStream,
    DropCause,
    NotReady,
    NotReadyCause,
    ObservationAssembler,
    ObservationConfig,
    RawDecoder,
    RawImage,
    VectorStream,
)
from policy_ros.observation.images import Image

MS = 1_000_000
START_NS = 1_000_000_000_000
JOINTS = ("shoulder", "elbow")
TOP = CameraStream("top", "observation.images.top")
WRIST = CameraStream("wrist", "observation.images.wrist")


def frame(value: int, height: int = 2, width: int = 3) -> RawImage:
    return RawImage(height, width, "rgb8", 3 * width, bytes([value]) * (3 * height * width))


class FakeDecoder(RawDecoder):
    """Decodes raw images, counts them, and fails on those of one value."""

    def __init__(self, broken: int = -1) -> None:
        super().__init__()
        self.broken = broken
        self.decoded: list[int] = []

    def decode(self, image: Image) -> NDArray[np.uint8]:
        picture = super().decode(image)
        value = int(picture[0, 0, 0])
        if value == self.broken:
            raise DecodeError(f"expected a good picture, got {value}")
        self.decoded.append(value)
        return picture


class Rig:
    """An assembler with short-hands: times in milliseconds after the start."""

    def __init__(self, decoder: RawDecoder | None = None, **fields: Any) -> None:
        fields = {"joints": JOINTS, "cameras": (TOP,), **fields}
        self.decoder = decoder or FakeDecoder()
        self.assembler = ObservationAssembler(ObservationConfig(**fields), self.decoder)

    def joints(self, at_ms: float, shoulder: float = 0.1, elbow: float = 0.2, **names: Any) -> None:
        stamp_ns = START_NS + round(at_ms * MS)
        self.assembler.push_joints(JOINTS, [shoulder, elbow], stamp_ns=stamp_ns, receive_ns=stamp_ns, **names)

    def image(self, at_ms: float, value: int = 50, camera: str = "top", image: Image | None = None) -> None:
        stamp_ns = START_NS + round(at_ms * MS)
        self.assembler.push_image(camera, image or frame(value), stamp_ns=stamp_ns, receive_ns=stamp_ns)

    def assemble(self, at_ms: float) -> Observation:
        return self.assembler.assemble(START_NS + round(at_ms * MS))

    def refusal(self, at_ms: float) -> NotReady:
        with pytest.raises(NotReady) as caught:
            self.assemble(at_ms)
        assert "\n" not in str(caught.value)
        return caught.value


def array(observation: Observation, feature: str) -> NDArray[Any]:
    value = observation.features[feature]
    assert isinstance(value, np.ndarray)
    return value


# What an observation holds


def test_an_observation_holds_every_feature_in_its_shape_and_type():
    rig = Rig(cameras=(TOP, WRIST), environment_state=VectorStream(2))
    rig.joints(10)
    rig.image(5, 50)
    rig.image(8, 60, "wrist")
    rig.assembler.push_vector("environment_state", [7.0, 8.0], stamp_ns=START_NS, receive_ns=START_NS)
    rig.assembler.set_task("pick the puck")
    observation = rig.assemble(12)
    assert list(observation.features) == [
        "observation.state",
        "observation.environment_state",
        "observation.images.top",
        "observation.images.wrist",
        "task",
    ]
    np.testing.assert_array_equal(array(observation, "observation.state"), np.float32([0.1, 0.2]))
    np.testing.assert_array_equal(array(observation, "observation.environment_state"), [7.0, 8.0])
    np.testing.assert_array_equal(array(observation, "observation.images.wrist"), np.full((3, 2, 3), 60))
    assert array(observation, "observation.state").dtype == np.float32
    assert array(observation, "observation.environment_state").dtype == np.float32
    assert array(observation, "observation.images.top").dtype == np.uint8
    assert observation.features["task"] == "pick the puck"


def test_the_state_is_in_policy_units_and_joint_positions_are_in_robot_units():
    scaling = JointScaling(JOINTS, np.array([10.0, -2.0]), np.array([1.0, 0.0]))
    rig = Rig(scaling=scaling, cameras=())
    rig.joints(0, 0.5, 0.25)
    np.testing.assert_allclose(array(rig.assemble(1), "observation.state"), [6.0, -0.5])
    positions = rig.assembler.joint_positions()
    assert positions is not None and positions.dtype == np.float64
    np.testing.assert_array_equal(positions, [0.5, 0.25])


def test_without_a_state_feature_the_joints_are_watched_but_not_shown():
    rig = Rig(state_feature=None)
    rig.image(0)
    assert rig.refusal(1).stream == "joint_states"
    rig.joints(0)
    assert list(rig.assemble(1).features) == ["observation.images.top"]


def test_a_task_is_kept_by_clear_and_taken_back_by_none():
    rig = Rig(cameras=())
    rig.assembler.set_task("stack")
    rig.assembler.clear()
    rig.joints(0)
    assert rig.assemble(1).features["task"] == "stack"
    rig.assembler.set_task(None)
    assert "task" not in rig.assemble(1).features


# Alignment


def test_every_stream_contributes_its_sample_nearest_to_the_oldest_of_the_newest():
    rig = Rig()
    for at_ms in range(0, 101, 10):
        rig.joints(at_ms, shoulder=at_ms / 1000)
    for at_ms in (0, 33, 66):
        rig.image(at_ms, at_ms)
    observation = rig.assemble(100)
    assert observation.stamp_ns == START_NS + 66 * MS
    assert observation.stamps_ns == {"joint_states": START_NS + 70 * MS, "camera/top": START_NS + 66 * MS}
    assert array(observation, "observation.state")[0] == np.float32(0.070)


def test_alignment_equals_a_search_through_everything_pushed():
    rng = np.random.default_rng(7)
    for _ in range(100):
        rig = Rig(cameras=(TOP, WRIST), max_skew_s=10.0)
        joints = np.cumsum(rng.integers(4, 20, size=20))
        top, wrist = np.cumsum(rng.integers(20, 50, size=5)), np.cumsum(rng.integers(20, 50, size=5))
        for at in joints:
            rig.joints(int(at))
        for at in top:
            rig.image(int(at))
        for at in wrist:
            rig.image(int(at), camera="wrist")
        anchor = min(joints[-1], top[-1], wrist[-1])
        expected = {
            stream: START_NS + MS * int(min(stamps, key=lambda t: (abs(t - anchor), t)))
            for stream, stamps in {"joint_states": joints, "camera/top": top, "camera/wrist": wrist}.items()
        }
        now = max(joints[-1], top[-1], wrist[-1])
        if now - anchor < 200:
            assert rig.assemble(float(now)).stamps_ns == expected


def test_stamps_too_far_apart_are_a_skew_that_names_the_stream_and_the_spread():
    rig = Rig(max_skew_s=0.05)
    rig.image(0)
    rig.joints(60)
    refusal = rig.refusal(60)
    assert refusal.cause is NotReadyCause.SKEW and refusal.stream == "joint_states"
    assert "0.05 s" in str(refusal) and "0.060 s" in str(refusal)
    rig.image(40)
    assert rig.assemble(60).stamp_ns == START_NS + 40 * MS


# History


def test_history_is_spaced_by_dt_back_from_the_anchor_oldest_first():
    rig = Rig(n_obs_steps=3, dt_s=0.1, cameras=(CameraStream("top", "observation.images.top", max_age_s=0.3),))
    for at_ms in range(0, 401, 20):
        rig.joints(at_ms, shoulder=at_ms / 1000)
        rig.image(at_ms + 1, at_ms // 2)
    observation = rig.assemble(402)
    np.testing.assert_allclose(array(observation, "observation.state")[:, 0], [0.2, 0.3, 0.4], atol=1e-6)
    assert array(observation, "observation.images.top").shape == (3, 3, 2, 3)
    assert array(observation, "observation.images.top")[:, 0, 0, 0].tolist() == [100, 150, 200]


def test_before_the_history_is_filled_the_oldest_sample_is_repeated():
    rig = Rig(n_obs_steps=3, dt_s=0.1)
    rig.joints(0, shoulder=0.3)
    rig.image(0, 30)
    rig.joints(100, shoulder=0.4)
    rig.image(100, 40)
    observation = rig.assemble(100)
    np.testing.assert_allclose(array(observation, "observation.state")[:, 0], [0.3, 0.3, 0.4], atol=1e-6)
    assert array(observation, "observation.images.top")[:, 0, 0, 0].tolist() == [30, 30, 40]


def test_frames_of_the_history_are_decoded_once():
    decoder = FakeDecoder()
    rig = Rig(decoder, n_obs_steps=2, dt_s=0.033)
    for i in range(5):
        rig.joints(33 * i)
        rig.image(33 * i, 10 + i)
        rig.assemble(33 * i)
        rig.assemble(33 * i)
    assert decoder.decoded == [10, 11, 12, 13, 14]


def test_fault_07_a_frame_of_another_size_in_the_history_is_given_up():
    rig = Rig(n_obs_steps=2, dt_s=0.033)
    rig.joints(33)
    rig.image(0, image=frame(1, 4, 4))
    rig.image(33, 2)
    assert array(rig.assemble(33), "observation.images.top")[:, 0, 0, 0].tolist() == [2, 2]
    assert "size of the newest frame" in rig.assembler.last_errors["camera/top"]


def test_memory_is_bounded_at_any_rate():
    rig = Rig(cameras=(CameraStream("top", "x", max_rate_hz=30.0),))
    for i in range(2000):
        rig.image(i * 0.5)
    assert len(rig.assembler._images["camera/top"]) <= 14


# Determinism


def test_the_same_samples_give_the_same_bytes_whenever_they_are_asked_for():
    def run(delay_ms: float, extra_assembles: int) -> list[bytes]:
        rng = np.random.default_rng(8)
        rig = Rig(cameras=(TOP, WRIST), n_obs_steps=2, dt_s=0.04)
        out = []
        for i in range(30):
            rig.joints(10 * i, *rng.normal(scale=0.01, size=2))
            if i % 3 == 0:
                rig.image(10 * i - 2, int(rng.integers(256)))
                rig.image(10 * i - 5, int(rng.integers(256)), "wrist")
            for _ in range(extra_assembles):
                rig.assemble(10 * i + delay_ms)
            observation = rig.assemble(10 * i + delay_ms)
            out.append(b"".join(array(observation, key).tobytes() for key in sorted(observation.features)))
        return out

    assert run(0.0, 0) == run(90.0, 2)


def test_observations_are_read_only_and_do_not_change_with_later_samples():
    rig = Rig()
    rig.joints(0)
    rig.image(0, 50)
    observation = rig.assemble(0)
    copies = {key: array(observation, key).copy() for key in observation.features}
    rig.joints(30, 0.9, 0.9)
    rig.image(30, 99)
    rig.assemble(30)
    for key, copy in copies.items():
        np.testing.assert_array_equal(array(observation, key), copy)
        with pytest.raises(ValueError, match="read-only"):
            array(observation, key)[...] = 0
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):  # a picture is shared with the next observation
        array(observation, "observation.images.top").setflags(write=True)


# Freshness


def test_fault_01_an_old_camera_is_stale_and_then_expired_after_the_tail():
    rig = Rig(tail_s=0.5)
    rig.image(0)
    for at_ms in range(0, 1000, 50):
        rig.joints(at_ms)
    assert rig.assembler.health(START_NS + 300 * MS).stale == ()
    late = rig.assembler.health(START_NS + 301 * MS)
    assert late.stale == ("camera/top",) and late.expired == ()
    assert rig.assembler.health(START_NS + 800 * MS).expired == ()
    assert rig.assembler.health(START_NS + 801 * MS).expired == ("camera/top",)
    refusal = rig.refusal(301)
    assert refusal.cause is NotReadyCause.STALE and refusal.stream == "camera/top"
    assert "0.3 s" in str(refusal) and "0.301 s" in str(refusal)
    rig.image(940)
    assert rig.assemble(950).stamp_ns == START_NS + 940 * MS


def test_fault_03_joints_expire_without_a_tail():
    rig = Rig(cameras=())
    rig.joints(0)
    assert rig.assembler.health(START_NS + 200 * MS).expired == ()
    health = rig.assembler.health(START_NS + 201 * MS)
    assert health.stale == health.expired == ("joint_states",)
    assert rig.refusal(201).cause is NotReadyCause.STALE


def test_fault_03_one_silent_joint_among_fresh_ones_expires_the_stream():
    rig = Rig(cameras=())
    rig.joints(0)
    for at_ms in range(10, 300, 10):
        stamp_ns = START_NS + at_ms * MS
        rig.assembler.push_joints(["elbow"], [0.2], stamp_ns=stamp_ns, receive_ns=stamp_ns)
    health = rig.assembler.health(START_NS + 290 * MS)
    assert health.expired == ("joint_states",) and health.ages_s["joint_states"] == pytest.approx(0.29)


def test_fault_04_joints_and_streams_never_seen_are_named():
    rig = Rig(cameras=(TOP, WRIST), environment_state=VectorStream(2))
    assert rig.assembler.missing() == ("joint_states", "camera/top", "camera/wrist", "environment_state")
    rig.assembler.push_joints(["shoulder"], [0.1], stamp_ns=START_NS, receive_ns=START_NS)
    rig.image(0)
    assert rig.assembler.missing() == ("joint_states/elbow", "camera/wrist", "environment_state")
    assert rig.assembler.joint_positions() is None
    refusal = rig.refusal(0)
    assert refusal.cause is NotReadyCause.NEVER_RECEIVED and "elbow" in str(refusal)
    health = rig.assembler.health(START_NS)
    assert health.ages_s["joint_states"] == float("inf") and "joint_states" in health.expired


def test_a_joint_state_of_other_joints_is_not_counted():
    rig = Rig()
    rig.assembler.push_joints(["wheel"], [1.0], stamp_ns=START_NS, receive_ns=START_NS)
    assert rig.assembler.statistics(START_NS)["joint_states"].received == 0


# What is dropped


def test_fault_05_samples_that_are_not_finite_are_dropped_and_counted():
    rig = Rig(environment_state=VectorStream(2))
    rig.joints(0, float("nan"))
    rig.assembler.push_vector("environment_state", [0.0, float("inf")], stamp_ns=START_NS, receive_ns=START_NS)
    assert rig.assembler.drops[DropCause.NON_FINITE] == 2
    assert "joint_states" in rig.assembler.missing() and "environment_state" in rig.assembler.missing()
    assert "nan" in rig.assembler.last_errors["joint_states"]


def test_fault_07_malformed_samples_are_dropped_counted_and_explained_in_one_line():
    rig = Rig(environment_state=VectorStream(2))
    rig.image(0, image=RawImage(2, 3, "rgb8", 9, bytes(17)))
    rig.image(0, image=RawImage(2, 3, "32FC1", 12, bytes(24)))
    rig.assembler.push_joints(JOINTS, [0.1], stamp_ns=START_NS, receive_ns=START_NS)
    rig.assembler.push_vector("environment_state", [1.0], stamp_ns=START_NS, receive_ns=START_NS)
    assert rig.assembler.drops[DropCause.MALFORMED] == 4
    assert set(rig.assembler.last_errors) == {"camera/top", "joint_states", "environment_state"}
    assert all("expected" in text and "\n" not in text for text in rig.assembler.last_errors.values())
    assert len(rig.assembler.missing()) == 3


def test_fault_07_malformed_images_do_not_keep_a_camera_fresh():
    rig = Rig()
    rig.image(0)
    for at_ms in range(30, 1000, 30):
        rig.image(at_ms, image=RawImage(2, 3, "rgb8", 9, bytes(17)))
    assert "camera/top" in rig.assembler.health(START_NS + 1000 * MS).expired


def test_fault_07_an_undecodable_image_gives_way_to_the_one_before():
    rig = Rig(FakeDecoder(broken=66))
    rig.joints(33)
    rig.image(0, 50)
    rig.image(33, 66)
    assert array(rig.assemble(33), "observation.images.top")[0, 0, 0] == 50
    assert rig.assembler.drops[DropCause.MALFORMED] == 1
    assert rig.assembler.last_errors["camera/top"] == "expected a good picture, got 66"


def test_fault_07_when_no_image_decodes_the_refusal_says_why():
    rig = Rig(FakeDecoder(broken=66))
    rig.joints(33)
    rig.image(0, 66)
    rig.image(33, 66)
    refusal = rig.refusal(33)
    assert refusal.cause is NotReadyCause.UNDECODABLE and refusal.stream == "camera/top"
    assert "expected a good picture, got 66" in str(refusal)
    assert rig.assembler.drops[DropCause.MALFORMED] == 2
    rig.image(40, 50)
    assert rig.assemble(40).stamp_ns == START_NS + 33 * MS


def test_older_samples_are_dropped_and_counted():
    rig = Rig(environment_state=VectorStream(1))
    for at_ms in (50, 20):
        rig.image(at_ms, at_ms)
        rig.joints(at_ms, at_ms / 100)
        stamp_ns = START_NS + at_ms * MS
        rig.assembler.push_vector("environment_state", [at_ms], stamp_ns=stamp_ns, receive_ns=stamp_ns)
    assert rig.assembler.drops[DropCause.OUT_OF_ORDER] == 3
    observation = rig.assemble(50)
    assert set(observation.stamps_ns.values()) == {START_NS + 50 * MS}


def test_fault_22_a_zero_stamp_is_replaced_by_the_receive_time():
    rig = Rig()
    rig.assembler.push_joints(JOINTS, [0.1, 0.2], stamp_ns=0, receive_ns=START_NS + 5 * MS)
    rig.assembler.push_image("top", frame(1), stamp_ns=0, receive_ns=START_NS + 7 * MS)
    observation = rig.assemble(10)
    assert observation.stamps_ns == {"joint_states": START_NS + 5 * MS, "camera/top": START_NS + 7 * MS}


def test_fault_22_a_stamp_in_the_future_is_dropped_beyond_the_tolerance():
    rig = Rig(future_tolerance_s=0.1)
    rig.assembler.push_image("top", frame(1), stamp_ns=START_NS + 101 * MS, receive_ns=START_NS)
    rig.assembler.push_joints(JOINTS, [0.1, 0.2], stamp_ns=START_NS + 101 * MS, receive_ns=START_NS)
    assert rig.assembler.drops[DropCause.FUTURE] == 2
    assert rig.assembler.missing() == ("joint_states", "camera/top")
    assert "got 0.101 s" in rig.assembler.last_errors["camera/top"]
    rig.assembler.push_image("top", frame(1), stamp_ns=START_NS + 100 * MS, receive_ns=START_NS)
    assert rig.assembler.missing() == ("joint_states",)
    assert rig.assembler.health(START_NS).ages_s["camera/top"] == 0.0


@pytest.mark.parametrize("sources", [("", ""), ("arm", "simulation")])
def test_fault_25_two_sources_of_a_joint_stop_inference_and_expire_the_stream(sources: tuple[str, str]):
    rig = Rig(cameras=())
    for i in range(40):
        rig.joints(10 * i, elbow=0.2 + 0.6 * (i % 2), source=sources[i % 2])
    (line,) = rig.assembler.conflicts()
    assert "'elbow'" in line and "0.2000" in line and "0.8000" in line
    refusal = rig.refusal(390)
    assert refusal.cause is NotReadyCause.CONFLICT and "elbow" in str(refusal)
    assert rig.assembler.drops[DropCause.CONFLICTING] > 20
    assert rig.assembler.health(START_NS + 390 * MS).expired == ("joint_states",)
    assert "elbow" in rig.assembler.last_errors["joint_states"]
    rig.assembler.clear()
    rig.joints(400)
    assert rig.assembler.conflicts() == () and rig.assemble(400).stamp_ns == START_NS + 400 * MS


@pytest.mark.parametrize("push", ["push_image", "push_vector"])
def test_a_stream_that_is_not_configured_is_named_with_the_closest(push: str):
    rig = Rig(environment_state=VectorStream(1, stream="top_state"))
    with pytest.raises(ConfigurationError, match="did you mean"):
        content = frame(1) if push == "push_image" else [1.0]
        getattr(rig.assembler, push)("topp" if push == "push_image" else "topstate", content, stamp_ns=0, receive_ns=1)


# Clearing


def test_fault_20_after_clear_nothing_old_remains():
    rig = Rig(n_obs_steps=2, environment_state=VectorStream(1))
    rig.joints(0, 0.9, 0.9)
    rig.image(0, 99)
    rig.assembler.push_vector("environment_state", [9.0], stamp_ns=START_NS, receive_ns=START_NS)
    rig.assemble(0)
    rig.assembler.clear()
    assert rig.assembler.missing() == ("joint_states", "camera/top", "environment_state")
    assert rig.assembler.joint_positions() is None
    assert set(rig.assembler.health(START_NS).expired) == {"joint_states", "camera/top", "environment_state"}
    assert rig.refusal(0).cause is NotReadyCause.NEVER_RECEIVED
    # The clock went back: what is pushed now is older than what was forgotten.
    rig.joints(-5000, 0.1, 0.1)
    rig.image(-5000, 11)
    earlier_ns = START_NS - 5000 * MS
    rig.assembler.push_vector("environment_state", [1.0], stamp_ns=earlier_ns, receive_ns=earlier_ns)
    observation = rig.assemble(-5000)
    assert rig.assembler.drops[DropCause.OUT_OF_ORDER] == 0
    assert set(observation.stamps_ns.values()) == {earlier_ns}
    assert np.all(array(observation, "observation.images.top") == 11)
    assert np.all(array(observation, "observation.environment_state") == 1.0)
    np.testing.assert_allclose(array(observation, "observation.state"), 0.1)


def test_fault_20_an_observation_being_assembled_while_cleared_is_not_delivered():
    class ClearingDecoder(FakeDecoder):
        def decode(self, image: Image) -> NDArray[np.uint8]:
            rig.assembler.clear()
            return super().decode(image)

    rig = Rig(ClearingDecoder())
    rig.joints(0)
    rig.image(0)
    assert rig.refusal(0).cause is NotReadyCause.NEVER_RECEIVED


def test_fault_28_a_camera_that_restarts_resumes_where_its_ages_allow():
    rig = Rig(n_obs_steps=2, dt_s=0.03)
    rig.joints(0)
    rig.image(0, 10)
    rig.joints(10_000)
    assert rig.refusal(10_000).stream == "camera/top"
    rig.image(10_000, 20)
    assert array(rig.assemble(10_000), "observation.images.top")[:, 0, 0, 0].tolist() == [20, 20]


# Threads and numbers


def test_other_threads_are_not_kept_waiting_while_an_image_is_decoded():
    class AskingDecoder(FakeDecoder):
        def decode(self, image: Image) -> NDArray[np.uint8]:
            def others() -> None:
                rig.joints(5)
                rig.image(5)
                rig.assembler.health(START_NS)

            thread = threading.Thread(target=others, daemon=True)
            thread.start()
            thread.join(timeout=10.0)
            answered.append(not thread.is_alive())
            return super().decode(image)

    answered: list[bool] = []
    rig = Rig(AskingDecoder())
    rig.joints(0)
    rig.image(0)
    rig.assemble(0)
    assert answered == [True]


def test_pushing_stores_and_checks_but_does_not_decode():
    decoder = FakeDecoder()
    rig = Rig(decoder)
    rig.image(0)
    assert decoder.decoded == []


def test_statistics_count_arrivals_and_tell_their_rate():
    rig = Rig()
    for i in range(101):
        rig.image(i * 20)
    statistics = rig.assembler.statistics(START_NS + 2010 * MS)["camera/top"]
    assert statistics.received == 101
    assert statistics.rate_hz == pytest.approx(50.0)
    assert statistics.age_s == pytest.approx(0.01)


def test_the_rate_of_a_stalled_stream_falls_to_zero():
    rig = Rig()
    for i in range(101):
        rig.image(i * 20)
    rates = [rig.assembler.statistics(START_NS + ms * MS)["camera/top"].rate_hz for ms in (2000, 2500, 3500, 4001)]
    assert rates == sorted(rates, reverse=True)
    assert rates[1] < 45.0 and rates[-1] == 0.0


def test_counters_survive_clear_and_include_what_was_dropped():
    rig = Rig()
    rig.image(0)
    rig.image(20, image=RawImage(2, 3, "rgb8", 9, b""))
    assert rig.assembler.statistics(START_NS + 20 * MS)["camera/top"].rate_hz == pytest.approx(50.0)
    rig.assembler.clear()
    assert rig.assembler.statistics(START_NS + 20 * MS)["camera/top"].received == 2
    assert rig.assembler.statistics(START_NS + 20 * MS)["camera/top"].rate_hz == 0.0
    assert rig.assembler.drops[DropCause.MALFORMED] == 1
