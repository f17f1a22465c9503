# SPDX-License-Identifier: Apache-2.0
"""From topics to the bag: what is recorded when, and the boundaries of episodes."""

from __future__ import annotations

import threading
import time
import traceback

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message

from policy_ros.errors import ConfigurationError
from policy_ros.msg import Episode
from policy_ros.parameters.node import NodeParameters
from policy_ros.ros.clocks import LocalTime, SimulatedTime, StepFreeTime
from policy_ros.ros.convert import ns_to_stamp
from policy_ros.ros.guarded import guarded
from policy_ros.ros.qos import STATUS
from policy_ros.ros.recorder.bag import BagWriter, directory_bytes
from policy_ros.ros.recorder.definitions import Definitions
from policy_ros.ros.recorder.episode_services import offer_episode_services
from policy_ros.ros.recorder.episodes import EpisodeError, EpisodeEvent, Episodes, Event, Result
from policy_ros.ros.recorder.offers import stored
from policy_ros.ros.recorder.options import Mode, RecordOptions
from policy_ros.ros.recorder.plan import Need, TopicPlan, plan_topics
from policy_ros.ros.recorder.subscriptions import RecordedTopic, Subscriptions
from policy_ros.ros.recorder.writing import Record, WriterThread
from policy_ros.ros.topics import check_topics

EPISODE_TOPIC = "episode"
_EPISODE_TYPE = "policy_ros/msg/Episode"
_UPDATE_S = 0.2
_LATE_S = 0.5  # from the arrival of a message to its callback
_CAUGHT_UP_S, _CATCH_UP_S = 0.05, 2.0
_OPEN_NS = 2**63 - 1
_UNTIL_SIMULATED_TIME_RUNS = (
    "simulated time never came on '/clock'; start what publishes it, or set use_sim_time to false"
)


