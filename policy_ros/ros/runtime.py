# SPDX-License-Identifier: Apache-2.0
"""Everything a configured node owns: built on configure, started and stopped on (de)activate, destroyed on cleanup."""

from __future__ import annotations

import dataclasses
import threading
import time as wall
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from rclpy.publisher import Publisher

from policy_ros.data import Observation
from policy_ros.errors import ConfigurationError, PolicyRosError
from policy_ros.execution import (
    ChunkExecutor,
    Clock,
    GateLimits,
    HoldCause,
    Pacer,
    RealtimeRefused,
    RealtimeThreads,
    SteadyClock,
    Strategy,
    Successor,
)
from policy_ros.observation import ObservationAssembler, ObservationConfig
from policy_ros.parameters import build
from policy_ros.parameters.node import NodeParameters, PolicyParameters
from policy_ros.ros.clocks import SimulatedPace, SimulatedTime, StepFreeTime, watch_jumps
from policy_ros.ros.control import ControlTick
from policy_ros.ros.gate_interventions import GateInterventions
from policy_ros.ros.heartbeat import Heartbeat
from policy_ros.ros.images import make_decoder
from policy_ros.ros.inputs import Inputs
from policy_ros.ros.lifecycle import ManagedNode
from policy_ros.ros.newcomer import Newcomer, with_choice
from policy_ros.ros.outputs import OUTPUT_TYPES, Output
from policy_ros.ros.robot_description import RobotDescription
from policy_ros.ros.stream_problems import StreamProblems
from policy_ros.ros.topics import check_topics

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy

_POLL_S = 0.02
_LOG_EVERY_S = 5.0
_PACER_STOP_S = 0.5
_REST_SLACK_S = 0.3  # beyond the ramp, for a busy machine


