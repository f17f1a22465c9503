# SPDX-License-Identifier: Apache-2.0
"""A policy on all episodes of one bag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from policy_ros.bags import Bag, BagError, Episode, find_episodes, open_bag
from policy_ros.policies.base import Policy
from policy_ros.replay.cursor import MessageCursor
from policy_ros.replay.episode_replay import EpisodeReplay
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.parts import ReplayParts
from policy_ros.replay.trace import ReplayListener

_TELL_EVERY_NS = 1_000_000_000  # of recorded time


@dataclass(frozen=True)
class BagOutcome:
    """What became of a bag.

    Attributes:
        path: the bag.
        start_ns, end_ns: log times of its first and last message [ns].
        episodes: how many were replayed.
        problems: what could not be evaluated, or is suspicious, one line each; empty for a bag that is whole.
        compute_s: what each inference took here, in real time [s].
    """

    path: Path
    start_ns: int
    end_ns: int
    episodes: int
    problems: tuple[str, ...] = ()
    compute_s: tuple[float, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether something could not be evaluated."""
        return bool(self.problems)


class BagReplay:
    """Replays a bag from its begin to its end, in one pass.

    Args:
        path: a rosbag2 directory, or one file of it.
        policy: loaded, warmed up and frozen; used by one replay at a time.
        options: how.

    Attributes:
        bag: opened.
        episodes: of the bag, in the order of time.
        topics: all that are needed.

    Raises:
        BagError: nothing of the bag can be read, it has no messages, or it lacks a topic that observations are made of.
        ConfigurationError: parameters that do not fit the policy or each other.
    """

    def __init__(self, path: str | Path, policy: Policy, options: ReplayOptions) -> None:
        self.bag: Bag = open_bag(path)
        if not any(topic.count for topic in self.bag.topics.values()):
            raise BagError(f"{self.bag.path}: expected messages, got none; nothing can be replayed")
        self._parts = ReplayParts(self.bag, policy, options)
        self.episodes: list[Episode] = find_episodes(self.bag)
        self.topics = self._parts.topics

    def run(self, listener: ReplayListener, progress: Callable[[float], None] | None = None) -> BagOutcome:
        """All episodes, one after the other.

        Args:
            listener: is told what happens.
            progress: called with the recorded time that is done, now and then [s].
        """
        bag = self.bag
        problems: list[str] = []
        compute_s: list[float] = []
        cursor = MessageCursor(bag.messages(self.topics))
        telling = _Telling(bag.start_ns, progress)
        for episode in self.episodes:
            for _ in cursor.before(episode.start_ns):
                pass  # between episodes
            replay = EpisodeReplay(episode, self._parts, cursor, listener, telling.reached)
            trace = replay.run()
            problems += [f"{bag.path}: {line}" for line in trace.problems]
            compute_s += replay.compute_s
            listener.episode(trace)
            telling.tell(min(episode.stop_ns, bag.end_ns))
        telling.tell(bag.end_ns)
        if not self.episodes:
            problems.append(f"{bag.path}: expected an episode, got none but discarded ones; nothing was replayed")
        return BagOutcome(
            path=bag.path,
            start_ns=bag.start_ns,
            end_ns=bag.end_ns,
            episodes=len(self.episodes),
            problems=(*bag.problems, *problems),
            compute_s=tuple(compute_s),
        )


class _Telling:
    """Progress in recorded time, not more often than anybody wants to know."""

    def __init__(self, start_ns: int, progress: Callable[[float], None] | None) -> None:
        self._start_ns = start_ns
        self._progress = progress
        self._told_ns = start_ns

    def reached(self, time_ns: int) -> None:
        if time_ns - self._told_ns >= _TELL_EVERY_NS:
            self.tell(time_ns)

    def tell(self, time_ns: int) -> None:
        self._told_ns = time_ns
        if self._progress is not None:
            self._progress((time_ns - self._start_ns) * 1e-9)
