# SPDX-License-Identifier: Apache-2.0
"""What the execution knows about itself, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

from policy_ros.execution.hold import HoldCause
from policy_ros.execution.statistics import Summary
from policy_ros.execution.tick import ExecutionState


@dataclass(frozen=True)
class ExecutionStatus:
    """Snapshot; fields are named after those of ``msg/PolicyStatus.msg``.

    Attributes:
        state: of the newest tick.
        mode: that was chosen.
        active_mode: what acts: the mode, or what it was degraded to (rtc to blend to hold).
        degradation: one line that says why ``active_mode`` is not the mode, or why it is short of time; else empty.
        hold_cause: None unless a hold is in force.
        hold_detail: one line with the facts, empty without a hold.
        not_ready: why no observation could be had for the newest inference, empty if it could.
        epoch: increases with every reset and every hold that drops the plan.
        step: rows consumed in this epoch.
        chunks: that took over since the start.
        chunks_late: dropped because their epoch had ended or all their rows had passed.
        chunks_guided: of ``chunks``, those that were guided to continue the one before.
        chunks_rejected: dropped because of their shape or values.
        inference_errors: exceptions of the policy or of the observation.
        commands: ticks with a window.
        holds: transitions to a hold.
        holds_after_first_chunk: of these, after the first chunk took over.
        queue_depth: rows left [steps].
        horizon: H [steps].
        execution_horizon: s of the newest chunk, or what the strategy aims at before there is one [steps].
        delay: d measured for the newest chunk of this epoch [steps].
        delay_estimate: d to expect of the next one, where ticks without a row count as delay [steps].
        feasible: d <= s <= H - d, with the estimate.
        guidance_weight: largest weight that the newest chunk's guidance could have; 0 if it was not guided.
        inference_latency: from taking the observation to the finished chunk [s].
        command_period: between two ticks with a window [s].
        observation_age: when its inference started [s].
        gate_clamped: commanded rows that the gate changed.
        gate_rejected: rows that the gate refused when they were due.
        joint_clamped: for each joint, commanded rows that the gate changed.
        joint_rejected: for each joint, how often the gate refused a row because of it.
        seam_jump: largest joint step across the newest seam between two chunks [rad, m].
        inference_alive: whether the inference thread runs.
    """

    state: ExecutionState
    mode: str
    active_mode: str
    degradation: str
    hold_cause: HoldCause | None
    hold_detail: str
    not_ready: str
    epoch: int
    step: int
    chunks: int
    chunks_late: int
    chunks_guided: int
    chunks_rejected: int
    inference_errors: int
    commands: int
    holds: int
    holds_after_first_chunk: int
    queue_depth: int
    horizon: int
    execution_horizon: int
    delay: int
    delay_estimate: int
    feasible: bool
    guidance_weight: float
    inference_latency: Summary
    command_period: Summary
    observation_age: Summary
    gate_clamped: int
    gate_rejected: int
    joint_clamped: tuple[int, ...]
    joint_rejected: tuple[int, ...]
    seam_jump: float
    inference_alive: bool
