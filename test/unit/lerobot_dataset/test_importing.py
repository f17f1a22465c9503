# SPDX-License-Identifier: Apache-2.0
"""A LeRobot dataset as bags: what training would read out of them, and datasets that do not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pyarrow", reason="the extra 'dataset' is not installed")

from policy_ros.bags import BagInputs, CommandTracks, find_episodes, open_bag
from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.lerobot_dataset.errors import LeRobotError
from policy_ros.lerobot_dataset.features import Feature, picture, vector
from policy_ros.lerobot_dataset.importing import import_dataset
from policy_ros.lerobot_dataset.writer import DatasetWriter
from policy_ros.observation import ObservationAssembler, default_decoder
from policy_ros.parameters.build import action_scaling, observation_of
from policy_ros.parameters.node import (
    CameraParameters,
    ExecutionParameters,
    JointParameters,
    NodeParameters,
    OutputParameters,
)

STATE, ACTION, TOP, ENVIRONMENT = (
    "observation.state",
    "action",
    "observation.images.top",
    "observation.environment_state",
)
SIZE = (20, 24)
LENGTHS = (9, 1, 14)
JOINTS = ("shoulder", "elbow", "gripper")
FPS = 30  # its period is no whole number of nanoseconds

Values = Mapping[str, NDArray[Any]]


def robot(**joints: Any) -> NodeParameters:
    """Two joints behind a trajectory controller and a gripper behind a position controller, counted in other units."""
    return NodeParameters(
        joints=JointParameters(names=JOINTS, scale=(57.3, 57.3, 1234.5), offset=(3.0, 0.0, -7.0), **joints),
        cameras={"top": CameraParameters()},
        execution=ExecutionParameters(rate_hz=float(FPS)),
        outputs={
            "arm": OutputParameters(topic="arm/joint_trajectory", joints=("elbow", "shoulder")),
            "hand": OutputParameters(type="position_array", topic="hand/commands", joints=("gripper",)),
        },
    )


def frames(episode: int) -> Iterator[dict[str, NDArray[Any]]]:
    random = np.random.default_rng(episode)
    for _ in range(LENGTHS[episode]):
        yield {
            STATE: random.normal(scale=100.0, size=3).astype(np.float32),
            ACTION: random.normal(scale=100.0, size=3).astype(np.float32),
            TOP: random.integers(0, 256, size=(3, *SIZE), dtype=np.uint8),
            ENVIRONMENT: random.normal(size=2).astype(np.float32),
        }


FEATURES: Mapping[str, Feature] = {
    STATE: vector(JOINTS),
    ACTION: vector(JOINTS),
    TOP: picture(*SIZE, video=False),
    ENVIRONMENT: Feature("float32", (2,)),
}


def write(root: Path, features: Mapping[str, Feature] = FEATURES, fps: int = FPS) -> Path:
    with DatasetWriter(root, fps=fps, features=features) as writer:
        for episode in range(len(LENGTHS)):
            for values in frames(episode):
                writer.add({key: values[key] for key in features}, f"task {episode}")
            writer.end_episode()
        writer.close()
    return root


def read_out(path: Path, parameters: NodeParameters, count: int) -> list[Values]:
    """Observation and next setpoint at each point of the grid, as the contract of training has it."""
    specs = {
        STATE: FeatureSpec(FeatureType.STATE, (3,)),
        TOP: FeatureSpec(FeatureType.VISUAL, (3, *SIZE)),
        ENVIRONMENT: FeatureSpec(FeatureType.ENV, (2,)),
    }
    bag, config = open_bag(path), observation_of(parameters, specs)
    assembler = ObservationAssembler(config, default_decoder())
    inputs, tracks = BagInputs(parameters, config, bag), CommandTracks(parameters, bag)
    (episode,) = find_episodes(bag)
    messages = [m for m in bag.messages({*inputs.topics, *tracks.topics}) if m.log_ns < episode.stop_ns]

    def feed_until(now_ns: int) -> None:
        while messages and messages[0].log_ns <= now_ns:
            inputs.feed(messages[0], assembler)
            tracks.feed(messages.pop(0))

    begin_ns = 0
    while assembler.missing() or tracks.setpoint(begin_ns) is None:
        begin_ns = messages[0].log_ns
        inputs.feed(messages[0], assembler)
        tracks.feed(messages.pop(0))
    found: list[dict[str, NDArray[Any]]] = []
    for point in range(count + 1):
        now_ns = begin_ns + round(point * 1e9 / FPS)
        assert messages, "expected something recorded behind the last row"
        feed_until(now_ns)
        if found:
            setpoint = tracks.setpoint(now_ns)
            assert setpoint is not None
            found[-1][ACTION] = action_scaling(parameters).to_policy(setpoint)
        if point < count:
            found.append({k: v for k, v in assembler.assemble(now_ns).features.items() if not isinstance(v, str)})
    assert messages[-1].log_ns < begin_ns + round((count + 1) * 1e9 / FPS), "expected no further frame"
    assert bag.problems == []
    return found


@pytest.mark.parametrize("compressed", [False, True])
def test_training_reads_the_datasets_own_frames_out_of_the_bags(compressed: bool, tmp_path: Path):
    parameters = dataclasses.replace(robot(), cameras={"top": CameraParameters(compressed=compressed)})
    result = import_dataset(write(tmp_path / "dataset"), parameters, tmp_path / "bags")
    assert [path.name for path in result.bags] == ["episode_000000", "episode_000001", "episode_000002"]
    assert (result.frames, result.problems) == (sum(LENGTHS), [])
    for episode, path in enumerate(result.bags):
        found = read_out(path, parameters, LENGTHS[episode])
        for values, wanted in zip(found, frames(episode), strict=True):
            for key in wanted:
                np.testing.assert_array_equal(values[key], wanted[key], err_msg=f"episode {episode}, {key}")


def test_every_bag_is_one_episode_with_its_task(tmp_path: Path):
    result = import_dataset(write(tmp_path / "dataset"), robot(), tmp_path / "bags")
    for index, path in enumerate(result.bags):
        (episode,) = find_episodes(open_bag(path))
        assert (episode.index, episode.task, episode.success) == (index, f"task {index}", None)


def test_joints_are_matched_by_name_in_any_order(tmp_path: Path):
    """Also where LeRobot's robots put .pos behind them, and an action has another order than the state."""
    names = ("gripper.pos", "shoulder.pos", "elbow.pos")
    root = write(tmp_path / "dataset", {**FEATURES, ACTION: vector(names)})
    result = import_dataset(root, robot(), tmp_path / "bags")
    found = read_out(result.bags[0], robot(), LENGTHS[0])
    for values, wanted in zip(found, frames(0), strict=True):
        np.testing.assert_array_equal(values[ACTION], wanted[ACTION][[1, 2, 0]])
        np.testing.assert_array_equal(values[STATE], wanted[STATE])


