# SPDX-License-Identifier: Apache-2.0
"""How a recording is replayed."""

from __future__ import annotations

from dataclasses import dataclass, field

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.node import NodeParameters
from policy_ros.replay.delays import DelayOptions


@dataclass(frozen=True)
class ReplayOptions:
    """What is replayed how; together with the recording and the policy it determines the result.

    Attributes:
        parameters: the node's; their ``execution.added_delay_s`` comes on top of the delay.
        delay: how long inferences last.
        seed: of everything random: the policy's noise and drawn delays.
        namespace: the node's, for relative topics.
        action_topic: the recorded actions are positions of this JointState topic (a leader arm); None: they are the
            commands on the topics of ``outputs``.
        max_action_gap_s: a leader arm that was silent for longer says nothing; commands are held [s].
        reset_after_s: a hold that only a reset ends is reset after so long, as an operator would; None: never [s].

    Raises:
        ConfigurationError: a value that makes no sense.
    """

    parameters: NodeParameters
    delay: DelayOptions = field(default_factory=DelayOptions)
    seed: int = 0
    namespace: str = "/"
    action_topic: str | None = None
    max_action_gap_s: float = 0.5
    reset_after_s: float | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigurationError(f"seed: expected 0 or more, got {self.seed}")
        if self.reset_after_s is not None and not self.reset_after_s >= 0.0:
            raise ConfigurationError(f"reset after: expected 0 s or more, got {self.reset_after_s}")
        if not self.max_action_gap_s > 0.0:
            raise ConfigurationError(f"action gap: expected more than 0 s, got {self.max_action_gap_s}")
