# SPDX-License-Identifier: Apache-2.0
"""Everything a configured node owns: built on configure, started and stopped on (de)activate, destroyed on cleanup."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from rclpy.publisher import Publisher

from policy_ros.errors import ConfigurationError
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
)
from policy_ros.observation import ObservationAssembler
from policy_ros.parameters import build
from policy_ros.parameters.node import NodeParameters, PolicyParameters
from policy_ros.ros.clocks import SimulatedPace, SimulatedTime, StepFreeTime, watch_jumps
from policy_ros.ros.command_topics import CommandTopics
from policy_ros.ros.control import ControlTick
from policy_ros.ros.gate_interventions import GateInterventions
from policy_ros.ros.heartbeat import Heartbeat
from policy_ros.ros.inputs import Inputs
from policy_ros.ros.lifecycle import ManagedNode
from policy_ros.ros.outputs import Output
from policy_ros.ros.readiness import Readiness
from policy_ros.ros.robot_description import RobotDescription
from policy_ros.ros.stream_problems import StreamProblems
from policy_ros.ros.swapping.handover import Handover
from policy_ros.ros.swapping.incumbent import Incumbent
from policy_ros.ros.swapping.newcomer import Newcomer
from policy_ros.ros.topics import check_topics

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy

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
        self._node = node
        self._jumps = None
        self._commands: CommandTopics | None = None
        self._description: RobotDescription | None = None
        self._heartbeat: Heartbeat | None = None
        self.inputs: Inputs | None = None
        self.time = SimulatedTime(node) if node.get_parameter("use_sim_time").value else self._step_free_time()
        # Everything that can refuse comes before the first ROS entity is made.
        self._incumbent = Incumbent(parameters, policy)
        order = build.measured_order(parameters)
        if parameters.enable_commands:
            build.check_outputs(parameters)
        check_topics(node, self.parameters)
        self.executor = self._make_executor()
        try:
            self._create_entities(order, chunks)
        except BaseException:
            self.destroy()
            raise
        self.handover.set_task(parameters.policy.prompt)

    # What runs, and where from

    @property
    def policy(self) -> Policy:
        """That which runs."""
        return self._incumbent.policy

    @property
    def parameters(self) -> NodeParameters:
        """Full set, with the cameras that only the policy needs, and with the policy that runs."""
        return self._incumbent.parameters

    @property
    def assembler(self) -> ObservationAssembler:
        """Makes the observations of the policy that runs."""
        return self._incumbent.assembler

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Command topics; none in a dry run."""
        return () if self._commands is None else tuple(self._commands.outputs)

    @property
    def active(self) -> bool:
        """Whether the control thread runs."""
        return self._pacer.alive

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
        return found + self._commands.warnings()

    # Built and destroyed

    def _make_executor(self) -> ChunkExecutor:
        parameters, assembler = self.parameters, self.assembler
        return ChunkExecutor(
            self.policy,
            lambda: assembler.assemble(self.time.now_ns()),
            strategy=self._incumbent.strategy(),
            gate=build.make_gate(parameters),
            scaling=build.action_scaling(parameters),
            config=build.execution_config(parameters),
            stamp_now_ns=self.time.now_ns,
        )

    def _create_entities(self, order: list[int], chunks: Publisher) -> None:
        node, parameters = self._node, self.parameters
        self._commands = CommandTopics(node, parameters)
        if parameters.gate.use_robot_description:
            self._description = RobotDescription(node, parameters.gate.robot_description_topic)
        self.inputs = Inputs(node, self.time)
        self.inputs.feed(self.assembler, self._incumbent.observed, parameters)
        self._readiness = Readiness(node, self.time, self.inputs)
        self.handover = Handover(self._incumbent, self.executor, self.inputs, self.time, self._on_another_policy)
        self.problems = StreamProblems(node, self.assembler, self.inputs.topics)
        self.interventions = GateInterventions(parameters.joints.names)
        self._heartbeat = Heartbeat(node, parameters.execution.heartbeat_timeout_s)
        self._create_control(order, chunks, self._heartbeat)
        if isinstance(self.time, SimulatedTime):
            self._jumps = watch_jumps(node, self._on_jump)

    def _create_control(self, order: list[int], chunks: Publisher, heartbeat: Heartbeat) -> None:
        """The control thread and what it does in every period."""
        parameters, log = self.parameters, self._node.get_logger()
        dt_s = 1.0 / parameters.execution.rate_hz
        self._tick = ControlTick(
            assembler=self.assembler,
            executor=self.executor,
            outputs=self._commands.outputs,
            chunks=chunks,
            measured_order=order,
            joint_names=parameters.joints.names,
            policy_name=self.policy.name,
            dt_s=dt_s,
            command_s=build.execution_config(parameters).command_s,
            time=self.time,
            heartbeat=heartbeat,
            report_error=lambda text: log.error(text, throttle_duration_sec=_LOG_EVERY_S),
        )
        clock: Clock = SteadyClock()
        if isinstance(self.time, SimulatedTime):
            clock = SimulatedPace(self.time, period_s=dt_s, stalled=heartbeat.stalled)
        self._pacer = Pacer(dt_s, self._tick, clock, on_error=self._tick.failed)
        self._realtime = RealtimeThreads(parameters.execution.realtime_priority)

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
        if self._commands is not None:
            self._commands.destroy()

    # Started and stopped

    def activate(self) -> None:
        """Wait for every stream, check the command topics, start.

        Raises:
            PolicyRosError: what is missing or in the way.
        """
        self.assembler.clear()
        self.inputs.accepting = True
        parameters = self.parameters
        timeout_s = parameters.observation.activation_timeout_s
        self._readiness.wait_for_clock(timeout_s)
        self._readiness.wait_for_streams(self.assembler, timeout_s)
        self._commands.check(allow_second_publisher=parameters.allow_second_publisher)
        description = self._description
        urdf = None if description is None else self._readiness.wait_for_description(description, timeout_s)
        gate = build.make_gate(parameters, urdf)
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

    # Changed while it runs

    def make_strategy(self, parameters: NodeParameters) -> Strategy:
        """The strategy for these parameters and this policy's chunks.

        Raises:
            ConfigurationError: mode or horizon do not fit the chunks.
        """
        return build.strategy(parameters, self.policy)

    def apply(self, parameters: NodeParameters) -> None:
        """Take over what changed of what may change while running, at the next chunk boundary."""
        policy = self.policy
        before = self._incumbent.take(parameters)
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
        another = self.handover.set_task(text)
        if another and self.parameters.policy.prompt_starts_epoch and self.active:
            log = self._node.get_logger()
            self.handover.begin_epoch(lambda reason: log.warning(f"no new epoch for another task: {reason}"))

    def wait_for_streams_of(self, newcomer: Newcomer, wanted: Callable[[], bool]) -> None:
        """Wait until it can observe, as long as it is wanted and the node is active.

        Raises:
            PolicyRosError: something never came.
        """
        timeout_s = self.parameters.observation.activation_timeout_s
        self._readiness.wait_for_streams(newcomer.assembler, timeout_s, lambda: self.active and wanted())

    def note_choice(self, chosen: PolicyParameters) -> None:
        """The running policy is now asked for in other words."""
        self._incumbent.note_choice(chosen)

    def free_the_old(self) -> None:
        """Drop the policies that ran before, on the thread that can wait for it."""
        self._incumbent.free_the_old()

    def reset(self, reason: str) -> int:
        """Leave a hold: forget every plan, and conflicts between sources. Returns the new epoch."""
        for assembler in self.handover.assemblers():
            assembler.forgive()
        return self.executor.reset(reason)

    def _on_another_policy(self) -> None:
        self.problems = StreamProblems(self._node, self.assembler, self.inputs.topics)
        self._tick.look_through(self.assembler, self.policy.name)

    # Time

    def _step_free_time(self) -> StepFreeTime:
        def warn(step_s: float) -> None:
            self._node.get_logger().warning(
                f"the wall clock was set by {step_s:+.3f} s; ages and pacing go on unchanged"
            )

        clock = self._node.get_clock()
        return StepFreeTime(lambda: clock.now().nanoseconds, on_step=warn)

    def _on_jump(self, jump_s: float) -> None:
        self._node.get_logger().warning(f"simulated time jumped by {jump_s:+.3f} s: starting over")
        for assembler in self.handover.assemblers():
            assembler.clear()  # first: what was sampled before a jump back would look fresh after it
        self.executor.hold(HoldCause.CLOCK_JUMP, f"simulated time jumped by {jump_s:+.3f} s")
