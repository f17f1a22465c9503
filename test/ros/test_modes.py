# SPDX-License-Identifier: Apache-2.0
"""Modes of execution, changed on the running node."""

from __future__ import annotations

import numpy as np
import pytest
from support.checkpoints import write_flow
from support.holding import PATIENT, wait_until_commanding
from support.robot import FakeRobot
from support.waiting import wait_for

from policy_ros.msg import PolicyStatus


def test_modes_change_at_a_chunk_boundary_without_a_gap(start_node, robot: FakeRobot):
    node = start_node(**PATIENT)
    node.bring_up()
    wait_until_commanding(robot)
    for mode in ("blend", "ensemble", "overlap"):
        steps = robot.status.step
        assert node.set_parameter("execution.mode", mode) == ""
        wait_for(lambda mode=mode: robot.status.active_mode == mode, 10.0, f"mode {mode}\n{node.log}")
        wait_for(lambda steps=steps: robot.status.step > steps + 20, 10.0, f"commands under {mode}")
        assert robot.status.mode == mode
        assert robot.status.state == PolicyStatus.RUNNING
    assert robot.status.holds == 0
    assert all(np.isfinite(command.positions).all() for command in robot.commands)


def test_rtc_is_refused_for_a_policy_that_cannot_be_guided_and_names_the_alternatives(start_node, robot: FakeRobot):
    node = start_node()
    node.bring_up()
    wait_until_commanding(robot)
    reason = node.set_parameter("execution.mode", "rtc")
    assert "cannot" in reason and "blend, ensemble, overlap, sync" in reason
    assert node.get_parameter("execution.mode") == "overlap"
    assert node.set_parameter("rtc.fallback", "blend") == ""
    assert node.set_parameter("execution.mode", "rtc") == ""
    wait_for(lambda: robot.status.degradation != "", 10.0, f"the stand-in\n{node.log}")
    assert (robot.status.mode, robot.status.active_mode) == ("rtc", "blend")
    wait_for(lambda: "blend instead of rtc" in robot.diagnostic("policy: execution"), 5.0, "a diagnostic")


@pytest.mark.parametrize("estimator", ["quantile", "jacobson_karels"])
def test_status_tells_the_delay_to_expect(start_node, robot: FakeRobot, estimator: str):
    node = start_node(**{"execution.delay_estimator": estimator})
    node.bring_up()
    wait_for(lambda: robot.statuses and robot.status.chunks > 4, 15.0, f"chunks\n{node.log}")
    assert robot.status.feasible
    assert robot.status.delay_estimate >= min(status.delay for status in robot.statuses if status.chunks > 2)
    assert robot.status.guidance_weight == 0.0


def test_rtc_guides_a_flow_policy_over_dds_and_its_parameters_change_while_it_runs(start_node, robot, tmp_path):
    path = write_flow(tmp_path / "flow")
    node = start_node(policy__path=str(path), execution__mode="rtc", rtc__max_guidance_weight=4.0, **PATIENT)
    node.bring_up()
    wait_until_commanding(robot)
    wait_for(lambda: robot.status.chunks_guided > 3, 15.0, f"guided chunks\n{node.log}")
    status = robot.status
    assert (status.mode, status.active_mode, status.degradation) == ("rtc", "rtc", "")
    assert status.feasible and status.delay_estimate <= status.execution_horizon <= 20 - status.delay_estimate
    assert (status.horizon, status.guidance_weight) == (20, 4.0)
    for name, value in (("rtc.jacobian", "identity"), ("rtc.schedule", "linear"), ("rtc.max_guidance_weight", 2.0)):
        assert node.set_parameter(name, value) == ""
    wait_for(lambda: robot.status.guidance_weight == 2.0, 10.0, f"the new weight\n{node.log}")
    assert robot.status.holds == 0
    assert all(np.isfinite(command.positions).all() for command in robot.commands)
