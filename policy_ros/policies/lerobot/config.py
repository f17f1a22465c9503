# SPDX-License-Identifier: Apache-2.0
"""What is known of a wrapped policy without LeRobot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from policy_ros.policies.config import PolicyConfig


@dataclass(frozen=True, kw_only=True)
class LeRobotConfig(PolicyConfig):
    """Features and rows of a wrapped policy; its own options are in ``lerobot_config.json``, for LeRobot to read.

    Normalisation is LeRobot's as well, so ``normalization_mapping`` stays empty.

    Attributes:
        chunk_size: H, rows that its ``predict_action_chunk`` returns.
    """

    unmet_in_recordings: ClassVar[str] = "LeRobot's own training (lerobot-train)"

    chunk_size: int = 100
