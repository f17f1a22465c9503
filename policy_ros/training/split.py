# SPDX-License-Identifier: Apache-2.0
"""Which episodes validate."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from policy_ros.bags import Episode


def validation_episodes(episodes: Sequence[Episode], fraction: float, seed: int) -> frozenset[int]:
    """Positions of the episodes that validate: a share of them, at least one of two or more, never all.

    Episodes are drawn by what identifies them, not by their place in the list: neither the order of the bags nor the
    directory that they lie in matters, and further bags leave the draw of those before as it was, but for a few.

    Args:
        episodes: all of them, each once.
        fraction: share that validates, 0 for none.
        seed: another one draws others.
    """
    if fraction <= 0.0 or len(episodes) < 2:
        return frozenset()
    count = min(max(1, round(fraction * len(episodes))), len(episodes) - 1)
    drawn = sorted(range(len(episodes)), key=lambda position: _lot(episodes[position], seed))
    return frozenset(drawn[:count])


def _lot(episode: Episode, seed: int) -> bytes:
    identity = f"{seed}/{episode.start_ns}/{episode.index}/{episode.bag_path.name}"
    return hashlib.sha256(identity.encode()).digest()
