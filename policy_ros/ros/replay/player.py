# SPDX-License-Identifier: Apache-2.0
"""Publishes a recording with its clock: late is slower, never lossy."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence

from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from policy_ros.bags import Bag, BagMessage
from policy_ros.ros.convert import ns_to_stamp
from policy_ros.ros.qos import LATCHED
from policy_ros.ros.recorder.definitions import message_class
from policy_ros.ros.replay.link import Link, ThroughRosError
from policy_ros.ros.replay.played_topics import PlayedTopic, check_playable

CLOCK_TOPIC = "/clock"
CLOCK_STEP_S = 0.005
_DEPTH = 10
_LATE_S = 0.01  # made up for; more is forgiven, since making up for it would be a burst
_WINDOW_NS = 100_000_000  # how far the clock may be ahead of what the node has taken note of
_SAY_AGAIN_S = 0.1
_STANDSTILL_S = 60.0


class PlayedClock:
    """``/clock``, from the first moment of a recording on.

    Attributes:
        now_ns: what it says; 0 before the first.
        publisher: of the topic.
    """

    def __init__(self, link: Link) -> None:
        self.now_ns = 0
        self.publisher = link.node.create_publisher(Clock, CLOCK_TOPIC, _DEPTH)

    def set(self, now_ns: int) -> None:
        """Let it be this time."""
        self.now_ns = now_ns
        self.repeat()

    def repeat(self) -> None:
        """Say the time again, for somebody who has just come or has missed it: it is published best effort."""
        self.publisher.publish(Clock(clock=ns_to_stamp(self.now_ns)))


class Player:
    """Plays parts of a bag, one after the other, at a factor of real time.

    The clock goes on in equal steps. What was recorded during a step is published when the clock has got there, so
    that no message comes from the future and each is at most a step older than it was for the recorder. The node
    tells with its status what time it has: while it lags by more than 0.1 s the clock stands still. Where this
    process is late itself, everything becomes later.

    Args:
        link: publishes.
        clock: what it publishes the time with.
        bag: where the messages come from.
        topics: what to play.
        commands: topics that command a robot; playing one is refused.
        rate: seconds of the recording per second.
        heard_ns: the newest time that the node has told of, None before the first; without it nobody is waited for.

    Attributes:
        played: messages published so far, by topic of the bag.

    Raises:
        ConfigurationError: a topic that must not be played.
    """

    def __init__(
        self,
        link: Link,
        clock: PlayedClock,
        bag: Bag,
        topics: Sequence[PlayedTopic],
        *,
        commands: Collection[str] = (),
        rate: float = 1.0,
        heard_ns: Callable[[], int | None] | None = None,
    ) -> None:
        check_playable(topics, commands)
        self.played: dict[str, int] = {topic.recorded: 0 for topic in topics}
        self._link = link
        self._bag = bag
        self._rate = rate
        self._heard_ns = heard_ns
        self._step_ns = round(CLOCK_STEP_S * 1e9)
        self._clock = clock
        self._publishers: dict[str, Publisher] = {}
        for topic in topics:
            qos = LATCHED if topic.latched else QoSProfile(depth=_DEPTH)
            self._publishers[topic.recorded] = link.node.create_publisher(message_class(topic.type), topic.name, qos)
        self._latched = tuple(topic.recorded for topic in topics if topic.latched)
        self._streams = tuple(topic.recorded for topic in topics if not topic.latched)
        self._messages: Iterator[BagMessage] = iter(())
        self._next: BagMessage | None = None
        self._unseen: set[str] = set()
        self._stop_ns = 0
        self._due_s = 0.0

    def wait_for_listeners(self, timeout_s: float) -> None:
        """Until somebody listens to every topic and to the clock; raises ThroughRosError if nobody does in time."""
        publishers = [self._clock.publisher, *self._publishers.values()]

        def unheard() -> list[str]:
            return [each.topic_name for each in publishers if each.get_subscription_count() == 0]

        self._link.wait_for(lambda: not unheard(), timeout_s, lambda: f"somebody who listens to {', '.join(unheard())}")

    def others(self) -> list[str]:
        """Who else publishes what is to be played: names of nodes and topics."""
        found = []
        own = self._link.node.get_fully_qualified_name()
        for publisher in (self._clock.publisher, *self._publishers.values()):
            for info in self._link.node.get_publishers_info_by_topic(publisher.topic_name):
                name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
                if name != own:
                    found.append(f"{name} on '{publisher.topic_name}'")
        return found

    def cue(self, start_ns: int, stop_ns: int) -> None:
        """Set the clock to where a part begins, and say what holds there.

        Raises:
            ThroughRosError: that is before the time the clock has.
        """
        if start_ns < self._clock.now_ns:
            raise ThroughRosError(
                f"{self._bag.path}: expected parts in the order of time, got one that begins "
                f"{(self._clock.now_ns - start_ns) * 1e-9:.3f} s before the end of the one before"
            )
        self._messages = self._bag.messages(self._streams, start_ns=start_ns, stop_ns=stop_ns)
        self._next = next(self._messages, None)
        self._stop_ns = stop_ns
        self._unseen = set(self._streams)
        self._publish_latched(start_ns)
        self._clock.set(start_ns)
        self._due_s = time.monotonic()

    @property
    def all_seen(self) -> bool:
        """Whether every topic of this part has been published at least once."""
        return not self._unseen

    def step(self) -> bool:
        """Play the next step, at its time; False when the part is over.

        Raises:
            ThroughRosError: the node stands still, or there is no point in going on.
        """
        self._link.raise_if_over()
        if self._clock.now_ns >= self._stop_ns:
            return False
        self._pace()
        self._clock.set(min(self._clock.now_ns + self._step_ns, self._stop_ns))
        while self._next is not None and self._next.log_ns <= self._clock.now_ns:
            self._publish(self._next)
            self._next = next(self._messages, None)
        self._wait_for_the_node()
        return True

    def _pace(self) -> None:
        now_s = time.monotonic()
        self._due_s = max(self._due_s + self._step_ns * 1e-9 / self._rate, now_s - _LATE_S)
        if self._due_s > now_s:
            self._link.stop.wait(self._due_s - now_s)

    def _wait_for_the_node(self) -> None:
        if self._heard_ns is None or self._lag_ns() <= _WINDOW_NS:
            return
        begun_s = said_s = time.monotonic()
        while self._lag_ns() > _WINDOW_NS:
            self._link.raise_if_over()
            now_s = time.monotonic()
            if now_s - begun_s > _STANDSTILL_S:
                raise ThroughRosError(
                    f"the node has not gone on for {_STANDSTILL_S:g} s: its status is {self._lag_ns() * 1e-9:.3f} s "
                    f"behind '{CLOCK_TOPIC}'; does it run with use_sim_time?"
                )
            if now_s - said_s > _SAY_AGAIN_S:
                self._clock.repeat()
                said_s = now_s
            self._link.stop.wait(0.001)

    def _lag_ns(self) -> int:
        heard_ns = self._heard_ns() if self._heard_ns is not None else None
        return self._clock.now_ns - (heard_ns or 0)

    def _publish(self, message: BagMessage) -> None:
        self._publishers[message.topic].publish(bytes(message.data))
        self.played[message.topic] += 1
        self._unseen.discard(message.topic)

    def _publish_latched(self, start_ns: int) -> None:
        """The newest message before the part, or where there is none the first of all."""
        for topic in self._latched:
            newest: BagMessage | None = None
            for message in self._bag.messages([topic]):
                if newest is not None and message.log_ns > start_ns:
                    break
                newest = message
            if newest is not None:
                self._publish(newest)
