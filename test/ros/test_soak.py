# SPDX-License-Identifier: Apache-2.0
"""``make soak`` in short, and what its observer sees over DDS."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from rclpy.node import Node
from soaking import configuration
from soaking.checks import FreshInputs, Limits, SilentUnlessActive
from soaking.events import Deactivated
from soaking.observer import Observer, lost_before
from soaking.referee import Referee
from support.waiting import wait_for
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "soak.py"
SMOKE_MINUTES = 20 / 60


def test_short_soak_keeps_every_promise_and_leaves_nothing_behind(tmp_path: Path):
    summary = tmp_path / "soak.md"
    command = [sys.executable, SCRIPT, "--minutes", f"{SMOKE_MINUTES}", "--seed", "3", "--out", summary]
    command += ["--folder", tmp_path / "logs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300.0, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = summary.read_text()
    assert "**passed**: seed 3" in text
    assert "## What was done\n\nNone." not in text


class FakeNode:
    """Commands the arm in the policy node's place."""

    def __init__(self, domain_id: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self._node = Node("policy", context=self._context)
        self._arm = self._node.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", 10)

    def wait_for_observer(self) -> None:
        wait_for(lambda: self._arm.get_subscription_count() > 0, 10.0, "the observer")

    def command(self, *positions: float) -> None:
        self._arm.publish(JointTrajectory(points=[JointTrajectoryPoint(positions=positions)]))

    def close(self) -> None:
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture
def fake_node(domain_id: int) -> Iterator[FakeNode]:
    node = FakeNode(domain_id)
    yield node
    node.close()


@pytest.fixture
def referee(domain_id: int, fake_node: FakeNode) -> Iterator[Referee]:
    """With an observer that hears the fake node."""
    configured = configuration.load()
    limits = Limits(configured.outputs(), measured_s=1.0)
    referee = Referee([limits, SilentUnlessActive(), FreshInputs(configured.bounds_s)], lag_s=0.0)
    observer = Observer(configured.parameters, referee, domain_id=domain_id)
    fake_node.wait_for_observer()
    yield referee
    observer.close()


def found(referee: Referee, *words: str) -> bool:
    return any(all(word in violation.text for word in words) for violation in referee.violations)


@pytest.mark.parametrize(
    ("number", "last", "lost"), [(1, 0, 0), (6, 5, 0), (9, 5, 3), (1, 500, 0), (12, 500, 11)], ids=str
)
def test_commands_that_did_not_come_are_counted_of_a_new_publisher_too(number: int, last: int, lost: int):
    assert lost_before(number, last) == lost


def test_observer_finds_a_command_that_is_not_finite(fake_node: FakeNode, referee: Referee):
    fake_node.command(0.0, math.nan, 0.0)
    wait_for(lambda: found(referee, "arm", "not finite"), 10.0, "the violation")


def test_observer_finds_a_step_that_is_too_large(fake_node: FakeNode, referee: Referee):
    fake_node.command(0.0, 0.0, 0.0)
    fake_node.command(0.0, 0.5, 0.0)
    wait_for(lambda: found(referee, "arm", "from the command before"), 10.0, "the violation")


def test_observer_finds_a_command_after_the_deactivation(fake_node: FakeNode, referee: Referee):
    referee.add(Deactivated(time.time()))
    fake_node.command(0.0, 0.0, 0.0)
    wait_for(lambda: found(referee, "after the deactivation"), 10.0, "the violation")
    assert referee.count == 1
