# SPDX-License-Identifier: Apache-2.0
"""What a node waits for before it moves a robot: the clock, every stream, the robot's description."""

from __future__ import annotations

import time as wall
from collections.abc import Callable

from policy_ros.errors import PolicyRosError
from policy_ros.observation import ObservationAssembler
from policy_ros.ros.clocks import LocalTime, SimulatedTime
from policy_ros.ros.inputs import Inputs
from policy_ros.ros.lifecycle import ManagedNode
from policy_ros.ros.robot_description import RobotDescription

_POLL_S = 0.02


class Readiness:
    """Polls on the steady clock for what changes on other threads; a signal to end cuts every wait short.

    Args:
        node: whose end is waited for too.
        time: local time, which may stand still as long as it is simulated.
        inputs: say of a missing stream what is known of its topic.
    """

    def __init__(self, node: ManagedNode, time: LocalTime, inputs: Inputs) -> None:
        self._node = node
        self._time = time
        self._inputs = inputs

    def wait_for_clock(self, timeout_s: float) -> None:
        """Wait until simulated time runs.

        Raises:
            PolicyRosError: it never did.
        """
        if isinstance(self._time, SimulatedTime) and not self._wait(lambda: self._time.now_ns() > 0, timeout_s):
            raise PolicyRosError(
                f"use_sim_time is true but nothing came on '/clock' for {timeout_s:g} s; play a bag with --clock, "
                "start the simulator, or set use_sim_time to false"
            )

    def wait_for_streams(
        self, assembler: ObservationAssembler, timeout_s: float, wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Wait until each has a sample, as long as that is wanted.

        Raises:
            PolicyRosError: one has none, and what is known of its topic.
        """
        missing = assembler.missing
        self._wait(lambda: not (missing() and wanted()), timeout_s)
        if missing() and wanted():
            raise PolicyRosError(f"{self._inputs.describe_missing(missing())}; waited {timeout_s:g} s")

    def wait_for_description(self, description: RobotDescription, timeout_s: float) -> str:
        """Wait for the URDF.

        Raises:
            PolicyRosError: it never came.
        """
        self._wait(lambda: description.urdf is not None, timeout_s)
        urdf = description.urdf
        if urdf is None:
            raise PolicyRosError(
                f"gate.use_robot_description is true but nothing came on '{description.topic}' for {timeout_s:g} s; "
                "start robot_state_publisher, or set it to false and the limits in gate.*"
            )
        return urdf

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline = wall.monotonic() + timeout_s
        while not condition():
            if wall.monotonic() >= deadline or self._node.stopping.wait(_POLL_S):
                return False
        return True
