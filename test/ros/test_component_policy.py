# SPDX-License-Identifier: Apache-2.0
"""A policy that is put together from components, in the node."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.component_policies import write_component_flow
from support.holding import PATIENT, wait_until_commanding
from support.robot import FakeRobot
from support.waiting import wait_for

NODE = {"module": "support.component_node"}


@pytest.mark.parametrize("named", ["directory", "file"])
def test_it_is_guided_over_dds(start_node, robot: FakeRobot, tmp_path: Path, named: str):
    file = write_component_flow(tmp_path / "policy")
    path = file if named == "file" else file.parent
    node = start_node(process=NODE, policy__path=str(path), execution__mode="rtc", **PATIENT)
    node.bring_up()
    wait_until_commanding(robot)
    wait_for(lambda: robot.status.chunks_guided > 3, 20.0, f"guided chunks\n{node.log}")
    assert robot.status.policy == "component_flow"
