# SPDX-License-Identifier: Apache-2.0
"""Bags as a LeRobot dataset: there and back again, and recordings with holes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("pyarrow", reason="the extra 'dataset' is not installed")
pytest.importorskip("av", reason="the extra 'dataset' is not installed")

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from policy_ros.bags import BagMessage, open_bag
from policy_ros.bags.message_types import own_definitions
from policy_ros.cli.main import main
from policy_ros.lerobot_dataset.errors import LeRobotError
from policy_ros.lerobot_dataset.exporting import ExportOptions, ExportResult, export_dataset
from policy_ros.lerobot_dataset.features import picture, vector
from policy_ros.lerobot_dataset.importing import import_dataset
from policy_ros.lerobot_dataset.info import DatasetInfo
from policy_ros.lerobot_dataset.reader import DatasetReader
from policy_ros.lerobot_dataset.writer import DatasetWriter
from policy_ros.parameters.files import read_parameters
from policy_ros.training.dataset import DatasetOptions
from policy_ros.training.planning import plan_dataset
from policy_ros.training.stream import SampleStream

STATE, ACTION, TOP = "observation.state", "action", "observation.images.top"
SIZE = (32, 40)
LENGTHS = (40, 25)
FPS = 30  # its period is no whole number of nanoseconds
PARAMETERS = """
/**:
  ros__parameters:
    joints: {names: [shoulder, elbow, gripper], scale: [57.3, 57.3, 1234.5], offset: [3.0, 0.0, -7.0]}
    cameras: {top: {topic: camera/top/image_raw}}
    execution: {rate_hz: 30.0}
    outputs:
      arm: {type: joint_trajectory, topic: arm/joint_trajectory, joints: [shoulder, elbow]}
      hand: {type: position_array, topic: hand/commands, joints: [gripper]}
"""

Values = Mapping[str, NDArray[Any]]


def frames(episode: int) -> Iterator[dict[str, NDArray[Any]]]:
    random = np.random.default_rng(episode)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for frame in range(LENGTHS[episode]):
        waves = [np.sin((axis + frame) / 6.0) for axis in (rows, columns, rows + columns)]
        yield {
            STATE: random.normal(scale=50.0, size=3).astype(np.float32),
            ACTION: random.normal(scale=50.0, size=3).astype(np.float32),
            TOP: np.stack([127.5 + 100.0 * wave for wave in waves]).astype(np.uint8),
        }


@pytest.fixture(name="params_file")
def _params_file(tmp_path: Path) -> Path:
    path = tmp_path / "robot.yaml"
    path.write_text(PARAMETERS)
    return path


@pytest.fixture(name="bags")
def _bags(tmp_path: Path, params_file: Path) -> list[Path]:
    """A bag for each episode."""
    joints = ("shoulder", "elbow", "gripper")
    features = {STATE: vector(joints), ACTION: vector(joints), TOP: picture(*SIZE, video=False)}
    with DatasetWriter(tmp_path / "first", fps=FPS, features=features) as writer:
        for episode in range(len(LENGTHS)):
            for values in frames(episode):
                writer.add(values, f"task {episode}")
            writer.end_episode()
        writer.close()
    return list(import_dataset(tmp_path / "first", read_parameters(params_file), tmp_path / "bags").bags)


def without(bag: Path, out: Path, left_out: Callable[[BagMessage], bool]) -> Path:
    """A copy of a bag without some messages."""
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(own_definitions())
    source = open_bag(bag)
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            name: writer.add_connection(name, topic.type, typestore=store) for name, topic in source.topics.items()
        }
        for message in source.messages(source.topics):
            if not left_out(message):
                writer.write(connections[message.topic], message.log_ns, message.data)
    return out


def export(bags: list[Path], params_file: Path, out: Path, **options: Any) -> ExportResult:
    return export_dataset(bags, read_parameters(params_file), out, ExportOptions(**options))


def read(root: Path) -> list[list[tuple[str, Values]]]:
    episodes = DatasetReader(root).episodes((STATE, ACTION, TOP))
    return [[(frame.task, frame.values) for frame in episode.frames] for episode in episodes]


@pytest.mark.parametrize("codec", [None, "h264-lossless", "h264"])
def test_a_dataset_comes_back_from_bags_as_it_was(
    codec: str | None, bags: list[Path], params_file: Path, tmp_path: Path
):
    result = export(bags, params_file, tmp_path / "second", video_codec=codec)
    assert (result.info.episodes, result.info.frames, list(result.problems)) == (2, sum(LENGTHS), [])
    for index, episode in enumerate(read(tmp_path / "second")):
        for (task, values), wanted in zip(episode, frames(index), strict=True):
            assert task == f"task {index}"
            np.testing.assert_array_equal(values[STATE], wanted[STATE])
            np.testing.assert_array_equal(values[ACTION], wanted[ACTION])
            if codec == "h264":
                assert np.abs(values[TOP].astype(int) - wanted[TOP]).mean() < 8.0
            else:
                np.testing.assert_array_equal(values[TOP], wanted[TOP])


def test_samples_are_the_same_after_a_way_through_a_dataset(bags: list[Path], params_file: Path, tmp_path: Path):
    """Chunks too, since the rows of a chunk are the actions of consecutive frames."""
    export(bags, params_file, tmp_path / "second", video_codec="h264-lossless")
    parameters = read_parameters(params_file)
    again = import_dataset(tmp_path / "second", parameters, tmp_path / "again").bags
    before, after = samples(bags, params_file), samples(list(again), params_file)
    assert len(before) == len(after) == sum(LENGTHS)
    for one, other in zip(before, after, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, other[key]), key
            else:
                assert value == other[key]


def samples(bags: list[Path], params_file: Path) -> list[dict[str, Any]]:
    parameters, options = read_parameters(params_file), DatasetOptions(chunk_size=8, validation_fraction=0.0)
    plan = plan_dataset(bags, parameters, options)
    return list(SampleStream(plan.training, parameters, options, shuffle=False))


def test_features_carry_the_joints_names(bags: list[Path], params_file: Path, tmp_path: Path):
    export(bags, params_file, tmp_path / "second", video_codec=None, robot_type="bench")
    info = DatasetInfo.read(tmp_path / "second")
    assert info.features[STATE].names == info.features[ACTION].names == ("shoulder", "elbow", "gripper")
    assert info.features[TOP].shape == (*SIZE, 3)
    assert (info.fps, info.robot_type) == (FPS, "bench")


def test_an_episode_with_a_hole_is_split_there_and_said_to_be(bags: list[Path], params_file: Path, tmp_path: Path):
    """Frames that follow each other are one period apart, so a hole must not close."""
    start_ns = open_bag(bags[0]).start_ns

    def in_hole(message: BagMessage) -> bool:
        return message.topic == "/camera/top/image_raw" and 0.3 < (message.log_ns - start_ns) * 1e-9 < 0.9

    holed = without(bags[0], tmp_path / "holed", in_hole)
    result = export([holed], params_file, tmp_path / "second", video_codec=None)
    first, second = read(tmp_path / "second")
    assert len(first) + len(second) < LENGTHS[0]
    missing = LENGTHS[0] - len(first) - len(second)
    assert f"{holed}: episode 0: {missing} frames ({missing / FPS:.3g} s) are missing" in result.problems[-1]
    wanted = list(frames(0))
    for (_, values), original in zip(second, wanted[-len(second) :], strict=True):
        np.testing.assert_array_equal(values[STATE], original[STATE])
        np.testing.assert_array_equal(values[ACTION], original[ACTION])


def test_another_rate_than_that_of_control(bags: list[Path], params_file: Path, tmp_path: Path):
    result = export(bags, params_file, tmp_path / "second", video_codec=None, fps=15)
    assert result.info.fps == 15
    first = read(tmp_path / "second")[0]
    for (_, values), original in zip(first, list(frames(0))[::2], strict=True):
        np.testing.assert_array_equal(values[STATE], original[STATE])


def test_a_rate_that_is_no_whole_number_is_refused(bags: list[Path], params_file: Path, tmp_path: Path):
    parameters = read_parameters(params_file)
    execution = dataclasses.replace(parameters.execution, rate_hz=29.97)
    with pytest.raises(LeRobotError, match="whole number of frames per second.*got 29.97; name one with --fps"):
        export_dataset(bags, dataclasses.replace(parameters, execution=execution), tmp_path / "second", ExportOptions())


def test_the_command_line_goes_both_ways(
    bags: list[Path], params_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    common = ["--params-file", str(params_file), "--out"]
    exported = ["dataset", "export", *common, str(tmp_path / "second"), "--image-format", "png", "--task", "push"]
    assert main([*exported, "--json", "--bags", *map(str, bags)]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["episodes"], summary["frames"], summary["tasks"], summary["fps"]) == (2, sum(LENGTHS), 1, FPS)
    assert main(["dataset", "import", str(tmp_path / "second"), *common, str(tmp_path / "again")]) == 0
    assert capsys.readouterr().out.strip() == f"{tmp_path / 'again'}: 2 bags, {sum(LENGTHS)} frames"
    assert main(["dataset", "import", str(tmp_path), *common, str(tmp_path / "third")]) == 2
    assert "expected a LeRobot dataset, it has no meta/info.json" in capsys.readouterr().err
