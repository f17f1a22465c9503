# SPDX-License-Identifier: Apache-2.0
"""Why the robot holds, and what ends a hold."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class Recovery(IntEnum):
    """What ends a hold; a larger value is more severe and takes precedence."""

    ON_CHUNK = 0  # the awaited chunk arrives
    ON_FRESH_STREAMS = 1  # every input stream is fresh again
    ON_RESET = 2  # latched until somebody resets


class HoldCause(Enum):
    """Cause of a hold; the value is a sentence fragment for logs, the name is what status messages carry."""

    STARVED = "the chunk is finished and the next one is not there"
    STREAM_EXPIRED = "an input stream is too old"
    STREAM_FROZEN = "a camera sends the same picture again and again"
    CALLBACKS_STALLED = "the node's callbacks do not run"
    CLOCK_JUMP = "the clock jumped"
    JOINT_CONFLICT = "two sources disagree about a joint"
    NON_FINITE_ACTION = "the policy returned values that are not finite"
    INVALID_ACTION = "the policy returned actions of the wrong shape"
    POLICY_FAILED = "the policy raised an error"
    INFERENCE_TIMEOUT = "an inference does not return"
    JUMP = "an action is too far from where the robot is"
    LIMIT = "an action exceeds a limit"
    INTERNAL_ERROR = "the control or inference loop failed"
    OPERATOR = "requested by the operator"
    SHUTDOWN = "shutting down"

    @property
    def recovery(self) -> Recovery:
        """What ends a hold of this cause."""
        if self is HoldCause.STARVED:
            return Recovery.ON_CHUNK
        if self in _OVER_WITH_FRESH_STREAMS:
            return Recovery.ON_FRESH_STREAMS
        return Recovery.ON_RESET

    @property
    def asked_for(self) -> bool:
        """Whether somebody asked for the hold, rather than a fault."""
        return self in (HoldCause.OPERATOR, HoldCause.SHUTDOWN)

    @property
    def latched(self) -> bool:
        """Whether only a reset ends the hold."""
        return self.recovery is Recovery.ON_RESET


_OVER_WITH_FRESH_STREAMS = frozenset(
    {HoldCause.STREAM_EXPIRED, HoldCause.STREAM_FROZEN, HoldCause.CALLBACKS_STALLED, HoldCause.CLOCK_JUMP}
)


@dataclass(frozen=True)
class Hold:
    """A hold in force.

    Attributes:
        cause: why.
        detail: one line with the facts.
        step: absolute step, in the epoch that the hold ended or interrupted, at which it began.
    """

    cause: HoldCause
    detail: str
    step: int

    def yields_to(self, other: Hold) -> bool:
        """Whether ``other`` is more severe, so that it has to take the place of this hold."""
        return other.cause.recovery > self.cause.recovery
