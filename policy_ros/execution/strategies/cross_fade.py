# SPDX-License-Identifier: Apache-2.0
"""From one chunk to the next by degrees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import ActionChunk
from policy_ros.execution.timeline import Timeline
from policy_ros.rtc import prefix_weights


def faded_in(timeline: Timeline, chunk: ActionChunk, schedule: str) -> NDArray[np.float32]:
    """The rows ``(H, A)`` of a chunk, faded in over those that are planned for the same steps.

    Args:
        timeline: what is planned.
        chunk: row 0 belongs to ``chunk.first_step``, which may be past.
        schedule: of the weights of what is planned, see :func:`policy_ros.rtc.prefix_weights`.
    """
    first = max(0, timeline.step - chunk.first_step)  # d
    end = min(timeline.end - chunk.first_step, chunk.horizon)  # N: there are planned rows up to here
    rows: NDArray[np.float32] = chunk.actions.copy()
    if end > first:
        planned = timeline.window(timeline.step, end - first)
        weights = prefix_weights(first, end, chunk.horizon, schedule)[first:end, None]
        rows[first:end] = weights * planned + (1.0 - weights) * rows[first:end]
    return rows
