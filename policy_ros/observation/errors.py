# SPDX-License-Identifier: Apache-2.0
"""Why no observation can be assembled right now."""

from __future__ import annotations

from enum import Enum

from policy_ros.errors import ObservationError


class NotReadyCause(str, Enum):
    """What keeps an observation from being assembled."""

    NEVER_RECEIVED = "never_received"
    STALE = "stale"
    SKEW = "skew"
    CONFLICT = "conflict"
    UNDECODABLE = "undecodable"


class NotReady(ObservationError):
    """No observation can be assembled now; trying again on fresh samples may succeed.

    Attributes:
        cause: what is wrong.
        stream: the stream it is wrong with.
    """

    def __init__(self, cause: NotReadyCause, stream: str, message: str) -> None:
        super().__init__(f"{stream}: {message}")
        self.cause = cause
        self.stream = stream
