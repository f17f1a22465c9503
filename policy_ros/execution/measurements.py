# SPDX-License-Identifier: Apache-2.0
"""What the executor counts and measures, from its start on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policy_ros.execution.gate import GateResult
from policy_ros.execution.statistics import SampleWindow


@dataclass
class Measurements:
    """Counters and windows; their meaning is documented where they are published, in ``ExecutionStatus``.

    Attributes:
        joints: A, the number of joints.
    """

    joints: int
    chunks: int = 0
    chunks_late: int = 0
    chunks_guided: int = 0
    chunks_rejected: int = 0
    inference_errors: int = 0
    commands: int = 0
    holds: int = 0
    holds_after_first_chunk: int = 0
    gate_clamped: int = 0
    gate_rejected: int = 0
    joint_clamped: NDArray[np.int64] = field(init=False)
    joint_rejected: NDArray[np.int64] = field(init=False)
    seam_jump: float = 0.0
    inference_latency: SampleWindow = field(default_factory=SampleWindow)
    command_period: SampleWindow = field(default_factory=SampleWindow)
    observation_age: SampleWindow = field(default_factory=SampleWindow)

    def __post_init__(self) -> None:
        self.joint_clamped = np.zeros(self.joints, dtype=np.int64)
        self.joint_rejected = np.zeros(self.joints, dtype=np.int64)

    def count_verdict(self, verdict: GateResult) -> None:
        """The gate's judgement on the row that is due; rows behind it come due later and are judged again."""
        if verdict.rows is None:
            self.gate_rejected += verdict.rejected
            self.joint_rejected += verdict.offending
        else:
            changed = verdict.changed[0]
            if np.count_nonzero(changed):
                self.gate_clamped += 1
                self.joint_clamped += changed

    def count_hold(self) -> None:
        """One more transition to a hold."""
        self.holds += 1
        if self.chunks > 0:
            self.holds_after_first_chunk += 1