class PolicyRuntime:
    """The parts between the input topics and the command topics, wired together.

    Args:
        node: owns the ROS entities.
        parameters: full set, as they are declared.
        policy: loaded and warmed up.
        chunks: publisher of ``~/action_chunk``.

    Raises:
        ConfigurationError: parameters that do not fit the policy or each other.
    """

    def __init__(self, node: ManagedNode, parameters: NodeParameters, policy: Policy, chunks: Publisher) -> None:
        self._given_cameras = parameters.cameras  # without those that only this policy needs
        self.parameters = parameters = build.with_cameras_of(parameters, policy)
        self.policy = policy
        self.task = ""
        self.outputs: list[Output] = []
        self.inputs: Inputs | None = None
        self._node = node
        self._jumps = None
        self._description: RobotDescription | None = None
        self._heartbeat: Heartbeat | None = None
        self.time = SimulatedTime(node) if node.get_parameter("use_sim_time").value else self._step_free_time()
        # Everything that can refuse comes before the first ROS entity is made.
        build.check_joints(parameters, policy)
        order = build.measured_order(parameters)
        if parameters.enable_commands:
            build.check_outputs(parameters)
        check_topics(node, parameters)
        self._observed = build.observation_config(parameters, policy)
        self.assembler = ObservationAssembler(self._observed, make_decoder())
        self._newcomer: Newcomer | None = None
        self._changing = threading.Lock()  # of the parameters: another policy takes over on the inference thread
        self._offering = threading.RLock()  # of successors
        self._retired: list[Policy] = []  # ran before, and are not freed yet
        self.executor = self._make_executor()
        self.set_task(parameters.policy.prompt)
        try:
            self._create_entities(order, chunks)
        except BaseException:
            self.destroy()
            raise

    def _make_executor(self) -> ChunkExecutor:
        return ChunkExecutor(
            self.policy,
            self._observer(self.assembler),
            strategy=self.make_strategy(self.parameters),
            gate=build.make_gate(self.parameters),
            scaling=build.action_scaling(self.parameters),
            config=build.execution_config(self.parameters),
            stamp_now_ns=self.time.now_ns,
        )

    def _create_entities(self, order: list[int], chunks: Publisher) -> None:
        node, parameters = self._node, self.parameters
        dt_s = 1.0 / parameters.execution.rate_hz
        if parameters.enable_commands:
            self._create_outputs(dt_s)
        if parameters.gate.use_robot_description:
            self._description = RobotDescription(node, parameters.gate.robot_description_topic)
        self.inputs = Inputs(node, self.time)
        self.inputs.feed(self.assembler, self._observed, parameters)
        self.problems = StreamProblems(node, self.assembler, self.inputs.topics)
        self.interventions = GateInterventions(parameters.joints.names)
        self._heartbeat = Heartbeat(node, parameters.execution.heartbeat_timeout_s)
        self._tick = ControlTick(
            assembler=self.assembler,
            executor=self.executor,
            outputs=self.outputs,
            chunks=chunks,
            measured_order=order,
            joint_names=parameters.joints.names,
            policy_name=self.policy.name,
            dt_s=dt_s,
            command_s=build.execution_config(parameters).command_s,
            time=self.time,
            heartbeat=self._heartbeat,
            report_error=lambda text: node.get_logger().error(text, throttle_duration_sec=_LOG_EVERY_S),
        )
        pacing_clock: Clock = SteadyClock()
        if isinstance(self.time, SimulatedTime):
            pacing_clock = SimulatedPace(self.time, period_s=dt_s, stalled=self._heartbeat.stalled)
        self._pacer = Pacer(dt_s, self._tick, pacing_clock, on_error=self._tick.failed)
        self._realtime = RealtimeThreads(parameters.execution.realtime_priority)
        if isinstance(self.time, SimulatedTime):
            self._jumps = watch_jumps(node, self._on_jump)

    def activate(self) -> None:
        """Wait for every stream, check the command topics, start.

        Raises:
            PolicyRosError: what is missing or in the way.
        """
        self.assembler.clear()
        self.inputs.accepting = True
        timeout_s = self.parameters.observation.activation_timeout_s
        self._wait_for_clock(timeout_s)
        self._wait_for_streams(timeout_s)
        self._check_command_topics()
        gate = build.make_gate(self.parameters, self._wait_for_description(timeout_s))
        self.executor.set_gate(gate)
        self._warn_of_missing_limits(gate.limits)
        conflicts = self.assembler.conflicts()
        if conflicts:
            raise ConfigurationError("; ".join(conflicts))
        self.executor.start()
        self._tick.unsilence()
        self._pacer.start()
        self._prioritise()

    def _prioritise(self) -> None:
        """The control thread, and the callbacks it shares the interpreter with, before all other work."""
        callbacks = self._node.callback_thread
        threads = (self._pacer.thread_id, None if callbacks is None else callbacks.native_id)
        try:
            self._realtime.prioritise([thread for thread in threads if thread is not None])
        except RealtimeRefused as error:
            self._node.get_logger().warning(str(error))

    def deactivate(self) -> None:
        """Bring the robot to rest, then stop everything within a bound."""
        if self._pacer.alive:
            self._tick.come_to_rest("deactivated", self.executor.longest_ramp_s() + _REST_SLACK_S)
        self._tick.silence()
        if self.inputs is not None:
            self.inputs.accepting = False
        if not self._pacer.stop(_PACER_STOP_S):
            self._node.get_logger().error(f"the control thread did not end within {_PACER_STOP_S:g} s; it is silenced")
        self._realtime.release()
        if not self.executor.stop(self.parameters.execution.stop_timeout_s):
            self._node.get_logger().warning(
                f"an inference did not end within {self.parameters.execution.stop_timeout_s:g} s; its result will be "
                "dropped, and configuring is refused until it has ended"
            )

    def destroy(self) -> None:
        """Remove all ROS entities. The policy is freed with the last reference to this object."""
        if self._jumps is not None:
            self._jumps.unregister()
        if self._heartbeat is not None:
            self._heartbeat.destroy()
        if self._description is not None:
            self._description.destroy()
        if self.inputs is not None:
            self.inputs.destroy()
        while self.outputs:
            self.outputs.pop().destroy()

    def make_strategy(self, parameters: NodeParameters) -> Strategy:
        """The strategy for these parameters and this policy's chunks.

        Raises:
            ConfigurationError: mode or horizon do not fit the chunks.
        """
        return build.strategy(parameters, self.policy)

    def apply(self, parameters: NodeParameters) -> None:
        """Take over what changed of what may change while running, at the next chunk boundary."""
        with self._changing:
            before, policy = self.parameters, self.policy
            chosen = with_choice(parameters.policy, before.policy)
            self.parameters = dataclasses.replace(parameters, policy=chosen, cameras=before.cameras)
            self._given_cameras = parameters.cameras
        self.executor.set_added_delay(parameters.execution.added_delay_s)
        if (parameters.execution, parameters.rtc) != (before.execution, before.rtc):
            try:
                self.executor.set_strategy(build.strategy(parameters, policy))
            except ConfigurationError:
                if policy is self.policy:
                    raise
                # Another policy took over a moment ago: with a strategy made from the new parameters.

    def set_task(self, text: str) -> None:
        """Task text of the next observations; an empty one is none."""
        before, self.task = self.task, text
        with self._offering:
            for assembler in self._assemblers():
                assembler.set_task(text or None)
        if text != before and self.parameters.policy.prompt_starts_epoch:
            self._begin_epoch()

    def _begin_epoch(self) -> None:
        """As if the policy took over from itself: the robot moves on meanwhile."""
        with self._offering:
            if not self.active or self.executor.successor is not None:  # who begins an epoch anyway
                return
            self.executor.succeed(
                Successor(
                    self.policy,
                    self._observer(self.assembler),
                    self.policy.config.chunk_size,
                    lambda: build.strategy(self.parameters, self.policy),
                    failed=lambda reason: self._node.get_logger().warning(f"no new epoch for another task: {reason}"),
                )
            )

    # Another policy

    @property
    def active(self) -> bool:
        """Whether the control thread runs."""
        return self._pacer.alive

    def prepare(self, policy: Policy, wanted: PolicyParameters) -> Newcomer:
        """Subscribe to what another policy needs beside what is there.

        Args:
            policy: loaded and warmed up.
            wanted: how it was asked for.

        Raises:
            ConfigurationError: it does not fit the robot or the parameters.
        """
        with self._changing:
            given = dataclasses.replace(self.parameters, policy=wanted, cameras=self._given_cameras)
        parameters = build.with_cameras_of(given, policy)
        build.check_joints(parameters, policy)
        build.strategy(parameters, policy)
        observed = build.observation_config(parameters, policy)
        assembler = self.assembler
        if _apart_from_scaling(observed) != _apart_from_scaling(self._observed):
            assembler = ObservationAssembler(observed, make_decoder())
        newcomer = Newcomer(policy, wanted, parameters.cameras, observed, assembler)
        with self._offering:
            self._newcomer = newcomer
            assembler.set_task(self.task or None)
        if assembler is not self.assembler:
            self.inputs.feed(assembler, observed, parameters)
        return newcomer

    def wait_for_streams_of(self, newcomer: Newcomer, wanted: Callable[[], bool]) -> None:
        """Wait until it can observe, as long as it is wanted and the node is active.

        Raises:
            PolicyRosError: something never came.
        """
        timeout_s, missing = self.parameters.observation.activation_timeout_s, newcomer.assembler.missing
        self._wait(lambda: not (missing() and self.active and wanted()), timeout_s)
        if missing() and self.active and wanted():
            raise PolicyRosError(f"{self.inputs.describe_missing(missing())}; waited {timeout_s:g} s")

    def hand_over(self, newcomer: Newcomer, *, begun: Callable[[], None], done: Callable[[], None], failed) -> None:
        """Let it take over at the next chunk boundary; at once while the node is inactive.

        Args:
            newcomer: prepared, its streams are there.
            begun, done, failed: see :class:`Successor`.
        """

        def taken_over() -> None:
            self._become(newcomer)
            done()

        policy = newcomer.policy
        with self._offering:
            self.executor.succeed(
                Successor(
                    policy,
                    self._observer(newcomer.assembler),
                    policy.config.chunk_size,
                    lambda: build.strategy(self.parameters, policy),
                    begun=begun,
                    taken_over=taken_over,
                    failed=failed,
                )
            )

    def turn_away(self, newcomer: Newcomer | None = None) -> None:
        """It shall not take over any more, if it has not; None: whoever is about to."""
        with self._offering:
            newcomer = newcomer or self._newcomer
            if newcomer is self._newcomer:
                self._newcomer = None
            successor = self.executor.successor
            if newcomer is not None and successor is not None and successor.policy is newcomer.policy:
                self.executor.withdraw(successor)
        if newcomer is not None and newcomer.assembler is not self.assembler:
            self.inputs.forget(newcomer.assembler)

    def _become(self, newcomer: Newcomer) -> None:
        """It runs. On the inference thread, with the executor's lock held, so that no tick sees a half of it."""
        with self._changing:
            self._retired.append(self.policy)  # freeing it takes long: not on this thread
            self.policy = newcomer.policy
            chosen = with_choice(self.parameters.policy, newcomer.wanted)
            self.parameters = dataclasses.replace(self.parameters, policy=chosen, cameras=newcomer.cameras)
        self._observed, self.assembler = newcomer.observed, newcomer.assembler
        self.problems = StreamProblems(self._node, self.assembler, self.inputs.topics)
        self._tick.look_through(self.assembler, self.policy.name)

    def note_choice(self, chosen: PolicyParameters) -> None:
        """The running policy is now asked for in other words."""
        with self._changing:
            policy = with_choice(self.parameters.policy, chosen)
            self.parameters = dataclasses.replace(self.parameters, policy=policy)

    def forget_the_old(self) -> None:
        """After another policy has taken over: no samples for the one before it."""
        with self._offering:
            if self._newcomer is not None and self._newcomer.policy is self.policy:
                self._newcomer = None
            keep = self._assemblers()
        self.inputs.keep_only(keep)

    def free_the_old(self) -> None:
        """Drop the policies that ran before, on the thread that can wait for it."""
        while self._retired:
            self._retired.pop()

    def _assemblers(self) -> tuple[ObservationAssembler, ...]:
        """That in use, and that of a newcomer."""
        newcomer = self._newcomer
        if newcomer is None or newcomer.assembler is self.assembler:
            return (self.assembler,)
        return self.assembler, newcomer.assembler

    def _observer(self, assembler: ObservationAssembler) -> Callable[[], Observation]:
        return lambda: assembler.assemble(self.time.now_ns())

    def reset(self, reason: str) -> int:
        """Leave a hold: forget every plan, and conflicts between sources. Returns the new epoch."""
        for assembler in self._assemblers():
            assembler.forgive()
        return self.executor.reset(reason)

    @property
    def deadlines_missed(self) -> int:
        """Control ticks that were skipped since activation."""
        return self._pacer.missed

    def warnings(self) -> list[str]:
        """What is suspicious around the node while it runs."""
        found = list(self.inputs.mismatches.values())
        added_s = self.parameters.execution.added_delay_s
        if added_s > 0.0:
            found.append(f"every inference is made to last {added_s:g} s longer (execution.added_delay_s)")
        for output in tuple(self.outputs):
            others = output.other_publishers()
            if others:
                found.append(f"'{output.topic}' has other publishers: {', '.join(others)}")
            if output.listeners() == 0:
                found.append(f"nobody listens to '{output.topic}'")
        return found

    def _create_outputs(self, dt_s: float) -> None:
        for name, output in self.parameters.outputs.items():
            self.outputs.append(
                OUTPUT_TYPES[output.type](
                    self._node,
                    name=name,
                    topic=output.topic,
                    joints=output.joints,
                    joint_names=self.parameters.joints.names,
                    dt_s=dt_s,
                    lead_s=dt_s if output.lead_s < 0.0 else output.lead_s,
                )
            )

    def _check_command_topics(self) -> None:
        for output in self.outputs:
            others = output.other_publishers()
            if others and not self.parameters.allow_second_publisher:
                raise ConfigurationError(
                    f"'{output.topic}' is already commanded by {', '.join(others)}; stop it, "
                    "or set allow_second_publisher to true"
                )
            if output.listeners() == 0:
                self._node.get_logger().warning(
                    f"nobody listens to '{output.topic}': is the controller of outputs.{output.name} running?"
                )

    def _warn_of_missing_limits(self, limits: GateLimits) -> None:
        values = {
            "position_min": limits.lower,
            "position_max": limits.upper,
            "max_velocity": limits.max_velocity,
            "max_acceleration": limits.max_acceleration,
            "max_jump": limits.max_jump,
        }
        missing = [name for name, of_joints in values.items() if not np.any(np.isfinite(of_joints))]
        if missing and self.parameters.enable_commands:
            self._node.get_logger().warning(
                f"not set: gate.{', gate.'.join(missing)}; in these commands are limited by the controller only"
            )

    def _wait_for_description(self, timeout_s: float) -> str | None:
        """The URDF if limits are to come from it."""
        description = self._description
        if description is None:
            return None
        if not self._wait(lambda: description.urdf is not None, timeout_s):
            raise PolicyRosError(
                f"gate.use_robot_description is true but nothing came on '{description.topic}' for {timeout_s:g} s; "
                "start robot_state_publisher, or set it to false and the limits in gate.*"
            )
        return description.urdf

    def _wait_for_clock(self, timeout_s: float) -> None:
        if isinstance(self.time, SimulatedTime) and not self._wait(lambda: self.time.now_ns() > 0, timeout_s):
            raise PolicyRosError(
                f"use_sim_time is true but nothing came on '/clock' for {timeout_s:g} s; play a bag with --clock, "
                "start the simulator, or set use_sim_time to false"
            )

    def _wait_for_streams(self, timeout_s: float) -> None:
        if not self._wait(lambda: not self.assembler.missing(), timeout_s):
            missing = self.assembler.missing()
            raise PolicyRosError(f"{self.inputs.describe_missing(missing)}; waited {timeout_s:g} s")

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Poll on the steady clock, for what changes on other threads; a signal to end cuts it short."""
        deadline = wall.monotonic() + timeout_s
        while not condition():
            if wall.monotonic() >= deadline or self._node.stopping.wait(_POLL_S):
                return False
        return True

    def _step_free_time(self) -> StepFreeTime:
        def warn(step_s: float) -> None:
            self._node.get_logger().warning(
                f"the wall clock was set by {step_s:+.3f} s; ages and pacing go on unchanged"
            )

        clock = self._node.get_clock()
        return StepFreeTime(lambda: clock.now().nanoseconds, on_step=warn)

    def _on_jump(self, jump_s: float) -> None:
        self._node.get_logger().warning(f"simulated time jumped by {jump_s:+.3f} s: starting over")
        for assembler in self._assemblers():
            assembler.clear()  # first: what was sampled before a jump back would look fresh after it
        self.executor.hold(HoldCause.CLOCK_JUMP, f"simulated time jumped by {jump_s:+.3f} s")


def _apart_from_scaling(observed: ObservationConfig) -> ObservationConfig:
    """For comparing: the units of the joints do not change with the policy, and arrays do not compare."""
    return dataclasses.replace(observed, scaling=None)
