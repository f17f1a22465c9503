# SPDX-License-Identifier: Apache-2.0
"""A policy on many bags: from the request to the files."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from policy_ros.durable import write_durably
from policy_ros.errors import ConfigurationError
from policy_ros.parameters.build import check_fit
from policy_ros.replay.jobs import (
    ALL,
    INTERRUPTED,
    JobResult,
    PolicySource,
    Replay,
    ReplayJob,
    Stopped,
    Watch,
    one_line,
    open_replay,
    policy_of,
    run_job,
    without_result,
)
from policy_ros.replay.machine import run_record
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.ray_backend import require_ray, run_on_ray
from policy_ros.replay.report import ReportMaterial, merge, require_report_libraries, write_report
from policy_ros.replay.result import ReplayResult, describe_options
from policy_ros.replay.workers import run_in_processes
from policy_ros.replay.writing import (
    METRICS,
    REPORT,
    RUN,
    bytes_of,
    message_files,
    prepare_directory,
    remove_unfinished,
    write_json,
)

PROCESSES, RAY = "processes", "ray"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReplayRequest:
    """What is wanted.

    Attributes:
        bags: paths as they were named, at least one.
        policy: what to replay.
        options: how.
        out: directory for the results.
        overwrite: whether results of an earlier replay in it may be removed.
        messages: ``all``, ``predictions`` or ``none``: what the files of messages have.
        report: whether to write one.
        workers: bags at a time; None: one, or with Ray all that the cluster has room for.
        backend: ``processes`` or ``ray``.
        threads: of torch, for each bag; None: as many as the node would have, however many bags go at a time.
    """

    bags: tuple[str, ...]
    policy: PolicySource
    options: ReplayOptions
    out: Path
    overwrite: bool = False
    messages: str = ALL
    report: bool = True
    workers: int | None = None
    backend: str = PROCESSES
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("--workers", self.workers), ("--threads", self.threads)):
            if value is not None and value < 1:
                raise ConfigurationError(f"{name}: expected at least 1, got {value}")

    @property
    def threads_each(self) -> int:
        """Of torch, for each bag."""
        return self.options.parameters.policy.torch_threads if self.threads is None else self.threads


@dataclass(frozen=True)
class Replayed:
    """What came of it.

    Attributes:
        result: what ``metrics.json`` has.
        run: what ``run.json`` has.
        unwritten: files that could not be written, one line each.
    """

    result: ReplayResult
    run: Mapping[str, Any]
    unwritten: tuple[str, ...] = ()


def replay(
    request: ReplayRequest,
    *,
    stopping: Callable[[], bool] = lambda: False,
    progress: Callable[[float, int], None] = lambda share, bags: None,
    open_replay: Callable[[ReplayJob], Replay] = open_replay,
    in_this_process: bool = False,
) -> Replayed:
    """Replay all bags and write what came of it. One bad bag fails its own row.

    Args:
        request: what is wanted.
        stopping: whether somebody wants an end: then what is done is written.
        progress: called with the share that is done, by size of the bags, and the number of bags that are.
        open_replay: another way of replaying; needs ``in_this_process``.
        in_this_process: one bag after the other, here; always so for one bag.

    Raises:
        PolicyRosError: nothing was replayed: no policy, no room for the results, something missing.
    """
    if request.backend == RAY:
        require_ray()
    if request.report:
        require_report_libraries()
    policy_type = _check_policy(request)
    prepare_directory(request.out, map(Path, request.bags), overwrite=request.overwrite)
    names = message_files(request.bags)
    jobs = [
        ReplayJob(
            bag=bag,
            policy=request.policy,
            policy_type=policy_type,
            options=request.options,
            messages=request.messages,
            messages_file=os.fspath(request.out / name),
            report=request.report,
        )
        for bag, name in zip(request.bags, names, strict=True)
    ]
    board = _Board(jobs, stopping, progress)
    begin = time.monotonic()
    if request.backend == RAY:
        run_on_ray(jobs, board, workers=request.workers, threads=request.threads_each)
    elif in_this_process or len(jobs) == 1:
        _run_here(jobs, board, open_replay, request.threads_each)
    else:
        policy_of.cache_clear()  # the memory
        run_in_processes(jobs, board, workers=request.workers or 1, threads=request.threads_each)
    run = run_record(
        board.results,
        time.monotonic() - begin,
        backend=request.backend,
        workers=request.workers,
        threads=request.threads_each,
    )
    policy = {"path": request.policy.path, "type": policy_type}
    result = ReplayResult(policy, describe_options(request.options), tuple(each.bag for each in board.results))
    return Replayed(result, run, tuple(_write(request, result, run, board.material)))


def _check_policy(request: ReplayRequest) -> str:
    """Refuse here what every bag would refuse; the policy's registered name."""
    elsewhere = request.backend == RAY  # then this machine may be none that policies run on
    policy = policy_of(replace(request.policy, device="cpu") if elsewhere else request.policy)
    check_fit(request.options.parameters, policy)
    if elsewhere:
        policy_of.cache_clear()
    return policy.name


