# SPDX-License-Identifier: Apache-2.0
"""Plays a bag to a policy node episode by episode: sets it up, activates it on each, lets it rest in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from policy_ros.bags import Bag, Episode
from policy_ros.execution import HoldCause
from policy_ros.ros.replay.heard import Heard
from policy_ros.ros.replay.link import Link, ThroughRosError
from policy_ros.ros.replay.node_control import NodeControl
from policy_ros.ros.replay.played_topics import PlayedTopic, topics_to_play
from policy_ros.ros.replay.player import CLOCK_TOPIC, PlayedClock, Player

START_S = 120.0  # of a process, on a busy machine
CONFIGURE_S = 600.0  # a large checkpoint
_TOPICS_S = 30.0  # to find one another
_ACTIVATION_STEP_S = 0.25  # the clock goes on while the node waits for a stream that begins later
_END_S = 30.0  # until the node has told of the end of an episode


@dataclass(frozen=True)
class Played:
    """What happened while an episode was played.

    Attributes:
        resets: latched holds that were ended.
        problems: one line each.
    """

    resets: int = 0
    problems: tuple[str, ...] = ()


class Conductor:
    """Drives one node through the episodes of one bag.

    Args:
        link: this process's node.
        heard: listens to the policy node.
        bag: what is played.
        node_name: full name of the policy node.
        namespace: of the policy node.
        commands: topics that command a robot, never played.
        rate: seconds of the recording per second.
        reset_after_s: latched holds are reset after so long; None: never [s].
        prompt: task text for every episode; empty: each one's own.
        say: told in one line what is being waited for.
        why: what the node's log says is wrong, to be put behind a message.
    """

    def __init__(
        self,
        link: Link,
        heard: Heard,
        bag: Bag,
        *,
        node_name: str,
        namespace: str = "/",
        commands: Sequence[str] = (),
        rate: float = 1.0,
        reset_after_s: float | None = None,
        prompt: str = "",
        say: Callable[[str], None] = lambda text: None,
        why: Callable[[], str] = lambda: "",
    ) -> None:
        self._link = link
        self._heard = heard
        self._bag = bag
        self._namespace = namespace
        self._commands = tuple(commands)
        self._rate = rate
        self._reset_after_s = reset_after_s
        self._prompt = prompt
        self._say = say
        self._why = why
        self._clock = PlayedClock(link)
        self._node = NodeControl(link, node_name)
        self._parameters = link.node.create_client(SetParameters, f"{node_name}/set_parameters")
        self._player: Player | None = None
        self._task = prompt

    def prepare(self, start_ns: int) -> None:
        """Wait for the node, configure it, and find its topics in the bag.

        Args:
            start_ns: what the clock says meanwhile.

        Raises:
            ThroughRosError: the node does not come, refuses, or somebody else publishes what is to be played.
            BagError: the bag lacks a topic.
            ConfigurationError: a topic that must not be played.
        """
        self._clock.set(start_ns)
        name, link = self._node.name, self._link
        self._say(f"waiting for {name}")
        link.wait_for(lambda: self._node.found, START_S, lambda: f"node {name}: its services were not found")
        link.wait_for(lambda: self._heard.connected, _TOPICS_S, lambda: f"{name}/action_chunk and {name}/status")
        link.wait_for(
            lambda: self._clock.publisher.get_subscription_count() > 0,
            _TOPICS_S,
            lambda: f"{name} to listen to '{CLOCK_TOPIC}'; does it run with use_sim_time?",
        )
        self._clock.repeat()  # so that the node knows the time before it begins to watch for jumps
        state = self._node.state()
        if state == "unconfigured":
            self._say(f"configuring {name}")
            self._transition("configure", CONFIGURE_S)
        elif state != "inactive":
            raise ThroughRosError(
                f"expected {name} unconfigured or inactive, it is '{state}'; start it without autostart"
            )
        topics = self._subscribed_topics()
        self._player = Player(
            link, self._clock, self._bag, topics, commands=self._commands, rate=self._rate, heard_ns=self._heard.now_ns
        )
        self._player.wait_for_listeners(_TOPICS_S)
        others = self._player.others()
        if others:
            raise ThroughRosError(
                f"expected nobody else to publish what is played, got {', '.join(others)}; stop it, or use a "
                "ROS_DOMAIN_ID of its own"
            )
        self._wait_for_the_clock(start_ns)

    def play(self, episode: Episode, reached: Callable[[int], None]) -> Played:
        """Play an episode to an active node.

        Args:
            episode: begins after the one before has ended.
            reached: called with the time of the clock now and then [ns].
        """
        player = self._player
        assert player is not None  # prepared
        player.cue(episode.start_ns, episode.stop_ns)
        self._wait_for_the_clock(episode.start_ns)
        self._set_task(self._prompt or episode.task)
        if not self._activate(player):
            return Played(problems=(f"episode {episode.index}: the node refused to activate{self._why()}",))
        resets = _Resets(self._reset_after_s, self._heard, self._node)
        while player.step():
            resets.look()
            reached(self._clock.now_ns)
        self._wait_for_the_clock(episode.stop_ns)
        self._transition("deactivate")
        return Played(resets.count)

    def _activate(self, player: Player) -> bool:
        """Play on until every stream is there; the clock stands still while the node takes note of it."""
        answer = self._node.begin("activate")
        self._link.wait_for(
            lambda: answer.done() or self._node.state() == "activating", _TOPICS_S, lambda: "the node to activate"
        )
        stepped_s = time.monotonic()
        while not answer.done():
            if not player.all_seen or time.monotonic() - stepped_s > _ACTIVATION_STEP_S:
                if not player.step():
                    break
                stepped_s = time.monotonic()
            else:
                self._link.raise_if_over()
                self._link.stop.wait(0.002)
        # The part is over and the node still waits for a stream: it gives up by itself, within a bound.
        self._link.wait_for(answer.done, START_S, lambda: f"an answer of {self._node.name} to being activated")
        return bool(answer.result().success)

    def _transition(self, name: str, timeout_s: float = 60.0) -> None:
        try:
            self._node.transition(name, timeout_s)
        except ThroughRosError as error:
            raise type(error)(f"{error}{self._why()}") from None

    def _set_task(self, text: str) -> None:
        if text == self._task:
            return
        request = SetParameters.Request(parameters=[Parameter("policy.prompt", value=text).to_parameter_msg()])
        answer = self._parameters.call_async(request)
        self._link.wait_for(answer.done, _TOPICS_S, lambda: f"{self._node.name}/set_parameters")
        result = answer.result().results[0]
        if not result.successful:
            raise ThroughRosError(f"{self._node.name} refused policy.prompt: {result.reason}")
        self._task = text

    def _subscribed_topics(self) -> tuple[PlayedTopic, ...]:
        namespace, _, name = self._node.name.rpartition("/")
        found = self._link.node.get_subscriber_names_and_types_by_node(name, namespace or "/")
        own = (CLOCK_TOPIC, "/parameter_events")
        subscribed = {
            topic: types for topic, types in found if topic not in own and not topic.startswith(f"{self._node.name}/")
        }
        return topics_to_play(self._bag, subscribed, namespace=self._namespace, commands=self._commands)

    def _wait_for_the_clock(self, time_ns: int) -> None:
        """Until the node's status carries this time: it follows the clock."""
        said_s = time.monotonic()

        def there() -> bool:
            nonlocal said_s
            if (self._heard.now_ns() or 0) >= time_ns:
                return True
            if time.monotonic() - said_s > 0.1:
                self._clock.repeat()
                said_s = time.monotonic()
            return False

        self._link.wait_for(
            there, _END_S, lambda: f"{self._node.name} to follow '{CLOCK_TOPIC}'; does it run with use_sim_time?"
        )


class _Resets:
    """Ends latched holds after a while, as an operator would.

    Attributes:
        count: how many.
    """

    def __init__(self, after_s: float | None, heard: Heard, node: NodeControl) -> None:
        self.count = 0
        self._after_s = after_s
        self._heard = heard
        self._node = node
        self._cause = ""
        self._since_ns = 0

    def look(self) -> None:
        """Reset if it is time to."""
        status = self._heard.newest
        if self._after_s is None or status is None:
            return
        if status.hold_cause != self._cause:
            self._cause, self._since_ns = status.hold_cause, status.stamp_ns
        if not self._cause or not HoldCause[self._cause].latched:
            return
        if (status.stamp_ns - self._since_ns) * 1e-9 >= self._after_s:
            self._node.reset()
            self.count += 1
            self._since_ns = status.stamp_ns
