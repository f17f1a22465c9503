# SPDX-License-Identifier: Apache-2.0
"""Which samples of the streams belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from policy_ros.observation.config import ObservationConfig
from policy_ros.observation.errors import NotReady, NotReadyCause
from policy_ros.observation.images import Image
from policy_ros.observation.ring import Ring, Sample

T = TypeVar("T")


@dataclass(frozen=True)
class Selection:
    """The samples of one observation, for every stream ``n_obs_steps`` of them, oldest first.

    Attributes:
        anchor_ns: oldest of the streams' newest stamps.
        anchor_stream: the stream that set it.
        vectors: joint and environment samples ``(n,)``.
        images: camera samples, not decoded.
    """

    anchor_ns: int
    anchor_stream: str
    vectors: Mapping[str, tuple[Sample[NDArray[np.float64]], ...]]
    images: Mapping[str, tuple[Sample[Image], ...]]

    def stamps_ns(self) -> dict[str, int]:
        """Stream to the stamp of its newest selected sample."""
        stamps = {stream: samples[-1].stamp_ns for stream, samples in self.vectors.items()}
        stamps.update((stream, samples[-1].stamp_ns) for stream, samples in self.images.items())
        return stamps


def select(
    vectors: Mapping[str, Ring[NDArray[np.float64]]], images: Mapping[str, Ring[Image]], config: ObservationConfig
) -> Selection:
    """Anchor on the oldest of the newest samples and pick every stream's sample nearest to each step.

    Args:
        vectors: rings of the vector streams, none empty.
        images: rings of the cameras, none empty.
        config: skew, history length and step.

    Raises:
        NotReady: the stamps at the anchor are spread wider than ``max_skew_s``.
    """
    newest = [(sample.stamp_ns, s) for s, r in vectors.items() if (sample := r.newest()) is not None]
    newest += [(frame.stamp_ns, s) for s, r in images.items() if (frame := r.newest()) is not None]
    anchor_ns, anchor_stream = min(newest)
    steps_ns = [anchor_ns - round(k * config.dt_s * 1e9) for k in reversed(range(config.n_obs_steps))]
    selection = Selection(
        anchor_ns,
        anchor_stream,
        {stream: _nearest(ring, steps_ns) for stream, ring in vectors.items()},
        {stream: _nearest(ring, steps_ns) for stream, ring in images.items()},
    )
    _require_aligned(selection, config.max_skew_s)
    return selection


def _nearest(ring: Ring[T], steps_ns: list[int]) -> tuple[Sample[T], ...]:
    picked = (ring.nearest(step_ns) for step_ns in steps_ns)
    return tuple(sample for sample in picked if sample is not None)


def _require_aligned(selection: Selection, max_skew_s: float) -> None:
    stamps = selection.stamps_ns()
    spread_s = (max(stamps.values()) - min(stamps.values())) / 1e9
    if spread_s > max_skew_s:
        anchor_ns = selection.anchor_ns
        worst = max(stamps, key=lambda stream: abs(stamps[stream] - anchor_ns))
        offset_s = (stamps[worst] - anchor_ns) / 1e9
        raise NotReady(
            NotReadyCause.SKEW,
            worst,
            f"expected stamps within {max_skew_s:g} s of each other, got a spread of {spread_s:.3f} s: the nearest "
            f"sample is {offset_s:+.3f} s from {selection.anchor_stream}; check rates and clocks",
        )
