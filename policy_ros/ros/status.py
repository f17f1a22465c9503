# SPDX-License-Identifier: Apache-2.0
"""``~/status``: the execution and its inputs as numbers that a plot can show."""

from __future__ import annotations

from builtin_interfaces.msg import Time

from policy_ros.execution import ExecutionStatus, SwapState
from policy_ros.msg import PolicyStatus
from policy_ros.ros.runtime import PolicyRuntime


def status_message(runtime: PolicyRuntime, swap: SwapState, stamp: Time) -> PolicyStatus:
    """What the node is doing now; windows of measurements cover the last minute."""
    execution = runtime.executor.status()
    message = PolicyStatus(
        state=int(execution.state),
        mode=execution.mode,
        active_mode=execution.active_mode,
        degradation=execution.degradation,
        guidance_weight=execution.guidance_weight,
        policy=runtime.policy.name,
        policy_path=runtime.parameters.policy.path,
        swap_phase=swap.phase.value,
        swap_detail=swap.detail,
        task=runtime.handover.task,
        hold_cause="" if execution.hold_cause is None else execution.hold_cause.name,
        commands_enabled=runtime.parameters.enable_commands,
        deadlines_missed=runtime.deadlines_missed,
        inference_latency=execution.inference_latency.newest,
        inference_latency_p50=execution.inference_latency.p50,
        inference_latency_p99=execution.inference_latency.p99,
        command_period=execution.command_period.newest,
        command_period_p50=execution.command_period.p50,
        command_period_p99=execution.command_period.p99,
        observation_age=execution.observation_age.newest,
        observation_age_p50=execution.observation_age.p50,
        observation_age_p99=execution.observation_age.p99,
        **{name: getattr(execution, name) for name in _COUNTS},
    )
    message.header.stamp = stamp
    _fill_streams(message, runtime)
    _fill_outputs(message, runtime, execution)
    for cause, count in runtime.assembler.drops.items():
        setattr(message, f"dropped_{cause.value}", count)
    return message


# Fields that the message and the execution's status have under the same name.
_COUNTS = (
    "epoch",
    "step",
    "chunks",
    "chunks_late",
    "chunks_guided",
    "chunks_rejected",
    "inference_errors",
    "commands",
    "holds",
    "holds_after_first_chunk",
    "queue_depth",
    "horizon",
    "execution_horizon",
    "delay",
    "delay_estimate",
    "feasible",
    "gate_clamped",
    "gate_rejected",
    "seam_jump",
)


def _fill_streams(message: PolicyStatus, runtime: PolicyRuntime) -> None:
    for stream, seen in runtime.assembler.statistics(runtime.time.now_ns()).items():
        message.streams.append(stream)
        message.stream_ages.append(seen.age_s)
        message.stream_rates.append(seen.rate_hz)
        message.stream_received.append(seen.received)
        message.stream_frozen.append(seen.frozen_s > 0.0)


def _fill_outputs(message: PolicyStatus, runtime: PolicyRuntime, execution: ExecutionStatus) -> None:
    """What the gate did to each output's joints."""
    names = runtime.parameters.joints.names
    clamped = dict(zip(names, execution.joint_clamped, strict=True))
    rejected = dict(zip(names, execution.joint_rejected, strict=True))
    for output in runtime.outputs:  # none in a dry run, whose outputs nobody has checked
        message.outputs.append(output.name)
        message.output_clamped.append(sum(clamped[joint] for joint in output.joints))
        message.output_rejected.append(sum(rejected[joint] for joint in output.joints))
