# SPDX-License-Identifier: Apache-2.0
"""What the executor counts and measures, from its start on."""

from __future__ import annotations

from dataclasses import dataclass, field

from policy_ros.execution.statistics import SampleWindow


@dataclass
class Measurements:
    """Counters and windows; their meaning is documented where they are published, in ``ExecutionStatus``."""

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
    seam_jump: float = 0.0
    inference_latency: SampleWindow = field(default_factory=SampleWindow)
    command_period: SampleWindow = field(default_factory=SampleWindow)
    observation_age: SampleWindow = field(default_factory=SampleWindow)

    def count_hold(self) -> None:
        """One more transition to a hold."""
        self.holds += 1
        if self.chunks > 0:
            self.holds_after_first_chunk += 1