def _run_here(
    jobs: Sequence[ReplayJob], watch: Watch, open_replay: Callable[[ReplayJob], Replay], threads: int
) -> None:
    torch.set_num_threads(threads)
    for index, job in enumerate(jobs):
        if watch.stopping():
            watch.done(index, without_result(job, INTERRUPTED))
            continue

        def tell(share: float, index: int = index) -> None:
            watch.progress(index, share)
            if watch.stopping():
                raise Stopped

        watch.done(index, run_job(job, tell, open_replay))


def _write(
    request: ReplayRequest, result: ReplayResult, run: dict[str, Any], material: ReportMaterial | None
) -> Iterator[str]:
    """Write the files, the most important one first; a line for each that could not be."""

    def report(path: Path) -> None:
        assert material is not None
        write_durably(path, lambda unfinished: write_report(unfinished, result, material))

    files: dict[str, Callable[[Path], None]] = {
        METRICS: lambda path: write_json(path, result.as_json()),
        RUN: lambda path: write_json(path, run),
    }
    if material is not None:
        files[REPORT] = report
    for name, write in files.items():
        path = request.out / name
        try:
            write(path)
        except OSError as error:
            remove_unfinished(path)
            yield f"{path}: cannot be written: {error.strerror}"
        except Exception as error:  # a page that cannot be drawn must not take the metrics along
            _log.exception("%s: cannot be made", path)
            remove_unfinished(path)
            yield f"{path}: cannot be made: {type(error).__name__}: {one_line(error)}"


class _Board:
    """A :class:`policy_ros.replay.jobs.Watch` that keeps what comes of the jobs."""

    def __init__(
        self, jobs: Sequence[ReplayJob], stopping: Callable[[], bool], progress: Callable[[float, int], None]
    ) -> None:
        self.stopping = stopping
        self._tell = progress
        self._sizes = [max(1, bytes_of(Path(job.bag))) for job in jobs]
        self._shares = [0.0] * len(jobs)
        self._results: dict[int, JobResult] = {}
        self._merged = 0  # so many of the first jobs are in the material
        self.material: ReportMaterial | None = None

    @property
    def results(self) -> list[JobResult]:
        """In the order of the jobs."""
        return [self._results[index] for index in sorted(self._results)]

    def done(self, index: int, result: JobResult) -> None:
        self._results[index] = result
        while self._merged in self._results:  # always in the same order; no more than needed is kept
            first = self._results[self._merged]
            if first.material is not None:
                both = [each for each in (self.material, first.material) if each is not None]
                self.material = merge(both)
                self._results[self._merged] = replace(first, material=None)
            self._merged += 1
        self.progress(index, 1.0)

    def progress(self, index: int, share: float) -> None:
        if index in self._results:
            share = 1.0  # what was told before may be heard after the end
        self._shares[index] = max(self._shares[index], min(share, 1.0))
        done = sum(share * size for share, size in zip(self._shares, self._sizes, strict=True))
        self._tell(done / sum(self._sizes), len(self._results))
