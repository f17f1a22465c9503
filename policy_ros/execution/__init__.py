# SPDX-License-Identifier: Apache-2.0
"""Chunk execution: the timeline of actions, strategies, the inference thread, pacing and the gate."""

from policy_ros.execution.clock import Clock, SteadyClock, VirtualClock
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.control_step import ControlStep, Sensors
from policy_ros.execution.executor import ChunkExecutor
from policy_ros.execution.gate import Gate, GateLimits, GateResult, Motion
from policy_ros.execution.hold import Hold, HoldCause, Recovery
from policy_ros.execution.inference import ChunkPolicy, GuidedPolicy
from policy_ros.execution.pacing import Pacer
from policy_ros.execution.realtime import RealtimeRefused, RealtimeThreads, why_refused
from policy_ros.execution.statistics import SampleWindow, Summary
from policy_ros.execution.status import ExecutionStatus
from policy_ros.execution.strategies import Strategy, available_strategies, make_strategy
from policy_ros.execution.successor import Successor
from policy_ros.execution.swap_tracker import SwapPhase, SwapState, SwapTracker
from policy_ros.execution.tick import ExecutionState, Tick
from policy_ros.execution.virtual import ALWAYS_FRESH, InferenceTrace, VirtualDrive, VirtualRobot

__all__ = [
    "ALWAYS_FRESH",
    "ChunkExecutor",
    "ChunkPolicy",
    "Clock",
    "ControlStep",
    "ExecutionConfig",
    "ExecutionState",
    "ExecutionStatus",
    "Gate",
    "GateLimits",
    "GateResult",
    "GuidedPolicy",
    "Hold",
    "HoldCause",
    "InferenceTrace",
    "Motion",
    "Pacer",
    "RealtimeRefused",
    "RealtimeThreads",
    "Recovery",
    "SampleWindow",
    "Sensors",
    "SteadyClock",
    "Strategy",
    "Successor",
    "Summary",
    "SwapPhase",
    "SwapState",
    "SwapTracker",
    "Tick",
    "VirtualClock",
    "VirtualDrive",
    "VirtualRobot",
    "available_strategies",
    "make_strategy",
    "why_refused",
]
