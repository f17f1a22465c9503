# SPDX-License-Identifier: Apache-2.0
"""Episodes of a bag, from the events of whoever recorded it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from policy_ros.bags.bag import Bag
from policy_ros.bags.errors import BagError, MalformedMessage

EPISODE_TYPE = "policy_ros/msg/Episode"
STARTED, ENDED, DISCARDED = 0, 1, 2  # as in Episode.msg
_SUCCESS: dict[int, bool | None] = {0: None, 1: True, 2: False}


@dataclass(frozen=True)
class Episode:
    """A part of a bag in which a task was done once.

    Attributes:
        bag_path: the bag.
        index: number of the episode, as recorded.
        start_ns: log time of its begin [ns].
        stop_ns: log time of its end, not part of it [ns].
        task: what was to be done, in words; may be empty.
        success: whether it was; None: nobody said.
    """

    bag_path: Path
    index: int
    start_ns: int
    stop_ns: int
    task: str = ""
    success: bool | None = None


def find_episodes(bag: Bag, topic: str | None = None) -> list[Episode]:
    """The episodes of a bag in the order of time. Without events, the whole bag is one; an empty bag has none.

    A discarded episode is none. One that did not end lasts until the next begins, or to the end of the bag, and becomes
    a problem of the bag.

    Args:
        bag: where to look.
        topic: of the events; None: the one topic of their type.

    Raises:
        BagError: several topics have events, or ``topic`` has none.
    """
    topic = _topic(bag, topic)
    if topic is None:
        whole = Episode(bag.path, 0, bag.start_ns, bag.end_ns + 1)
        return [whole] if any(each.count for each in bag.topics.values()) else []
    found: list[Episode] = []
    running: Episode | None = None
    for log_ns, event in _events(bag, topic):
        if event.event == STARTED:
            if running is not None:
                _note_open(bag, topic, running, "the next began")
                found.append(replace(running, stop_ns=log_ns))
            running = Episode(bag.path, int(event.index), log_ns, bag.end_ns + 1, str(event.task))
        elif event.event == DISCARDED:
            if running is None and found and found[-1].index == event.index:
                found.pop()  # thrown away after it had ended
            running = None
        elif running is not None:
            ended = replace(running, stop_ns=log_ns, success=_SUCCESS.get(int(event.result)))
            found.append(replace(ended, task=str(event.task) or ended.task))
            running = None
        else:
            bag.note(
                f"{bag.path}: topic '{topic}': expected the begin of episode {event.index} before its end, got none "
                "(was the recording started in the middle of it?); left out"
            )
    if running is not None:
        _note_open(bag, topic, running, "the bag ended")
        found.append(running)
    return found


def _topic(bag: Bag, topic: str | None) -> str | None:
    candidates = [each.name for each in bag.topics.values() if each.type == EPISODE_TYPE]
    if topic is not None:
        if topic not in candidates:
            there = ", ".join(candidates) or "none"
            raise BagError(f"{bag.path}: expected topic '{topic}' of type {EPISODE_TYPE}, got {there}")
        return topic
    if len(candidates) > 1:
        raise BagError(f"{bag.path}: expected one topic of type {EPISODE_TYPE}, got {', '.join(candidates)}; name one")
    return candidates[0] if candidates else None


def _events(bag: Bag, topic: str) -> Iterator[tuple[int, Any]]:
    for message in bag.messages([topic]):
        try:
            event = bag.deserialize(message)
        except MalformedMessage as error:
            bag.note(f"{bag.path}: topic '{topic}': {error}; left out", topic, "malformed")
            continue
        if event.event in (STARTED, ENDED, DISCARDED):
            yield message.log_ns, event
        else:
            bag.note(f"{bag.path}: topic '{topic}': expected an event of 0, 1 or 2, got {event.event}; left out")


def _note_open(bag: Bag, topic: str, episode: Episode, when: str) -> None:
    bag.note(
        f"{bag.path}: topic '{topic}': expected an end of episode {episode.index}, got none before {when}; "
        "it lasts until then"
    )
