# SPDX-License-Identifier: Apache-2.0
"""The last check in front of the motors: no row reaches an output without passing here."""

from policy_ros.execution.gate.check import Gate, GateResult
from policy_ros.execution.gate.limits import GateLimits
from policy_ros.execution.gate.motion import Motion

__all__ = ["Gate", "GateLimits", "GateResult", "Motion"]
