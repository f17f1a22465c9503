# SPDX-License-Identifier: Apache-2.0
"""Scores a node while somebody else plays the bag to it, be it ``ros2 bag play --clock``."""

from __future__ import annotations

import time
from collections.abc import Callable

from policy_ros.bags import Bag, Episode, find_episodes
from policy_ros.replay.bag_replay import BagOutcome
from policy_ros.replay.trace import ReplayListener
from policy_ros.ros.replay.heard import Heard
from policy_ros.ros.replay.link import Link
from policy_ros.ros.replay.status_facts import latencies
from policy_ros.ros.replay.traces import TraceBuilder

_SETTLE_S = 0.5  # for chunks that were published before the newest status and come after it
_POLL_S = 0.02
_UNPLAYED_NS = 100_000_000  # some periods of a player's clock, which ends before the recording does


class ListeningReplay:
    """A replay that somebody else conducts; see :class:`policy_ros.replay.bag_replay.BagReplay`.

    The node tells the time with its status. It is over when the last episode is, when the clock stands still, when it
    jumps back (the player begins anew), or when somebody asks for the end: what was heard until then is scored.

    Args:
        link: this process's node.
        heard: listens to the policy node.
        bag: what is played.
        builder: makes the traces.
        start_s: longest wait for the clock to get to the first episode [s].
        idle_s: a clock that stands still for so long has ended [s].
        say: told in one line what is being waited for.

    Attributes:
        bag: as given.
    """

    def __init__(
        self,
        link: Link,
        heard: Heard,
        bag: Bag,
        builder: TraceBuilder,
        *,
        start_s: float,
        idle_s: float,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.bag = bag
        self._link = link
        self._heard = heard
        self._builder = builder
        self._start_s = start_s
        self._idle_s = idle_s
        self._say = say

    def run(self, listener: ReplayListener, progress: Callable[[float], None] | None = None) -> BagOutcome:
        """Listen until it is over; ``progress`` takes the recorded time that is done [s].

        Raises:
        """
        bag, tell = self.bag, progress or (lambda done_s: None)
        episodes = find_episodes(bag)
        problems: list[str] = []
        compute_s: list[float] = []
        if episodes:
            self._wait_for_the_start(episodes[0])
        clock = _Progress(self._heard, self._idle_s)
        told = 0
        for episode in episodes:
            self._wait_for_the_end(episode, clock, lambda now_ns: tell((now_ns - bag.start_ns) * 1e-9))
            if clock.now_ns <= episode.start_ns:
                break
            chunks, statuses = self._heard.take(episode.stop_ns)
            if clock.now_ns < episode.stop_ns - _UNPLAYED_NS:
                problems.append(f"{bag.path}: episode {episode.index}: {self._short(episode, clock.now_ns)}")
            self._builder.tell(episode, chunks, statuses, listener, until_ns=clock.now_ns)
            compute_s += latencies(statuses)
            told += 1
        if told < len(episodes):
            problems.append(f"{bag.path}: expected {len(episodes)} episodes to be played, got {told}")
        problems += [f"{bag.path}: {line}" for line in self._heard.problems()]
        return BagOutcome(bag.path, bag.start_ns, bag.end_ns, told, (*bag.problems, *problems), tuple(compute_s))

    def _wait_for_the_start(self, first: Episode) -> None:
        self._say(f"listening; play the bag: ros2 bag play {self.bag.path} --clock")
        self._link.wait_for(
            lambda: (self._heard.now_ns() or 0) >= first.start_ns,
            self._start_s,
            lambda: (
                f"somebody to play {self.bag.path} with --clock to a node with use_sim_time: "
                + ("its status never came" if self._heard.newest is None else "its clock is not within the recording")
            ),
        )

    def _wait_for_the_end(self, episode: Episode, clock: _Progress, reached: Callable[[int], None]) -> None:
        while clock.goes_on() and clock.now_ns < episode.stop_ns:
            reached(clock.now_ns)
            if self._link.stop.wait(_POLL_S):
                return
        self._link.stop.wait(_SETTLE_S)

    def _short(self, episode: Episode, now_ns: int) -> str:
        done_s, length_s = (now_ns - episode.start_ns) * 1e-9, (episode.stop_ns - episode.start_ns) * 1e-9
        return f"played up to {done_s:.2f} s of {length_s:.2f} s"


class _Progress:
    """Whether the clock that a node follows still goes on.

    Attributes:
        now_ns: how far it got.
    """

    def __init__(self, heard: Heard, idle_s: float) -> None:
        self.now_ns = 0
        self._heard = heard
        self._idle_s = idle_s
        self._moved_s = time.monotonic()
        self._jumped_back = False

    def goes_on(self) -> bool:
        """Look; False once it has stood still for too long or has jumped back."""
        newest_ns = self._heard.now_ns() or 0
        if newest_ns > self.now_ns and not self._jumped_back:
            self.now_ns, self._moved_s = newest_ns, time.monotonic()
        elif newest_ns < self.now_ns:
            self._jumped_back = True
        return not self._jumped_back and time.monotonic() - self._moved_s < self._idle_s
