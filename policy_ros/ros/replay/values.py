# SPDX-License-Identifier: Apache-2.0
"""Messages of the policy node as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COUNTERS = (
    "chunks",
    "chunks_late",
    "chunks_guided",
    "chunks_rejected",
    "inference_errors",
    "commands",
    "holds",
    "holds_after_first_chunk",
    "gate_clamped",
    "gate_rejected",
    "deadlines_missed",
)


@dataclass(frozen=True, eq=False)
class HeardChunk:
    """An ``ActionChunk``: rows ``(H, A)``; times are the node's [ns].

    Attributes:
        took_over_ns: the tick that executed its first row.
        delay_steps: d, the first row that was executed.
        observation_stamps_ns: stream to the stamp of the newest sample used.
    """

    epoch: int
    sequence: int
    took_over_ns: int
    delay_steps: int
    execution_horizon: int
    dt_s: float
    joint_names: tuple[str, ...]
    actions: NDArray[np.float32]
    observation_stamps_ns: Mapping[str, int]


@dataclass(frozen=True)
class HeardStatus:
    """A ``PolicyStatus``, fields as there.

    Attributes:
        stamp_ns: the node's time.
        heard_s: when it came here, monotonic.
        counters: :data:`COUNTERS` by name.
    """

    stamp_ns: int
    heard_s: float
    state: int
    mode: str
    active_mode: str
    degradation: str
    hold_cause: str
    epoch: int
    step: int
    inference_latency_s: float
    observation_age_s: float
    counters: Mapping[str, int]
