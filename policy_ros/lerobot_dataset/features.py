# SPDX-License-Identifier: Apache-2.0
"""The columns of a dataset: their types, shapes and names, as in ``meta/info.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from policy_ros.lerobot_dataset.errors import LeRobotError

IMAGE = "image"  # a PNG file in the parquet file
VIDEO = "video"
IMAGE_NAMES = ("height", "width", "channels")


@dataclass(frozen=True)
class Feature:
    """One column.

    Attributes:
        dtype: a numpy type, ``string``, ``image`` or ``video``.
        shape: of one frame's value; images are ``(H, W, 3)``.
        names: of a vector's elements, or of an image's axes; empty where there are none.
        info: of a video: its codec, size and rate.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    info: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_picture(self) -> bool:
        """Whether it is an image, wherever it is stored."""
        return self.dtype in (IMAGE, VIDEO)

    @property
    def is_depth(self) -> bool:
        """Whether it is a depth image, which policy_ros has no use for."""
        return bool(self.info.get("is_depth_map") or self.info.get("video.is_depth_map"))

    def as_json(self) -> dict[str, Any]:
        """As in ``meta/info.json``."""
        value: dict[str, Any] = {"dtype": self.dtype, "shape": list(self.shape), "names": list(self.names) or None}
        return value | ({"info": dict(self.info)} if self.info else {})

    @classmethod
    def from_json(cls, key: str, value: Any) -> Feature:
        """Of ``meta/info.json``.

        Raises:
            LeRobotError: it has no dtype or no shape.
        """
        try:
            dtype, shape = str(value["dtype"]), tuple(int(n) for n in value["shape"])
        except (KeyError, TypeError, ValueError):
            raise LeRobotError(f"feature '{key}': expected dtype and shape, got {value!r}") from None
        return cls(dtype, shape, _names(value.get("names")), dict(value.get("info") or value.get("video_info") or {}))


def vector(names: tuple[str, ...]) -> Feature:
    """A float32 vector with a name for each element."""
    return Feature("float32", (len(names),), names)


def picture(height: int, width: int, *, video: bool) -> Feature:
    """An RGB image."""
    return Feature(VIDEO if video else IMAGE, (height, width, 3), IMAGE_NAMES)


BOOKKEEPING: Mapping[str, Feature] = MappingProxyType(
    {
        "timestamp": Feature("float32", (1,)),
        "frame_index": Feature("int64", (1,)),
        "episode_index": Feature("int64", (1,)),
        "index": Feature("int64", (1,)),
        "task_index": Feature("int64", (1,)),
    }
)
"""Columns of every dataset: seconds and frames since the episode began, which episode, frames since the first one."""


def _names(value: Any) -> tuple[str, ...]:
    """A list of names; older datasets wrap it in a mapping such as ``{"motors": [...]}``."""
    if isinstance(value, Mapping):
        lists = list(value.values())
        value = lists[0] if len(lists) == 1 and isinstance(lists[0], list) else list(value)
    return tuple(str(name) for name in value or ())
