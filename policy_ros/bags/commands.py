# SPDX-License-Identifier: Apache-2.0
"""Recorded commands as the setpoints that the robot's controllers made of them: what a policy learns to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policy_ros.bags import cdr
from policy_ros.bags.bag import Bag
from policy_ros.bags.errors import MalformedMessage
from policy_ros.bags.inputs import FLOAT64_MULTI_ARRAY, JOINT_STATE
from policy_ros.bags.storage import BagMessage
from policy_ros.bags.topics import require_topic
from policy_ros.controllers import (
    CommandRefused,
    JointTrajectoryFollower,
    PositionForwarder,
    Trajectory,
)
from policy_ros.parameters.build import check_outputs
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.topics import absolute_topic

JOINT_TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
COMMAND_TYPES = {"joint_trajectory": JOINT_TRAJECTORY, "position_array": FLOAT64_MULTI_ARRAY}
_SOON_NS = 100_000_000  # a joint state that comes so soon after a trajectory still says where it started

Vector = NDArray[np.float64]


class _Track(ABC):
    """The commands of one topic, for some columns of the action."""

    def __init__(self, joints: Sequence[str], columns: Sequence[int]) -> None:
        self.joints = tuple(joints)
        self.columns = list(columns)

    @abstractmethod
    def command(self, message: BagMessage) -> None:
        """Take over a message; raises CommandRefused or MalformedMessage, and then keeps the command before."""

    @abstractmethod
    def setpoint(self, t_ns: int) -> Vector | None:
        """Of the joints, ``(J,)``; None before all of them were commanded."""

    @abstractmethod
    def clear(self) -> None:
        """Forget all commands."""


class _PositionTrack(_Track):
    """``std_msgs/Float64MultiArray`` to a forward position controller: the newest command holds."""

    def __init__(self, joints: Sequence[str], columns: Sequence[int]) -> None:
        super().__init__(joints, columns)
        self._reader = cdr.ArrayReader()
        self.clear()

    def clear(self) -> None:
        self._commanded = False
        self._forwarder = PositionForwarder(self.joints, np.full(len(self.joints), np.nan))

    def command(self, message: BagMessage) -> None:
        self._forwarder.accept(self._reader.read(message.data))
        self._commanded = True

    def setpoint(self, t_ns: int) -> Vector | None:
        return self._forwarder.sample(t_ns)[0] if self._commanded else None


class _TrajectoryTrack(_Track):
    """``trajectory_msgs/JointTrajectory`` to a trajectory controller, which starts where the joints are."""

    def __init__(self, joints: Sequence[str], columns: Sequence[int]) -> None:
        super().__init__(joints, columns)
        self._reader = cdr.JointTrajectoryReader()
        self.clear()

    def clear(self) -> None:
        self._measured: dict[str, float] = {}
        self._follower: JointTrajectoryFollower | None = None
        self._first: tuple[Trajectory, int] | None = None  # waits to be told where the joints are

    def measured(self, names: Sequence[str], positions: Sequence[float], log_ns: int) -> None:
        """Where joints are; the first trajectory starts there, be it that it was recorded a moment before.

        Raises CommandRefused if it was recorded too long before, and then forgets it.
        """
        self._measured.update((name, p) for name, p in zip(names, positions, strict=False) if name in self.joints)
        if self._first is None or self._missing():
            return
        trajectory, first_ns = self._first
        self._first = None
        if log_ns - first_ns > _SOON_NS:
            raise _no_start(self.joints)
        self._start(trajectory, first_ns)

    @property
    def begun(self) -> bool:
        """Whether there was a trajectory."""
        return self._follower is not None

    def command(self, message: BagMessage) -> None:
        trajectory = self._reader.read(message.data)
        if self._follower is not None:
            self._follower.accept(trajectory, message.log_ns)
            return
        missing = self._missing()
        if not missing:
            self._start(trajectory, message.log_ns)
            return
        before, self._first = self._first, (trajectory, message.log_ns)
        if before is not None:
            raise _no_start(missing)

    def _missing(self) -> list[str]:
        return [joint for joint in self.joints if joint not in self._measured]

    def _start(self, trajectory: Trajectory, log_ns: int) -> None:
        follower = JointTrajectoryFollower(self.joints, np.array([self._measured[joint] for joint in self.joints]))
        follower.accept(trajectory, log_ns)
        self._follower = follower

    def setpoint(self, t_ns: int) -> Vector | None:
        return None if self._follower is None else self._follower.sample(t_ns)[0]


class _JointStateTrack(_Track):
    """``sensor_msgs/JointState`` of a leader arm: the newest position of every joint, by name."""

    def __init__(self, joints: Sequence[str], columns: Sequence[int]) -> None:
        super().__init__(joints, columns)
        self._index = {joint: i for i, joint in enumerate(joints)}
        self._reader = cdr.JointStateReader()
        self.clear()

    def clear(self) -> None:
        self._positions = np.full(len(self.joints), np.nan)

    def command(self, message: BagMessage) -> None:
        _, names, positions = self._reader.read(message.data)
        if len(names) != len(positions) or len(set(names)) != len(names):
            raise CommandRefused(
                f"joint state: expected one position for each of {len(names)} different joints, got {len(positions)}"
            )
        known = {self._index[name]: p for name, p in zip(names, positions, strict=True) if name in self._index}
        if not known:
            raise CommandRefused(
                f"joint state: expected some of {', '.join(self.joints)}, got {', '.join(names) or 'none'}"
            )
        values = np.array(list(known.values()))
        if not np.all(np.isfinite(values)):
            raise CommandRefused(
                f"joint state: expected finite positions, got {dict(zip(names, positions, strict=True))}"
            )
        self._positions[list(known)] = values

    def setpoint(self, t_ns: int) -> Vector | None:
        return None if np.isnan(self._positions).any() else self._positions


class CommandTracks:
    """The setpoint of all joints at any moment, from the commands fed so far.

    A trajectory is followed as ros2_controllers do, from the moment it was recorded; its header stamp says when it
    starts. A position command holds until the next. A command that a controller refuses changes nothing and becomes a
    problem of the bag.

    Args:
        parameters: the node's: joints and outputs.
        bag: where the messages come from.
        namespace: the node's, for relative topics.
        action_topic: take positions from this JointState topic instead (a leader arm), by joint name.

    Attributes:
        topics: all that are needed, absolute; with trajectories also the joint states, where the first one starts.

    Raises:
        BagError: the bag lacks a topic, or has it with another type.
        ConfigurationError: the outputs leave out a joint or command one twice.
    """

    def __init__(
        self, parameters: NodeParameters, bag: Bag, *, namespace: str = "/", action_topic: str | None = None
    ) -> None:
        self._bag = bag
        self._names = parameters.joints.names
        self._tracks: dict[str, list[_Track]] = {}
        self._trajectories: list[tuple[str, _TrajectoryTrack]] = []
        self._measured_topic: str | None = None
        self._joint_states = cdr.JointStateReader()
        if action_topic is not None:
            topic = absolute_topic(action_topic, namespace)
            require_topic(bag, topic, JOINT_STATE, "the action topic")
            self._tracks[topic] = [_JointStateTrack(self._names, range(len(self._names)))]
        else:
            check_outputs(parameters)
            self._add_outputs(parameters, namespace)
        needed = {*self._tracks, *([self._measured_topic] if self._measured_topic else [])}
        self.topics: tuple[str, ...] = tuple(sorted(needed))

    def feed(self, message: BagMessage) -> None:
        """Take over a command; other topics' messages are ignored."""
        if message.topic == self._measured_topic:
            self._measure(message)
        for track in self._tracks.get(message.topic, ()):
            try:
                track.command(message)
            except (CommandRefused, MalformedMessage) as error:
                self._left_out(message.topic, error)

    def setpoint(self, t_ns: int) -> Vector | None:
        """Where the joints were told to be at a moment, ``(A,)`` in the order of ``joints.names`` [rad, m].

        Only what was fed counts: feed everything recorded up to then and nothing after it. None before every joint was
        commanded.
        """
        row = np.empty(len(self._names))
        for tracks in self._tracks.values():
            for track in tracks:
                values = track.setpoint(t_ns)
                if values is None:
                    return None
                row[track.columns] = values
        return row

    def clear(self) -> None:
        """Forget all commands: another episode, or time ran backwards."""
        for tracks in self._tracks.values():
            for track in tracks:
                track.clear()

    def _add_outputs(self, parameters: NodeParameters, namespace: str) -> None:
        for name, output in parameters.outputs.items():
            topic = absolute_topic(output.topic, namespace)
            require_topic(self._bag, topic, COMMAND_TYPES[output.type], f"outputs.{name}")
            columns = [self._names.index(joint) for joint in output.joints]
            if output.type == "joint_trajectory":
                self._measured_topic = absolute_topic(parameters.joints.topic, namespace)
                require_topic(self._bag, self._measured_topic, JOINT_STATE, "joints.topic")
                trajectory = _TrajectoryTrack(output.joints, columns)
                self._trajectories.append((topic, trajectory))
                self._tracks.setdefault(topic, []).append(trajectory)
            else:
                self._tracks.setdefault(topic, []).append(_PositionTrack(output.joints, columns))

    def _left_out(self, topic: str, error: Exception) -> None:
        self._bag.note(f"{self._bag.path}: topic '{topic}': command left out: {error}", topic, "command")

    def _measure(self, message: BagMessage) -> None:
        """Tell the trajectories that have not begun where the joints are."""
        waiting = [(topic, track) for topic, track in self._trajectories if not track.begun]
        if not waiting:
            return
        try:
            _, names, positions = self._joint_states.read(message.data)
        except MalformedMessage as error:
            self._bag.note(
                f"{self._bag.path}: topic '{message.topic}': {error}; left out", message.topic, "malformed joint state"
            )
            return
        for topic, track in waiting:
            try:
                track.measured(names, positions, message.log_ns)
            except CommandRefused as error:
                self._left_out(topic, error)


def _no_start(missing: Sequence[str]) -> CommandRefused:
    return CommandRefused(
        f"trajectory: expected the joint states where it starts before it, got none of {', '.join(missing)}"
    )
