# SPDX-License-Identifier: Apache-2.0
"""Nothing keeps the control thread waiting: real-time priority, garbage collection."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import rclpy
import torch
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from support.holding import wait_until_commanding
from support.waiting import wait_for

from policy_ros.ros.policy_node import PolicyNode

PRIORITY = 20


def realtime_priorities(pid: int) -> list[int]:
    """Priorities of the process's threads under SCHED_FIFO, sorted."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        fields = (thread / "stat").read_text().rpartition(")")[2].split()
        priority, policy = int(fields[37]), int(fields[38])  # proc(5), fields 40 and 41
        if policy == os.SCHED_FIFO:
            found.append(priority)
    return sorted(found)


@pytest.fixture
def permitted() -> None:
    """Only where this user may have real-time priority; tried on a thread that then ends."""
    with ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    if attempt.exception() is not None:
        pytest.skip(f"needs CAP_SYS_NICE or an rtprio limit of {PRIORITY}")


def test_control_and_callbacks_run_at_real_time_priority_while_active(permitted, robot, start_node):
    node = start_node(execution__realtime_priority=PRIORITY)
    node.bring_up()
    wait_until_commanding(robot)
    assert realtime_priorities(node.process.pid) == [PRIORITY - 1, PRIORITY]
    assert node.transition("deactivate")
    assert realtime_priorities(node.process.pid) == []
    assert node.transition("activate")
    assert realtime_priorities(node.process.pid) == [PRIORITY - 1, PRIORITY]


def test_without_permission_the_node_says_so_once_and_commands_at_normal_priority(robot, start_node):
    node = start_node(process={"module": "support.ordinary_node"}, execution__realtime_priority=PRIORITY)
    node.bring_up()
    wait_until_commanding(robot)
    assert realtime_priorities(node.process.pid) == []
    wait_for(lambda: "is not permitted" in node.log, 10.0, "the warning")
    assert node.log.count("execution.realtime_priority") == 1
    assert "rtprio" in node.log


def test_full_collections_leave_out_what_was_loaded_until_it_is_cleaned_up(domain_id, parameters):
    context = Context()
    rclpy.init(context=context, domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
    node = PolicyNode(context=context, parameter_overrides=[Parameter(name, value=v) for name, v in parameters.items()])
    try:
        assert gc.get_freeze_count() == 0
        assert node.request("configure")
        assert not [found for found in gc.get_objects() if isinstance(found, torch.nn.Module)]
        assert node.request("cleanup")
        assert gc.get_freeze_count() == 0
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
