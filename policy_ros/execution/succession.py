# SPDX-License-Identifier: Apache-2.0
"""How one policy follows another while the robot moves: by its first chunk, and not before there is one."""

from __future__ import annotations

from collections.abc import Callable

from policy_ros.data import ActionChunk
from policy_ros.errors import PolicyRosError
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.delay import MeasuredDelay
from policy_ros.execution.delay_estimation import make_delay_estimator
from policy_ros.execution.inference import Failed, Inference, InferenceRequest, Inferred, NotObserved, Outcome
from policy_ros.execution.progress import Progress
from policy_ros.execution.strategies import Strategy
from policy_ros.execution.successor import Successor


class Succession:
    """The policy that waits to take over. Called with the executor's lock held.

    The successor's first inference is a trial. It begins right after a chunk of the running policy took over, when most
    rows are left to be executed meanwhile. Only if a chunk comes of it does a new epoch begin: strategy and expected
    delay are the successor's from then on, its chunk fades in over the rows that are still planned, and the gate goes
    on from the last command. If the trial fails nothing has changed. The chunk is not guided: the rows before it are
    another policy's.

    Args:
        progress: shared with the other parts.
        inference: whose policy changes.
        config: which estimator of the delay.
        monotonic_ns: measures durations.
    """

    def __init__(
        self, progress: Progress, inference: Inference, config: ExecutionConfig, monotonic_ns: Callable[[], int]
    ) -> None:
        self._progress = progress
        self._inference = inference
        self._config = config
        self._monotonic_ns = monotonic_ns
        self._waiting: Successor | None = None
        self._chunks_before = 0  # chunks that had taken over when it began to wait
        self._postponed = False  # it could not observe: the running policy has its turn first

    @property
    def waiting(self) -> Successor | None:
        """Who is to take over."""
        return self._waiting

    def offer(self, successor: Successor) -> None:
        """Let it take over at the next chunk boundary, in the place of whoever waits already."""
        self._waiting = successor
        self._wait_for_a_chunk(postponed=False)

    def withdraw(self, successor: Successor) -> bool:
        """Let it not take over any more; False if it has, or does not wait."""
        if self._waiting is not successor:
            return False
        self._waiting = None
        return True

    def take_over_at_rest(self) -> None:
        """Where nothing is being executed the successor takes over at once, without a trial."""
        successor, self._waiting = self._waiting, None
        if successor is None:
            return
        strategy = self._strategy_of(successor)
        if strategy is not None:
            self._adopt(successor, strategy)
            self._inference.forget_epoch()

    def begin(self) -> InferenceRequest | None:
        """The trial, if it is due."""
        progress, successor = self._progress, self._waiting
        if successor is None or not self._at_a_boundary():
            return None
        successor.begun()
        newest, step = progress.newest, progress.timeline.step
        return InferenceRequest(
            epoch=progress.epoch,
            first_step=step,
            execution_horizon=progress.strategy.execution_horizon if newest is None else step - newest.first_step,
            starved=progress.starved_ticks,
            started_ns=self._monotonic_ns(),
            successor=successor,
        )

    def finish(self, request: InferenceRequest, outcome: Outcome) -> ActionChunk | None:
        """What came of the trial; the chunk that took over, if one did."""
        progress, successor = self._progress, request.successor
        if successor is None or self._waiting is not successor:  # somebody else waits by now, or nobody
            return None
        if isinstance(outcome, Failed):
            self._give_up(successor, f"its first inference failed: {outcome.detail}")
            return None
        if request.epoch != progress.epoch or not progress.running:
            return None  # it is tried again in the new epoch
        if isinstance(outcome, NotObserved):
            progress.not_ready = outcome.reason
            self._wait_for_a_chunk(postponed=True)
            return None
        return self._take_over(request, successor, outcome)

    def _at_a_boundary(self) -> bool:
        progress = self._progress
        fresh = progress.measurements.chunks > self._chunks_before
        if progress.timeline.remaining == 0:
            return fresh or not self._postponed
        return fresh and progress.strategy.gapless

    def _wait_for_a_chunk(self, *, postponed: bool) -> None:
        self._chunks_before, self._postponed = self._progress.measurements.chunks, postponed

    def _take_over(self, request: InferenceRequest, successor: Successor, inferred: Inferred) -> ActionChunk | None:
        progress, timeline = self._progress, self._progress.timeline
        delay = MeasuredDelay(timeline.step - request.first_step, progress.starved_ticks - request.starved)
        if delay.consumed >= successor.horizon:
            detail = f"expected a chunk before its {successor.horizon} rows were over, it took {delay.consumed} steps"
            self._give_up(successor, detail)
            return None
        strategy = self._strategy_of(successor)
        if strategy is None:
            return None
        self._waiting = None
        self._adopt(successor, strategy)
        chunk = ActionChunk(
            actions=inferred.actions,
            first_step=request.first_step,
            epoch=progress.epoch,
            sequence=progress.measurements.chunks,
            execution_horizon=request.execution_horizon,
            delay_steps=delay.consumed,
            observation_stamps_ns=inferred.observation.stamps_ns,
            inference_s=inferred.inference_s,
            guided=False,
        )
        strategy.succeed(timeline, chunk)
        if delay.needed > 0:  # otherwise nothing was executed meanwhile, and nothing measured
            progress.expected_delay.record(delay)
        progress.delay = delay
        return chunk

    def _adopt(self, successor: Successor, strategy: Strategy) -> None:
        progress = self._progress
        progress.begin_succession(strategy, make_delay_estimator(self._config))
        self._inference.adopt(successor, progress.epoch)
        successor.taken_over()

    def _strategy_of(self, successor: Successor) -> Strategy | None:
        """How its chunks are to follow one another now; None and given up where it cannot do that."""
        try:
            return successor.make_strategy()
        except PolicyRosError as error:
            self._give_up(successor, str(error))
            return None

    def _give_up(self, successor: Successor, reason: str) -> None:
        self._waiting = None
        successor.failed(reason)