class Recorder:
    """Records what the plan names.

    Messages and services come on the executor's thread, keys on the main thread; one lock keeps the order in the bag.

    Args:
        node: subscribes, publishes episodes and offers the services.
        parameters: of the policy node.
        options: of this recording.

    Raises:
        PolicyRosError: the configuration names no topics, or impossible ones.
    """

    def __init__(self, node: Node, parameters: NodeParameters, options: RecordOptions) -> None:
        self.options = options
        self.episodes = Episodes()
        self.problems: list[str] = []
        self.failure = ""  # why what is in the bag is not all that should be
        self.finished = ""  # why the recording is over
        self.began_ns = self._ended_ns = 0
        self.writer: WriterThread | None = None
        self._node = node
        self._task = options.task or parameters.policy.prompt
        self._lock = threading.RLock()
        self._from_ns, self._until_ns = 1, 0  # what arrives in between is recorded: nothing yet
        self._last_ns = 0  # newest simulated time
        self._silent: set[str] = set()  # topics that somebody was warned of
        self._delay_s = 0.0  # from the newest message's arrival to its callback
        self._longest_delay_s, self._told_late = 0.0, False  # since the last check
        self._episode_number = -1  # of the topic in the bag
        check_topics(node, parameters)
        self._simulated = bool(node.get_parameter("use_sim_time").value)
        self._time = self._make_time()
        self.subscriptions = Subscriptions(node, self._plans(parameters), self._on_message, self.warn)
        self._episode_name = node.resolve_topic_name(EPISODE_TOPIC)
        self._publisher = None
        if options.mode is Mode.MANUAL:
            self._publisher = node.create_publisher(Episode, EPISODE_TOPIC, STATUS)
            actions = {
                "start_episode": self.start_episode,
                "stop_episode": self.stop_episode,
                "discard_episode": self.discard_episode,
            }
            offer_episode_services(node, actions)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        self._timer = node.create_timer(_UPDATE_S, guarded(node, self.subscriptions.update), clock=steady)

    def missing(self) -> list[str]:
        """What is not there yet, a line for each."""
        if self._simulated and not self._time.now_ns():
            return [_UNTIL_SIMULATED_TIME_RUNS]
        return self.subscriptions.missing()

    def begin(self) -> None:
        """Make the bag; record, or wait for the first episode.

        Raises:
            PolicyRosError: the bag cannot be made, or a message type is not installed.
        """
        topics = [topic for topic in self.subscriptions.topics.values() if topic.subscribed]
        writer = WriterThread(lambda: self._make_bag(topics), self.fail)
        for topic in topics:
            topic.measurements.expect_current_rate(time.monotonic())
            topic.measurements.lost = 0
        for line in self.subscriptions.warnings():
            self.warn(line)
        with self._lock:
            self.writer = writer
            self.began_ns = self._time.now_ns()
            if self.options.mode is Mode.CONTINUOUS:
                self._record_kept()
                self._from_ns, self._until_ns = self.began_ns, _OPEN_NS

    def _make_bag(self, topics: list[RecordedTopic]) -> BagWriter:
        options, definitions = self.options, Definitions()
        described = [(topic, definitions.of(topic.type)) for topic in topics]
        episode = definitions.of(_EPISODE_TYPE)
        bag = BagWriter(
            options.out, storage=options.storage, compression=options.compression, split_bytes=options.split_bytes
        )
        for topic, definition in described:
            topic.number = bag.add_topic(topic.name, topic.type, definition, topic.offered)
            if topic.name == self._episode_name:
                self._episode_number = topic.number
        if self._episode_number < 0 and options.mode is Mode.MANUAL:
            self._episode_number = bag.add_topic(self._episode_name, _EPISODE_TYPE, episode, [stored(STATUS)])
        return bag

    def end(self, reason: str) -> None:
        """Record nothing any more, and finish the bag. An episode that was begun here and still runs ends with it."""
        with self._lock:
            self.finished = self.finished or reason
            if self.writer is not None and self.episodes.running is not None:
                self._end_running_episode()
            self._ended_ns = self._time.now_ns()
            self._until_ns = min(self._until_ns, self._ended_ns)
        self._catch_up()
        with self._lock:
            self._until_ns = 0
        if self.writer is not None:
            self.writer.close()
            self.failure = self.failure or self.writer.failure
            self._tell_of_losses()

    def check(self) -> None:
        """To be called now and then: warns of streams that have stopped, and when this process cannot keep up."""
        late_s, self._longest_delay_s = self._longest_delay_s, 0.0
        if late_s > _LATE_S and not self._told_late:
            self.warn(
                f"messages wait {late_s:.1f} s until they are recorded, and are lost when it gets worse: "
                "this machine is too busy"
            )
        self._told_late = late_s > _LATE_S
        self._check_silence()

    def _check_silence(self) -> None:
        now_s = time.monotonic()
        for topic in self.subscriptions.topics.values():
            silent_s = topic.measurements.silent_s(now_s) if topic.plan.need is Need.MESSAGES else 0.0
            if silent_s and topic.name not in self._silent:
                self.warn(f"'{topic.name}': silent, nothing came for {silent_s:.1f} s")
                self._silent.add(topic.name)
            elif not silent_s:
                self._silent.discard(topic.name)

    @property
    def duration_s(self) -> float:
        """From the beginning to now or the end, in ROS time [s]."""
        return ((self._ended_ns or self._time.now_ns()) - self.began_ns) / 1e9 if self.began_ns else 0.0

    @property
    def size_bytes(self) -> int:
        """Of the bag so far."""
        return directory_bytes(self.options.out)

    def warn(self, text: str) -> None:
        """Tell, and remember for the summary."""
        self.problems.append(text)
        self._node.get_logger().warning(text)

    def fail(self, reason: str) -> None:
        """End the recording: what is in the bag is not all that should be."""
        self.failure = self.failure or reason
        self.finished = self.finished or "a failure"
        self._until_ns = 0

    # -- episodes, decided here ----------------------------------------------------------------------------------------

    def start_episode(self) -> str:
        """Begin an episode; raises EpisodeError if that is not possible."""
        with self._lock:
            self._require_begun()
            self._announce(self.episodes.start(self._task))
        return f"episode {self.episodes.running} started"

    def stop_episode(self, result: Result = Result.UNKNOWN) -> str:
        """End the running episode; raises EpisodeError if there is none."""
        with self._lock:
            self._require_begun()
            event = self.episodes.stop(self._task, result)
            self._announce(event)
        return f"episode {event.index} ended: {result.name.lower()}"

    def discard_episode(self) -> str:
        """Discard the running episode, or the last one; raises EpisodeError if there is none."""
        with self._lock:
            self._require_begun()
            event = self.episodes.discard(self._task)
            self._announce(event)
        return f"episode {event.index} discarded"

    def _catch_up(self) -> None:
        """Let the callbacks of what arrived before the end have their turn; a bounded time."""
        deadline_s = time.monotonic() + _CATCH_UP_S
        while self._delay_s > _CAUGHT_UP_S and not self.failure and time.monotonic() < deadline_s:
            time.sleep(_CAUGHT_UP_S)

    def _end_running_episode(self) -> None:
        if self._publisher is not None:
            self.warn(f"episode {self.episodes.running} was running at the end; it ends there, its result is unknown")
            self._announce(self.episodes.stop(self._task))
        elif self.options.mode is Mode.FOLLOW:
            self.warn(f"episode {self.episodes.running} had not ended; it lasts to the end of the bag")

    def _tell_of_losses(self) -> None:
        for topic in self.subscriptions.topics.values():
            if topic.measurements.lost:
                self.warn(
                    f"'{topic.name}': {topic.measurements.lost} messages were lost on their way here; "
                    "start the publisher with the middleware profile too, or make this machine less busy"
                )

    def _require_begun(self) -> None:
        if self.writer is None or self.finished:
            raise EpisodeError("nothing is recorded " + ("any more" if self.finished else "yet: topics are missing"))

    def _announce(self, event: EpisodeEvent) -> None:
        log_ns = self._time.now_ns()
        message = Episode(index=event.index, event=int(event.event), result=int(event.result), task=event.task)
        message.header.stamp = ns_to_stamp(self._time.to_ros(log_ns))
        self._publisher.publish(message)
        self._record_boundary(event, log_ns, serialize_message(message))

    # -- messages ------------------------------------------------------------------------------------------------------

    def _on_message(self, topic: RecordedTopic, data: bytes, received_ns: int) -> None:
        try:
            topic.measurements.arrived(time.monotonic(), len(data))
            topic.inspection.look(topic.type, data)
            with self._lock:
                self._take(topic, data, received_ns)
        except Exception:  # whatever was not recorded now would be missing unnoticed
            self.fail(f"'{topic.name}': a message could not be recorded:\n{traceback.format_exc()}")

    def _take(self, topic: RecordedTopic, data: bytes, received_ns: int) -> None:
        topic.newest_ns = log_ns = max(topic.newest_ns, self._arrival_ns(received_ns))
        if topic.name == self._episode_name:
            self._on_episode(log_ns, data)
        elif self._from_ns <= log_ns <= self._until_ns:
            self._record(topic, log_ns, data)
        elif topic.plan.keep_last:
            topic.last = (log_ns, data)

    def _on_episode(self, log_ns: int, data: bytes) -> None:
        if self.writer is None or self.finished:
            return
        message = deserialize_message(data, Episode)
        event = EpisodeEvent(message.index, Event(message.event), Result(message.result), message.task)
        if self.episodes.follow(event):
            self._record_boundary(event, log_ns, data)

    def _record_boundary(self, event: EpisodeEvent, log_ns: int, data: bytes) -> None:
        """Boundaries lie around all messages of their episode, and are recorded whatever waits to be written."""
        if event.event is Event.STARTED:
            self._record_kept()
        self.writer.put(Record(self._episode_number, log_ns, data), always=True)
        if self.options.mode is not Mode.CONTINUOUS:
            if event.event is Event.STARTED:
                self._from_ns, self._until_ns = log_ns, _OPEN_NS
                for topic in self.subscriptions.topics.values():
                    topic.measurements.begin_episode()
            else:
                self._until_ns = min(self._until_ns, log_ns)
        if self.options.episodes and self.episodes.kept >= self.options.episodes:
            self.finished = f"{self.episodes.kept} episodes"

    def _record_kept(self) -> None:
        """What was said before and still holds: the description of the robot, the newest commands."""
        kept = [topic for topic in self.subscriptions.topics.values() if topic.last is not None and topic.number >= 0]
        for topic in sorted(kept, key=lambda topic: topic.last[0]):
            # The beginning of the bag is the earliest there is.
            self._record(topic, max(topic.last[0], self.began_ns), topic.last[1])
            topic.last = None
            topic.measurements.begin_episode()

    def _record(self, topic: RecordedTopic, log_ns: int, data: bytes) -> None:
        if topic.number >= 0 and self.writer.put(Record(topic.number, log_ns, data)):
            topic.measurements.record(log_ns, len(data))

    # -- time ----------------------------------------------------------------------------------------------------------

    def _make_time(self) -> LocalTime:
        node = self._node
        if self._simulated:
            return SimulatedTime(node)
        return StepFreeTime(
            lambda: node.get_clock().now().nanoseconds,
            on_step=lambda step_s: self.warn(
                f"the wall clock was set by {step_s:+.3f} s: times in the bag go on without the step, "
                "stamps of messages have it"
            ),
        )

    def _arrival_ns(self, received_ns: int) -> int:
        """Log time of a message: when it arrived, however late its callback comes; simulated time is known only now.

        Args:
            received_ns: when the middleware received it, in system time.
        """
        now_ns = self._time.now_ns()
        if self._simulated:
            if now_ns < self._last_ns and self.writer is not None:
                self.fail(
                    f"simulated time went back by {(self._last_ns - now_ns) / 1e9:.3f} s; "
                    "a bag goes forward only: record every run into one of its own"
                )
            self._last_ns = max(now_ns, self._last_ns)
            return self._last_ns
        if not received_ns:  # a middleware that does not tell
            return now_ns
        arrival_ns = min(now_ns, self._time.to_local(received_ns))
        self._delay_s = (now_ns - arrival_ns) / 1e9
        self._longest_delay_s = max(self._longest_delay_s, self._delay_s)
        return arrival_ns

    # -- the rest ------------------------------------------------------------------------------------------------------

    def _plans(self, parameters: NodeParameters) -> list[TopicPlan]:
        options = self.options
        plans = [*plan_topics(parameters, action_topic=options.action_topic, extra_topics=options.extra_topics)]
        if options.mode is Mode.MANUAL:
            if EPISODE_TOPIC in [topic.strip("/") for topic in options.extra_topics]:
                raise ConfigurationError(f"--extra-topic {EPISODE_TOPIC}: recorded anyway; leave it out")
        else:
            need = Need.PUBLISHER if options.mode is Mode.FOLLOW else Need.NOTHING
            plans.append(TopicPlan("episode", EPISODE_TOPIC, _EPISODE_TYPE, need))
        return plans
