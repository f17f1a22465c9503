# SPDX-License-Identifier: Apache-2.0
"""Datasets in ``lerobot_datasets/`` as LeRobot 0.6.1 recorded them, with images as videos and as PNG files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pyarrow", reason="the extra 'dataset' is not installed")
pytest.importorskip("av", reason="the extra 'dataset' is not installed")

from policy_ros.lerobot_dataset.features import picture, vector
from policy_ros.lerobot_dataset.info import DatasetInfo
from policy_ros.lerobot_dataset.reader import DatasetReader
from policy_ros.lerobot_dataset.statistics import QUANTILES
from policy_ros.lerobot_dataset.writer import DatasetWriter

RECORDED = Path(__file__).parent / "lerobot_datasets"
STATE, ACTION, TOP = "observation.state", "action", "observation.images.top"
LENGTHS = (6, 4)
TASKS = ("grasp the cube", "let go")


def frames(episode: int) -> Iterator[dict[str, NDArray[Any]]]:
    """What LeRobot was given."""
    rows, columns = np.mgrid[:32, :48]
    for frame in range(LENGTHS[episode]):
        k = frame + 10 * episode
        levels = np.stack([4 * rows + k, 3 * columns + 2 * k, rows + columns + 3 * k])
        yield {
            STATE: (np.arange(3) + k / 8).astype(np.float32),
            ACTION: (np.arange(2) - k / 16).astype(np.float32),
            TOP: (levels % 256).astype(np.uint8),
        }


@pytest.mark.parametrize("kind", ["image", "video"])
def test_what_lerobot_recorded_is_read(kind: str):
    reader = DatasetReader(RECORDED / kind)
    for episode in reader.episodes((STATE, ACTION, TOP)):
        for frame, wanted in zip(episode.frames, frames(episode.index), strict=True):
            assert frame.task == TASKS[episode.index]
            np.testing.assert_array_equal(frame.values[STATE], wanted[STATE])
            np.testing.assert_array_equal(frame.values[ACTION], wanted[ACTION])
            distance = np.abs(frame.values[TOP].astype(int) - wanted[TOP]).mean()
            assert distance == 0.0 if kind == "image" else distance < 6.0
    assert (reader.info.episodes, reader.info.frames, reader.info.robot_type) == (2, sum(LENGTHS), "arm")


@pytest.mark.parametrize("kind", ["image", "video"])
def test_the_description_we_write_is_lerobots(kind: str, tmp_path: Path):
    """But for what tells of the encoder."""
    write(tmp_path / "ours", DatasetInfo.read(RECORDED / kind), video=kind == "video")
    ours, theirs = (json.loads((root / "meta/info.json").read_text()) for root in (tmp_path / "ours", RECORDED / kind))
    for info in (ours, theirs):
        info["features"][TOP].pop("info", None)
    assert ours == theirs


def test_the_statistics_we_write_are_lerobots(tmp_path: Path):
    """As far as its histograms of 5000 bins and its sums in float32 go."""
    write(tmp_path / "ours", DatasetInfo.read(RECORDED / "image"), video=False)
    ours, theirs = (
        json.loads((root / "meta/stats.json").read_text()) for root in (tmp_path / "ours", RECORDED / "image")
    )
    assert ours.keys() == theirs.keys()
    for key, statistics in theirs.items():
        assert ours[key].keys() == statistics.keys()
        spread = np.max(statistics["max"]) - np.min(statistics["min"])
        for name, value in statistics.items():
            tolerance = spread / 5000 if name in QUANTILES else 1e-4 * (spread + np.max(np.abs(statistics["max"])))
            np.testing.assert_allclose(ours[key][name], value, rtol=0, atol=tolerance, err_msg=f"{key} {name}")


def write(root: Path, recorded: DatasetInfo, *, video: bool) -> None:
    """The same dataset by us."""
    from policy_ros.lerobot_dataset.video import find_codec

    features = {
        STATE: vector(recorded.features[STATE].names),
        ACTION: vector(recorded.features[ACTION].names),
        TOP: picture(32, 48, video=video),
    }
    codec = find_codec("av1") if video else None
    with DatasetWriter(root, fps=recorded.fps, features=features, codec=codec, robot_type="arm") as writer:
        for episode, task in enumerate(TASKS):
            for values in frames(episode):
                writer.add(values, task)
            writer.end_episode()
        writer.close()
