# SPDX-License-Identifier: Apache-2.0
"""What is asked of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Mode(Enum):
    """Who says when an episode begins and ends."""

    MANUAL = "manual"  # services and keys
    FOLLOW = "follow-episodes"  # the topic `episode`
    CONTINUOUS = "continuous"  # everything is recorded


@dataclass(frozen=True)
class RecordOptions:
    """Options of one recording.

    Attributes:
        out: directory to be made.
        mode: who decides about episodes.
        storage: ``mcap`` or ``sqlite3``.
        compression: ``none`` or ``zstd``.
        split_bytes: largest size of one file; 0: one file.
        task: what is to be done, in words, for every episode begun here.
        action_topic: JointState topic of a leader arm, in place of the outputs' command topics; empty: these.
        extra_topics: recorded too.
        episodes: end after so many; 0: no limit.
        duration_s: end after this time; 0: no limit.
        timeout_s: longest wait for the topics before the start.
    """

    out: Path
    mode: Mode = Mode.MANUAL
    storage: str = "mcap"
    compression: str = "none"
    split_bytes: int = 0
    task: str = ""
    action_topic: str = ""
    extra_topics: tuple[str, ...] = ()
    episodes: int = 0
    duration_s: float = 0.0
    timeout_s: float = 10.0
