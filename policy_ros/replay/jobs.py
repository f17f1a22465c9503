# SPDX-License-Identifier: Apache-2.0
"""One bag as a job: what a process needs to replay it, and what it hands back. Both travel between machines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from policy_ros.bags import Bag, open_bag
from policy_ros.data import Observation
from policy_ros.errors import PolicyRosError
from policy_ros.policies import load_policy
from policy_ros.policies.base import Policy
from policy_ros.replay.bag_replay import BagOutcome, BagReplay
from policy_ros.replay.metrics import EpisodeMetrics, measure
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.predictions import PredictionFile
from policy_ros.replay.report import ReportCollector, ReportMaterial
from policy_ros.replay.result import BagResult
from policy_ros.replay.trace import ChunkTrace, EpisodeTrace, ReplayListener

ALL, PREDICTIONS, NONE = "all", "predictions", "none"  # what the file of messages has
INTERRUPTED = "interrupted"  # error of a bag that was not replayed to its end
_TELL_EVERY_S = 0.2

Progress = Callable[[float], None]  # takes the share of the bag that is done, 0 to 1; raises Stopped

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """Raised into a replay from where it tells its progress: somebody wants an end now."""


@dataclass(frozen=True)
class PolicySource:
    """Where a policy comes from, so that every process can load it: see :func:`policy_ros.policies.load_policy`."""

    path: str
    revision: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class ReplayJob:
    """One bag.

    Attributes:
        bag: path as it was named, and as results name it.
        policy: what to replay.
        policy_type: its registered name.
        options: how.
        messages: ``all``, ``predictions`` or ``none``.
        messages_file: where to write them.
        report: whether to collect what a report shows.
    """

    bag: str
    policy: PolicySource
    policy_type: str
    options: ReplayOptions
    messages: str = NONE
    messages_file: str = ""
    report: bool = False


class Watch(Protocol):
    """Who looks after many jobs, which are named by their number."""

    def done(self, index: int, result: JobResult) -> None:
        """A job has ended, one way or another."""

    def progress(self, index: int, share: float) -> None:
        """So much of a job is done, 0 to 1."""

    def stopping(self) -> bool:
        """Whether somebody wants an end: what has begun stops where it is, the rest does not begin."""


@dataclass(frozen=True)
class BagRun:
    """What is not the same every time.

    Attributes:
        wall_s: how long the replay took, without loading the policy [s].
        compute_s: what each inference took [s].
    """

    wall_s: float = 0.0
    compute_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class JobResult:
    """What came of a job.

    Attributes:
        bag: its row.
        run: how it went.
        material: for the report; None: none was wanted, or could be had.
    """

    bag: BagResult
    run: BagRun = BagRun()
    material: ReportMaterial | None = None


def without_result(job: ReplayJob, error: str) -> JobResult:
    """Of a bag that nothing is known about but why."""
    return JobResult(BagResult(job.bag, error=error))


class Replay(Protocol):
    """A bag that can be replayed: :class:`policy_ros.replay.bag_replay.BagReplay`, or the way through ROS.

    Attributes:
        bag: opened.
    """

    bag: Bag

    def run(self, listener: ReplayListener, progress: Callable[[float], None] | None = None) -> BagOutcome:
        """Replay it; ``progress`` takes the recorded time that is done [s]."""


def open_replay(job: ReplayJob) -> Replay:
    """The bag through the policy on a virtual clock."""
    return BagReplay(job.bag, policy_of(job.policy), job.options)


@lru_cache(maxsize=1)
def policy_of(source: PolicySource) -> Policy:
    """The policy, loaded once in a process."""
    policy = load_policy(source.path, revision=source.revision, device=source.device)
    policy.freeze()
    policy.warmup()
    return policy


def run_job(job: ReplayJob, progress: Progress, open_replay: Callable[[ReplayJob], Replay] = open_replay) -> JobResult:
    """Replay one bag. Whatever goes wrong becomes part of the result."""
    begin = time.monotonic()
    telling = _Telling(progress)
    listener = _Listener(job, telling)
    replay: Replay | None = None
    outcome: BagOutcome | None = None
    length_s, error = 0.0, ""
    try:
        replay = open_replay(job)
        length_s = (replay.bag.end_ns - replay.bag.start_ns) * 1e-9
        listener.begin()
        with _holds_not_logged():
            outcome = replay.run(listener, lambda done_s: telling.tell(done_s / length_s if length_s else 1.0))
    except Stopped:
        error = INTERRUPTED
    except PolicyRosError as refused:
        error = one_line(refused)
    except Exception as failure:
        _log.exception("%s: the replay failed", job.bag)
        error = f"{job.bag}: {type(failure).__name__}: {one_line(failure)}"
    material = listener.end(complete=outcome is not None)
    problems = outcome.problems if outcome is not None else ()
    if outcome is None and replay is not None:
        problems = tuple(replay.bag.problems)
    return JobResult(
        bag=BagResult(job.bag, tuple(listener.episodes), (*problems, *listener.problems), error, length_s),
        run=BagRun(time.monotonic() - begin, () if outcome is None else outcome.compute_s),
        material=material,
    )


@contextmanager
def _holds_not_logged() -> Iterator[None]:
    """They are in the metrics, and nobody is there to react."""
    logger = logging.getLogger("policy_ros.execution")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def one_line(error: BaseException) -> str:
    """What an error says, for a row of a table."""
    return " ".join(str(error).split())


class _Telling:
    """Progress, as often as somebody may want an end, and not more often."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._share = 0.0
        self._told_s = 0.0

    def tell(self, share: float) -> None:
        """So much is done."""
        self._share = share
        self.tell_again()

    def tell_again(self) -> None:
        """Still as much."""
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            self._progress(self._share)


