# SPDX-License-Identifier: Apache-2.0
"""The inference thread's part of the execution: when to infer, and what becomes of the result."""

from __future__ import annotations

import logging
from collections.abc import Callable

from policy_ros.data import ActionChunk
from policy_ros.execution.assessment import Assessment, who_acts
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.delay import MeasuredDelay
from policy_ros.execution.hold import Hold, HoldCause
from policy_ros.execution.inference import Failed, InferenceRequest, Inferred, NotObserved, Outcome
from policy_ros.execution.progress import Progress
from policy_ros.execution.succession import Succession

_LOG = logging.getLogger(__name__)
_SAY_AGAIN_NS = 10_000_000_000  # near the limit of what is feasible the mode may change with every chunk


class Scheduler:
    """Begins inferences and takes their chunks over. Called with the executor's lock held.

    Source: Algorithm 1 of Black, Galliker, Levine, arXiv 2506.07339.

    Args:
        progress: shared with the control thread's part.
        succession: another policy that may wait to take over.
        config: bounds.
        monotonic_ns: measures durations.
    """

    def __init__(
        self, progress: Progress, succession: Succession, config: ExecutionConfig, monotonic_ns: Callable[[], int]
    ) -> None:
        self._progress = progress
        self._succession = succession
        self._config = config
        self._monotonic_ns = monotonic_ns
        self._said_ns: dict[str, int] = {}  # mode that acts to when that was last said

    def begin(self) -> InferenceRequest | None:
        """The inference that is wanted now, or None; the caller runs it without the lock."""
        progress = self._progress
        if not progress.running or progress.holds.stops_inference:
            return None
        trial = self._succession.begin()
        if trial is not None:
            progress.in_flight = trial
            return trial
        strategy, timeline, newest = progress.strategy, progress.timeline, progress.newest
        expected = progress.expected_delay.estimate()
        if not strategy.wants_inference(timeline, newest, expected or 0):
            return None
        horizon = strategy.execution_horizon if newest is None else timeline.step - newest.first_step
        if expected is None:  # nothing measured yet: as cautious as can be
            expected = max(0, min(horizon, strategy.shape.horizon - horizon))
        self._note(strategy.assess(expected, horizon))
        guides = progress.assessment.active_mode == strategy.name
        progress.in_flight = InferenceRequest(
            epoch=progress.epoch,
            first_step=timeline.step,
            execution_horizon=horizon,
            starved=progress.starved_ticks,
            started_ns=self._monotonic_ns(),
            guidance=strategy.guidance(timeline, expected, horizon) if guides else None,
        )
        return progress.in_flight

    def _note(self, assessment: Assessment) -> None:
        """Keep the assessment of the inference that begins, and say when what acts has changed, each now and then."""
        progress, now_ns = self._progress, self._monotonic_ns()
        before, progress.assessment = progress.assessment.active_mode, assessment
        said_ns = self._said_ns.get(assessment.active_mode)
        if assessment.active_mode == before or (said_ns is not None and now_ns - said_ns < _SAY_AGAIN_NS):
            return
        self._said_ns[assessment.active_mode] = now_ns
        if assessment.degradation:
            _LOG.warning("%s: %s", who_acts(assessment.active_mode, progress.strategy.mode), assessment.degradation)
        else:
            _LOG.info("%s acts", assessment.active_mode)

    def finish(self, request: InferenceRequest, outcome: Outcome) -> bool:
        """What came of it; True if a chunk took over."""
        progress = self._progress
        progress.in_flight = None
        if isinstance(outcome, Failed):
            self._count_failure(outcome)
        if request.successor is not None:
            return self._finish_trial(request, outcome)
        if request.epoch != progress.epoch or not progress.running:
            progress.measurements.chunks_late += isinstance(outcome, Inferred)
            return False
        progress.not_ready = outcome.reason if isinstance(outcome, NotObserved) else ""
        if isinstance(outcome, Failed):
            self._fail(outcome)
        return isinstance(outcome, Inferred) and self._take_over(request, outcome)

    def _finish_trial(self, request: InferenceRequest, outcome: Outcome) -> bool:
        progress = self._progress
        chunk = self._succession.finish(request, outcome)
        if chunk is None or not isinstance(outcome, Inferred):
            progress.measurements.chunks_late += isinstance(outcome, Inferred)
            return False
        self._measure(outcome)
        self._count(chunk)
        return True

    def _count_failure(self, failed: Failed) -> None:
        if failed.cause is HoldCause.POLICY_FAILED:
            self._progress.measurements.inference_errors += 1
        else:
            self._progress.measurements.chunks_rejected += 1

    def _fail(self, failed: Failed) -> None:
        """Drop the chunk; the rows that are left may still be executed, unless it happened too often in a row."""
        progress = self._progress
        progress.failures += 1
        if progress.failures >= self._config.max_consecutive_errors:
            detail = f"{progress.failures} times in a row, last: {failed.detail}"
            progress.holds.request(Hold(failed.cause, detail, progress.timeline.step))

    def _take_over(self, request: InferenceRequest, inferred: Inferred) -> bool:
        """Swap the chunk at once; the delay is what was consumed since its observation."""
        progress = self._progress
        progress.failures = 0
        self._measure(inferred)
        delay = MeasuredDelay(progress.timeline.step - request.first_step, progress.starved_ticks - request.starved)
        chunk = self._make_chunk(request, inferred, delay)
        if chunk.end_step > progress.timeline.step:
            progress.strategy.merge(progress.timeline, chunk)
        if progress.timeline.remaining == 0:  # all its rows have passed
            progress.measurements.chunks_late += 1
            return False
        if not self._warms_up(request):
            progress.expected_delay.record(delay)
        progress.delay = delay
        progress.guidance_weight = 0.0 if request.guidance is None else request.guidance.options.max_weight
        self._count(chunk)
        progress.adopt_strategy()
        return True

    def _measure(self, inferred: Inferred) -> None:
        seen, now_ns = self._progress.measurements, self._monotonic_ns()
        seen.inference_latency.append(inferred.inference_s, now_ns)
        seen.observation_age.append(inferred.observation_age_s, now_ns)

    def _count(self, chunk: ActionChunk) -> None:
        progress = self._progress
        progress.measurements.chunks += 1
        progress.measurements.chunks_guided += chunk.guided
        progress.newest = progress.unreported = chunk

    def _warms_up(self, request: InferenceRequest) -> bool:
        """Whether an inference says nothing about those to come.

        During the first of an epoch nothing is consumed; the first guided one of a run may compile and fill caches.
        """
        return self._progress.newest is None or (
            request.guidance is not None and self._progress.measurements.chunks_guided == 0
        )

    def _make_chunk(self, request: InferenceRequest, inferred: Inferred, delay: MeasuredDelay) -> ActionChunk:
        return ActionChunk(
            actions=inferred.actions,
            first_step=request.first_step,
            epoch=request.epoch,
            sequence=self._progress.measurements.chunks,
            execution_horizon=request.execution_horizon,
            delay_steps=delay.consumed,
            observation_stamps_ns=inferred.observation.stamps_ns,
            inference_s=inferred.inference_s,
            guided=request.guidance is not None,
        )
