# SPDX-License-Identifier: Apache-2.0
"""Where the execution is: what the control thread and the inference thread share under one lock."""

from __future__ import annotations

from policy_ros.data import ActionChunk
from policy_ros.execution.assessment import Assessment
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.delay import MeasuredDelay
from policy_ros.execution.delay_estimation import DelayEstimator, make_delay_estimator
from policy_ros.execution.gate import Motion
from policy_ros.execution.hold_latch import HoldLatch
from policy_ros.execution.inference import InferenceRequest
from policy_ros.execution.measurements import Measurements
from policy_ros.execution.ramp import Ramp
from policy_ros.execution.strategies import Strategy
from policy_ros.execution.timeline import Timeline


class Progress:
    """State of one execution. Not thread-safe: the executor's lock guards it.

    Args:
        strategy: how chunks follow one another.
        config: which estimator of the delay.
        joints: A.

    Attributes:
        running: between start and stop.
        epoch: increases whenever everything planned becomes void.
        timeline: rows to execute.
        strategy: in force.
        in_flight: the inference that has begun and not ended.
        expected_delay: outlives epochs, a trait of this computer and policy; another policy begins with another one.
        assessment: of the newest inference that was begun.
        holds: the hold in force and the one requested.
        measurements: since the start.
        newest: chunk that took over last in this epoch.
        unreported: it, until a tick has executed its first row.
        delay: measured for it.
        guidance_weight: largest weight of its guidance.
        motion: as it was commanded in this epoch.
        ramp: brings the robot to rest after a hold began.
        last_command_ns: monotonic time of the newest command of this epoch.
        failures: inferences that failed in a row.
        starved_ticks: ticks of this epoch on which a row was missing.
        not_ready: why no observation could be had for the newest inference.
    """

    def __init__(self, strategy: Strategy, config: ExecutionConfig, joints: int) -> None:
        self.running = False
        self.epoch = 0
        self.timeline = Timeline(joints)
        self.strategy = strategy
        self.in_flight: InferenceRequest | None = None
        self.expected_delay = make_delay_estimator(config)
        self.assessment = Assessment(strategy.name)
        self.holds = HoldLatch()
        self.measurements = Measurements(joints)
        self._next_strategy: Strategy | None = None
        self._forget()

    def begin_run(self, joints: int) -> None:
        """Count from zero."""
        self.measurements = Measurements(joints)
        self.holds.clear()
        self.begin_epoch()
        self.running = True

    def end_run(self) -> None:
        """Nothing is executed any more."""
        self.running = False
        self.holds.clear()
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Everything that was planned or is being inferred becomes void."""
        self.epoch += 1
        self.timeline.clear()
        self._forget()
        self.adopt_strategy()
        self.strategy.reset()

    def begin_succession(self, strategy: Strategy, expected_delay: DelayEstimator) -> None:
        """Another policy begins an epoch of its own: nothing is known of its delay, but the robot moves on.

        What is planned, the motion and the count of steps stay.
        """
        self.epoch += 1
        self.expected_delay = expected_delay
        self.guidance_weight = 0.0
        self.failures = 0
        self.not_ready = ""
        self._next_strategy = strategy
        self.adopt_strategy()

    def change_strategy(self, strategy: Strategy) -> None:
        """Take another strategy at the next chunk boundary, which may be now."""
        self._next_strategy = strategy
        if self.timeline.remaining == 0 and self.in_flight is None:
            self.adopt_strategy()

    def adopt_strategy(self) -> None:
        """A chunk boundary: the strategy that was asked for takes over."""
        if self._next_strategy is not None:
            self.strategy, self._next_strategy = self._next_strategy, None
            self.strategy.reset()
            self.assessment = Assessment(self.strategy.name)

    def _forget(self) -> None:
        self.newest: ActionChunk | None = None
        self.unreported: ActionChunk | None = None
        self.delay = MeasuredDelay(0)
        self.guidance_weight = 0.0
        self.motion: Motion | None = None
        self.ramp: Ramp | None = None
        self.last_command_ns: int | None = None
        self.failures = self.starved_ticks = 0
        self.not_ready = ""
