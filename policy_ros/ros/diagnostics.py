# SPDX-License-Identifier: Apache-2.0
"""``/diagnostics`` in the format of diagnostic_updater: one status for the execution and one for each input stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from policy_ros.data import StreamHealth
from policy_ros.execution import ExecutionStatus, SwapPhase, SwapState
from policy_ros.execution.assessment import HOLD, who_acts
from policy_ros.observation import StreamStatistics
from policy_ros.ros.runtime import PolicyRuntime

OK, WARN, ERROR, STALE = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)


def status(name: str, level: bytes, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """One entry; values are written as text."""
    return DiagnosticStatus(
        name=name,
        level=level,
        message=message,
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def runtime_diagnostics(node_name: str, runtime: PolicyRuntime, *, active: bool) -> list[DiagnosticStatus]:
    """Entries of a configured node; while it is not active its inputs are not expected to be fresh."""
    execution = runtime.executor.status()
    limited = runtime.interventions.update(execution)
    enabled = runtime.parameters.enable_commands
    entries = [execution_status(node_name, execution, limited, commands_enabled=enabled)]
    now_ns = runtime.time.now_ns()
    health = runtime.assembler.health(now_ns) if active else StreamHealth(ages_s={})
    problems = runtime.problems.update(now_ns)
    for stream, statistics in runtime.assembler.statistics(now_ns).items():
        topic = runtime.inputs.topics[stream]
        entries.append(stream_status(node_name, stream, topic, statistics, health, problems.get(stream, "")))
    return entries


def lifecycle_status(node_name: str, state: str, warnings: Sequence[str], gave_up: str) -> DiagnosticStatus:
    """State of the node and what is suspicious around it; ERROR with the reason if it deactivated itself."""
    message = "; ".join(filter(None, (gave_up, *warnings))) or state
    level = ERROR if gave_up else WARN if warnings else OK
    return status(f"{node_name}: node", level, message, {"lifecycle state": state})


def policy_status(node_name: str, runtime: PolicyRuntime, swap: SwapState) -> DiagnosticStatus:
    """Which policy runs, and what becomes of another one that was asked for; WARN if that failed."""
    path, name = runtime.parameters.policy.path, runtime.policy.name
    values = {"policy": name, "path": path, "swap": swap.phase.value, "task": runtime.handover.task}
    failed = swap.phase is SwapPhase.FAILED
    told = f"swap failed: {swap.detail}" if failed else swap.phase.under_way and f"{swap.phase.value}: {swap.detail}"
    return status(f"{node_name}: policy", WARN if failed else OK, "; ".join(filter(None, (name, told))), values)


def execution_status(
    node_name: str, execution: ExecutionStatus, limited: str, *, commands_enabled: bool
) -> DiagnosticStatus:
    """What the execution does; ERROR while it holds. ``limited`` is what the gate has changed lately, or empty."""
    values = {
        "state": execution.state.name,
        "commands enabled": commands_enabled,
        "mode": execution.mode,
        "epoch": execution.epoch,
        "chunks": execution.chunks,
        "chunks rejected": execution.chunks_rejected,
        "inference errors": execution.inference_errors,
        "inference latency p99 [s]": execution.inference_latency.p99,
        "active mode": execution.active_mode,
        "delay [steps]": execution.delay,
        "delay to expect [steps]": execution.delay_estimate,
        "execution horizon [steps]": execution.execution_horizon,
        "feasible (d <= s <= H - d)": execution.feasible,
        "holds": execution.holds,
        "gate clamped": execution.gate_clamped,
        "gate rejected": execution.gate_rejected,
    }
    if execution.hold_cause is not None:
        return status(
            f"{node_name}: execution", ERROR, f"HOLD: {execution.hold_cause.value}: {execution.hold_detail}", values
        )
    if execution.not_ready:
        return status(f"{node_name}: execution", WARN, execution.not_ready, values)
    if execution.degradation:
        level = ERROR if execution.active_mode == HOLD else WARN
        message = f"{who_acts(execution.active_mode, execution.mode)}: {execution.degradation}"
        return status(f"{node_name}: execution", level, message, values)
    message = "; ".join(filter(None, (execution.state.name.lower(), limited)))
    return status(f"{node_name}: execution", OK, message, values)


def stream_status(
    node_name: str,
    stream: str,
    topic: str,
    statistics: StreamStatistics,
    health: StreamHealth,
    problem: str,
) -> DiagnosticStatus:
    """Freshness of one input; ``problem`` is why samples are being dropped, or empty."""
    level, message = OK, f"{statistics.rate_hz:.1f} Hz"
    if stream in health.expired:
        level, message = ERROR, f"nothing fresh for {statistics.age_s:.2f} s: the robot holds"
    elif stream in health.stale:
        level, message = WARN, f"nothing fresh for {statistics.age_s:.2f} s: no inference"
    elif statistics.frozen_s > 0.0:
        level = ERROR if stream in health.frozen else WARN
        message = f"the picture has not changed for {statistics.frozen_s:.1f} s: is the camera frozen?"
    elif problem:
        level = WARN
    if problem:
        message = f"{message}; {problem}"
    values = {
        "topic": topic,
        "received": statistics.received,
        "dropped": statistics.dropped,
        "rate [Hz]": statistics.rate_hz,
        "age [s]": statistics.age_s,
    }
    return status(f"{node_name}: {stream}", level, message, values)


def diagnostic_array(stamp, entries: Sequence[DiagnosticStatus], hardware_id: str) -> DiagnosticArray:
    """The message; every entry carries the hardware id."""
    for entry in entries:
        entry.hardware_id = hardware_id
    message = DiagnosticArray(status=list(entries))
    message.header.stamp = stamp
    return message