def test_joints_of_other_names_are_refused_unless_their_order_is_said_to_fit(tmp_path: Path):
    names = ("motor_0", "motor_1", "motor_2")
    root = write(tmp_path / "dataset", {**FEATURES, STATE: vector(names), ACTION: vector(names)})
    with pytest.raises(
        LeRobotError, match=r"expected the joints shoulder, elbow, gripper .* motor_1.*--joints-by-order"
    ):
        import_dataset(root, robot(), tmp_path / "bags")
    result = import_dataset(root, robot(), tmp_path / "bags", by_order=True)
    np.testing.assert_array_equal(read_out(result.bags[1], robot(), 1)[0][ACTION], next(frames(1))[ACTION])


def test_another_number_of_joints_is_refused(tmp_path: Path):
    root = write(tmp_path / "dataset")
    parameters = robot(state_names=("shoulder", "elbow", "gripper", "wrist"))
    for by_order in (False, True):
        with pytest.raises(LeRobotError, match=r"'observation.state': expected .*wrist.*, got 3"):
            import_dataset(root, parameters, tmp_path / "bags", by_order=by_order)
    assert not (tmp_path / "bags").exists()


def test_another_rate_is_refused(tmp_path: Path):
    with pytest.raises(
        LeRobotError, match=r"expected 30 frames per second, as execution.rate_hz, got 25.*rate_hz: 25.0"
    ):
        import_dataset(write(tmp_path / "dataset", fps=25), robot(), tmp_path / "bags")


def test_a_missing_camera_is_refused_with_the_closest_there_is(tmp_path: Path):
    features = {key if key != TOP else "observation.images.top_view": feature for key, feature in FEATURES.items()}
    with DatasetWriter(tmp_path / "dataset", fps=FPS, features=features) as writer:
        for values in frames(0):
            writer.add({**values, "observation.images.top_view": values[TOP]}, "")
        writer.close()
    with pytest.raises(
        LeRobotError, match=r"cameras.top: .*did you mean 'observation.images.top_view'.*cameras.top.feature"
    ):
        import_dataset(tmp_path / "dataset", robot(), tmp_path / "bags")


def test_a_camera_that_nobody_asks_for_is_left_out_and_named(tmp_path: Path):
    parameters = dataclasses.replace(robot(), cameras={})
    result = import_dataset(write(tmp_path / "dataset"), parameters, tmp_path / "bags")
    assert len(result.problems) == 1
    assert "'observation.images.top' is left out" in result.problems[0]
    assert "/camera/top/image_raw" not in open_bag(result.bags[0]).topics


def test_nothing_is_left_of_an_import_that_failed(tmp_path: Path):
    root = write(tmp_path / "dataset")
    (root / "data/chunk-000/file-000.parquet").write_bytes(b"damaged")
    with pytest.raises(LeRobotError, match="file-000.parquet"):
        import_dataset(root, robot(), tmp_path / "bags")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_existing_bags_are_left_alone(tmp_path: Path):
    (tmp_path / "bags").mkdir()
    with pytest.raises(LeRobotError, match="does not exist yet"):
        import_dataset(write(tmp_path / "dataset"), robot(), tmp_path / "bags")