class _Listener:
    """Measures episodes, and passes everything on to those that must not spoil it: report and file of messages.

    Attributes:
        episodes: measured so far.
        problems: what could not be collected or written, one line each.
    """

    def __init__(self, job: ReplayJob, telling: _Telling) -> None:
        self.episodes: list[EpisodeMetrics] = []
        self.problems: list[str] = []
        self._job = job
        self._telling = telling
        self._report: ReportCollector | None = ReportCollector() if job.report else None
        self._messages: PredictionFile | None = None

    def begin(self) -> None:
        """The bag can be replayed."""
        job = self._job
        if job.messages != NONE:
            with self._optional_messages():
                # Opened once more: what is damaged is noted with every reading.
                original = open_bag(job.bag) if job.messages == ALL else None
                self._messages = PredictionFile(Path(job.messages_file), job.policy_type, original)

    def chunk(self, chunk: ChunkTrace, observation: Observation) -> None:
        """Only the report looks at what the policy saw."""
        self._telling.tell_again()  # an inference may take long
        if self._report is not None:
            with self._optional_report():
                self._report.chunk(chunk, observation)

    def episode(self, trace: EpisodeTrace) -> None:
        """An episode is over."""
        self.episodes.append(measure(trace))
        if self._report is not None:
            with self._optional_report():
                self._report.episode(trace)
        if self._messages is not None:
            with self._optional_messages():
                self._messages.episode(trace)

    def end(self, *, complete: bool) -> ReportMaterial | None:
        """Finish the file of messages; what the report needs of this bag."""
        if self._messages is not None:
            with self._optional_messages():
                self._messages.finish(rest=complete)
        if self._messages is not None:
            self.problems += self._messages.problems
        if self._report is not None:
            with self._optional_report():
                return self._report.material()
        return None

    @contextmanager
    def _optional_report(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            _log.exception("%s: the report of this bag failed", self._job.bag)
            self.problems.append(f"{self._job.bag}: left out of the report: {type(error).__name__}: {one_line(error)}")
            self._report = None

    @contextmanager
    def _optional_messages(self) -> Iterator[None]:
        """A full disk must leave room for the metrics: the messages, which can be had again, are removed."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, OSError):
                _log.exception("%s: the file of messages failed", self._job.bag)
            file = Path(self._job.messages_file).name
            reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {one_line(error)}"
            self.problems.append(f"{file}: cannot be written: {reason}; removed, the metrics go on")
            if self._messages is not None:
                self._messages.discard()
            self._messages = None
