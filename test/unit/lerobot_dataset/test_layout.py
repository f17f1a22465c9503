# SPDX-License-Identifier: Apache-2.0
"""Datasets in LeRobot's layout, written and read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pyarrow", reason="the extra 'dataset' is not installed")
pytest.importorskip("av", reason="the extra 'dataset' is not installed")

from policy_ros.lerobot_dataset import tables, video_files
from policy_ros.lerobot_dataset.errors import LeRobotError
from policy_ros.lerobot_dataset.features import picture, vector
from policy_ros.lerobot_dataset.reader import DatasetReader
from policy_ros.lerobot_dataset.video import CODECS, find_codec
from policy_ros.lerobot_dataset.writer import DatasetWriter

FPS = 30
SIZE = (48, 64)
TOP, STATE, ACTION, HEIGHT = "observation.images.top", "observation.state", "action", "observation.environment_state"
LENGTHS = (12, 1, 21)

Values = Mapping[str, NDArray[Any]]


def moving_picture(frame: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A smooth pattern that moves by a pixel with each frame, so that a frame is most like itself."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    waves = [np.sin((columns + frame) / 6.0), np.sin((rows + frame) / 7.0), np.sin((rows + columns + frame) / 8.0)]
    return np.stack([127.5 + 120.0 * wave for wave in waves]).astype(np.uint8)


def frames(episode: int, length: int) -> Iterator[dict[str, NDArray[Any]]]:
    random = np.random.default_rng(episode)
    for frame in range(length):
        yield {
            STATE: random.normal(size=4).astype(np.float32),
            HEIGHT: random.normal(size=1).astype(np.float32),
            ACTION: random.normal(size=3).astype(np.float32),
            TOP: moving_picture(frame + 5 * episode),
        }


def write(root: Path, kind: str, lengths: Sequence[int] = LENGTHS) -> None:
    """A dataset whose images are PNG files, or videos of this codec."""
    features = {
        STATE: vector(("a", "b", "c", "d")),
        HEIGHT: vector(("height",)),
        ACTION: vector(("a", "b", "c")),
        TOP: picture(*SIZE, video=kind != "png"),
    }
    codec = None if kind == "png" else find_codec(kind)
    with DatasetWriter(root, fps=FPS, features=features, codec=codec, robot_type="arm") as writer:
        for episode, length in enumerate(lengths):
            for values in frames(episode, length):
                writer.add(values, f"task {episode % 2}")
            writer.end_episode()
        writer.close()


def open_writer(root: Path) -> DatasetWriter:
    """A dataset with a state of one joint and nothing else."""
    return DatasetWriter(root, fps=FPS, features={STATE: vector(("a",))})


def read(root: Path) -> list[list[tuple[str, Values]]]:
    episodes = DatasetReader(root).episodes((STATE, HEIGHT, ACTION, TOP))
    return [[(frame.task, frame.values) for frame in episode.frames] for episode in episodes]


@pytest.mark.parametrize("kind", ["png", *CODECS])
def test_what_is_written_is_read_back(kind: str, tmp_path: Path):
    write(tmp_path / "dataset", kind)
    episodes = read(tmp_path / "dataset")
    assert tuple(len(episode) for episode in episodes) == LENGTHS
    for index, episode in enumerate(episodes):
        for (task, values), wanted in zip(episode, frames(index, LENGTHS[index]), strict=True):
            assert task == f"task {index % 2}"
            for key in (STATE, HEIGHT, ACTION):
                np.testing.assert_array_equal(values[key], wanted[key])
                assert values[key].dtype == np.float32


@pytest.mark.parametrize("kind", ["png", "h264-lossless"])
def test_lossless_images_come_back_to_the_byte(kind: str, tmp_path: Path):
    write(tmp_path / "dataset", kind)
    for index, episode in enumerate(read(tmp_path / "dataset")):
        for (_, values), wanted in zip(episode, frames(index, LENGTHS[index]), strict=True):
            np.testing.assert_array_equal(values[TOP], wanted[TOP])


@pytest.mark.parametrize("kind", ["av1", "h264"])
def test_a_lossy_video_has_every_picture_in_its_place(kind: str, tmp_path: Path):
    write(tmp_path / "dataset", kind)
    for index, episode in enumerate(read(tmp_path / "dataset")):
        wanted = [values[TOP].astype(int) for values in frames(index, LENGTHS[index])]
        for frame, (_, values) in enumerate(episode):
            distances = [np.abs(values[TOP] - other).mean() for other in wanted]
            assert int(np.argmin(distances)) == frame
            assert distances[frame] < 8.0  # of these colours, halving their resolution alone costs 5


def test_full_files_are_followed_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "DATA_FILE_BYTES", 0)
    monkeypatch.setattr(video_files, "VIDEO_FILE_BYTES", 0)
    write(tmp_path / "dataset", "h264-lossless")
    names = sorted(path.name for path in (tmp_path / "dataset" / "videos" / TOP).rglob("*.mp4"))
    assert names == ["file-000.mp4", "file-001.mp4", "file-002.mp4"]
    assert len(list((tmp_path / "dataset" / "data").rglob("*.parquet"))) == len(LENGTHS)
    for index, episode in enumerate(read(tmp_path / "dataset")):
        for (_, values), wanted in zip(episode, frames(index, LENGTHS[index]), strict=True):
            np.testing.assert_array_equal(values[TOP], wanted[TOP])
            np.testing.assert_array_equal(values[STATE], wanted[STATE])


def test_a_directory_has_a_thousand_files_and_then_comes_the_next():
    number = tables.FileNumber(0, 999)
    assert number.next() == tables.FileNumber(1, 0)
    assert number.next().path("chunk-{chunk_index:03d}/file-{file_index:03d}") == "chunk-001/file-000"


def test_the_description_names_what_is_there(tmp_path: Path):
    write(tmp_path / "dataset", "h264")
    info = json.loads((tmp_path / "dataset" / "meta" / "info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["fps"], info["robot_type"]) == (FPS, "arm")
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, sum(LENGTHS), 2)
    assert info["splits"] == {"train": "0:3"}
    assert info["features"][ACTION] == {"dtype": "float32", "shape": [3], "names": ["a", "b", "c"]}
    assert info["features"][TOP]["shape"] == [*SIZE, 3]
    assert info["features"][TOP]["info"]["video.codec"] == "h264"
    assert info["features"]["timestamp"]["dtype"] == "float32"


def test_nothing_is_left_where_writing_failed(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / "dataset") as writer:
        writer.add({STATE: np.zeros(1, np.float32)}, "")
        writer.end_episode()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_left_alone(tmp_path: Path):
    with pytest.raises(LeRobotError, match="does not exist yet"):
        open_writer(tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(2, np.float32), r"expected float32 \(1,\), got float32 \(2,\)"),
        (np.zeros(1, np.float64), "got float64"),
        (np.array([np.nan], np.float32), "expected finite values"),
        (None, "it is missing"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(value: NDArray[Any] | None, message: str, tmp_path: Path):
    with pytest.raises(LeRobotError, match=message), open_writer(tmp_path / "dataset") as writer:
        writer.add({} if value is None else {STATE: value}, "")


def test_a_dataset_without_episodes_is_refused(tmp_path: Path):
    with open_writer(tmp_path / "dataset") as writer, pytest.raises(LeRobotError, match="at least one episode"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_an_odd_size_is_refused_where_the_codec_cannot_have_it(tmp_path: Path):
    writer = DatasetWriter(
        tmp_path / "dataset", fps=FPS, features={TOP: picture(47, 64, video=True)}, codec=find_codec("h264")
    )
    with pytest.raises(LeRobotError, match="h264-lossless or --image-format png"), writer:
        writer.add({TOP: moving_picture(0, (47, 64))}, "")


def test_an_unknown_codec_is_refused_with_those_there_are():
    with pytest.raises(LeRobotError, match="did you mean 'h264'"):
        find_codec("h265")


def test_a_video_that_ends_early_is_found(tmp_path: Path):
    write(tmp_path / "dataset", "h264")
    write(tmp_path / "shorter", "h264", LENGTHS[:1])
    video = Path("videos", TOP, "chunk-000", "file-000.mp4")
    (tmp_path / "shorter" / video).replace(tmp_path / "dataset" / video)
    with pytest.raises(LeRobotError, match="expected 1 pictures from 0.4000 s on, it ends after 0"):
        read(tmp_path / "dataset")


@pytest.mark.parametrize("name", ["meta/info.json", "meta/tasks.parquet", "data/chunk-000/file-000.parquet"])
def test_a_damaged_or_missing_file_is_named(name: str, tmp_path: Path):
    write(tmp_path / "dataset", "png", (3,))
    path = tmp_path / "dataset" / name
    path.write_bytes(b"not what was expected")
    with pytest.raises(LeRobotError, match=path.name):
        read(tmp_path / "dataset")
    path.unlink()
    with pytest.raises(LeRobotError, match=path.name):
        read(tmp_path / "dataset")


def test_another_version_is_refused(tmp_path: Path):
    write(tmp_path / "dataset", "png", (3,))
    path = tmp_path / "dataset" / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"codebase_version": "v2.1"}))
    with pytest.raises(LeRobotError, match="expected a dataset of version v3, got 'v2.1'"):
        read(tmp_path / "dataset")
