# SPDX-License-Identifier: Apache-2.0
"""One way through an episode of a bag, with stops at chosen moments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from policy_ros.bags import Bag, BagMessage, Episode


class BagPass:
    """At each stop everything recorded up to that moment was fed, and nothing that was recorded later.

    Args:
        bag: where the messages come from.
        episode: the part to read; stops outside of it are left out.
    """

    def __init__(self, bag: Bag, episode: Episode) -> None:
        self._bag = bag
        self._episode = episode
        self._stops: list[tuple[int, Callable[[], None]]] = []

    def at(self, t_ns: int, look: Callable[[], None]) -> None:
        """Look at a moment."""
        self._stops.append((t_ns, look))

    def run(self, topics: Collection[str], feed: Callable[[BagMessage], object]) -> None:
        """Read the topics, feed their messages, and look wherever it was asked for."""
        for _ in self.steps(topics, feed):
            pass

    def steps(self, topics: Collection[str], feed: Callable[[BagMessage], object]) -> Iterator[None]:
        """As :meth:`run`, with a chance to do something after every look."""
        start_ns, stop_ns = self._episode.start_ns, self._episode.stop_ns
        stops = sorted((stop for stop in self._stops if start_ns <= stop[0] < stop_ns), key=lambda stop: stop[0])
        position = 0
        for message in self._bag.messages(topics, start_ns=start_ns, stop_ns=stop_ns):
            while position < len(stops) and stops[position][0] < message.log_ns:
                stops[position][1]()
                position += 1
                yield
            feed(message)
        for _, look in stops[position:]:
            look()
            yield
