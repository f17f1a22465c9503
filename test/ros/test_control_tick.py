# SPDX-License-Identifier: Apache-2.0
"""What the control tick publishes, and what it does not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from policy_ros.data import StreamHealth
from policy_ros.execution import ExecutionState, Tick
from policy_ros.ros.control import ControlTick

COMMAND_S = 0.2
WINDOW = np.zeros((10, 2))


class FakeTime:
    """Local time that the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now_ns(self) -> int:
        return round(self.now_s * 1e9)

    def to_ros(self, local_ns: int) -> int:
        return local_ns


class FakeOutput:
    """Counts what is published; publishing takes a while."""

    def __init__(self, name: str, time: FakeTime, takes_s: float) -> None:
        self.name = name
        self.published = 0
        self._time = time
        self._takes_s = takes_s

    def publish(self, window, previous, stamp_ns) -> None:
        self.published += 1
        self._time.now_s += self._takes_s


def make_tick(time: FakeTime, outputs: list[FakeOutput], errors: list[str]) -> ControlTick:
    tick = ControlTick(
        assembler=SimpleNamespace(
            conflicts=lambda: (), joint_positions=lambda: np.zeros(2), health=lambda now_ns: StreamHealth({})
        ),
        executor=SimpleNamespace(tick=lambda health, measured: Tick(ExecutionState.RUNNING, 0, window=WINDOW)),
        outputs=outputs,
        chunks=SimpleNamespace(publish=lambda message: None),
        measured_order=[0, 1],
        joint_names=("shoulder", "elbow"),
        policy_name="act",
        dt_s=0.02,
        command_s=COMMAND_S,
        time=time,
        heartbeat=SimpleNamespace(stalled=lambda: False),
        report_error=errors.append,
    )
    tick.unsilence()
    return tick


def test_every_output_gets_its_command():
    time, errors = FakeTime(), []
    outputs = [FakeOutput(name, time, takes_s=0.05) for name in ("arm", "gripper")]
    make_tick(time, outputs, errors)()
    assert [output.published for output in outputs] == [1, 1] and errors == []


def test_a_command_that_is_overdue_because_the_output_before_was_stuck_is_not_sent():
    time, errors = FakeTime(), []
    outputs = [FakeOutput("arm", time, takes_s=COMMAND_S + 0.01), FakeOutput("gripper", time, takes_s=0.0)]
    make_tick(time, outputs, errors)()
    assert [output.published for output in outputs] == [1, 0]
    assert errors == ["the command for output 'gripper' is overdue and was not sent"]
