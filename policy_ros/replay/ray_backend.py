# SPDX-License-Identifier: Apache-2.0
"""Bags on a Ray cluster, whose nodes have this package and see bags, checkpoint and output under the same paths."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from policy_ros.errors import ConfigurationError
from policy_ros.replay.jobs import (
    INTERRUPTED,
    JobResult,
    ReplayJob,
    Stopped,
    Watch,
    one_line,
    policy_of,
    run_job,
    without_result,
)
from policy_ros.replay.workers import STOP_TIMEOUT_S

_POLL_S = 0.5
_ADDRESS = "RAY_ADDRESS"


def require_ray() -> None:
    """Refuse the backend where Ray is not installed.

    Raises:
        ConfigurationError: says what to install.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigurationError("--backend ray: needs ray: pip install 'policy_ros[ray]'")


def run_on_ray(jobs: Sequence[ReplayJob], watch: Watch, *, workers: int | None, threads: int) -> None:
    """Replay bags as tasks of the cluster at ``RAY_ADDRESS``, else of one on this machine that ends with the replay.

    Args:
        jobs: a bag each.
        watch: is told, and asked.
        workers: at most so many at a time; None: all that the cluster has room for.
        threads: of torch, and CPUs, for each.
    """
    with _cluster():
        _Tasks(jobs, watch, threads).run(len(jobs) if workers is None else workers)


class _Tasks:
    """The tasks that run or wait for room on the cluster."""

    def __init__(self, jobs: Sequence[ReplayJob], watch: Watch, threads: int) -> None:
        import ray

        self._ray = ray
        self._jobs = jobs
        self._watch = watch
        self._board: Any = ray.remote(num_cpus=0)(_Board).remote()
        on_gpu = any((job.policy.device or "").startswith("cuda") for job in jobs)
        self._task = ray.remote(num_cpus=threads, num_gpus=int(on_gpu), max_retries=0)(_replay)
        self._threads = threads
        self._waiting = deque(range(len(jobs)))
        self._running: dict[Any, int] = {}  # reference of a result to the number of its job

    def run(self, limit: int) -> None:
        """Until every job is done."""
        stop_at: float | None = None
        while self._waiting or self._running:
            if stop_at is None and self._watch.stopping():
                stop_at = time.monotonic() + STOP_TIMEOUT_S
                self._stop()
            while self._waiting and len(self._running) < limit:
                self._begin(self._waiting.popleft())
            ended, _ = self._ray.wait(list(self._running), timeout=_POLL_S) if self._running else ([], [])
            for reference in ended:
                self._end(reference)
            for index, share in self._ray.get(self._board.look.remote()).items():
                self._watch.progress(index, share)
            if stop_at is not None and time.monotonic() > stop_at:
                for reference in list(self._running):  # runs on, or has never begun
                    self._ray.cancel(reference, force=True)
                    self._done(reference, INTERRUPTED)

    def _begin(self, index: int) -> None:
        reference = self._task.remote(self._jobs[index], index, self._board, self._threads, os.getcwd())
        self._running[reference] = index

    def _end(self, reference: Any) -> None:
        try:
            result: JobResult = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            text = str(error).strip()
            reason = " ".join(text.splitlines()[0].split()) if text else ""
            self._done(reference, f"the task that replayed it was lost: {type(error).__name__}: {reason}")
            return
        self._watch.done(self._running.pop(reference), result)

    def _done(self, reference: Any, reason: str) -> None:
        index = self._running.pop(reference)
        job = self._jobs[index]
        self._watch.done(index, without_result(job, f"{job.bag}: {reason}"))

    def _stop(self) -> None:
        self._ray.get(self._board.stop.remote())
        while self._waiting:
            index = self._waiting.popleft()
            self._watch.done(index, without_result(self._jobs[index], INTERRUPTED))


class _Board:
    """An actor: what tasks tell, and whether they are to stop."""

    def __init__(self) -> None:
        self._shares: dict[int, float] = {}
        self._stopping = False

    def tell(self, index: int, share: float) -> bool:
        self._shares[index] = share
        return self._stopping

    def look(self) -> dict[int, float]:
        shares, self._shares = self._shares, {}
        return shares

    def stop(self) -> None:
        self._stopping = True


def _replay(job: ReplayJob, index: int, board: Any, threads: int, folder: str) -> JobResult:
    """The task."""
    import ray
    import torch

    told_s = 0.0

    def tell(share: float) -> None:
        nonlocal told_s
        if time.monotonic() - told_s < _POLL_S:
            return
        told_s = time.monotonic()
        if ray.get(board.tell.remote(index, share)):
            raise Stopped

    try:
        os.chdir(folder)  # relative paths mean the same as where the replay was started
    except OSError as error:
        return without_result(job, f"{job.bag}: expected the folder '{folder}' on every node, {one_line(error)}")
    torch.set_num_threads(threads)
    with suppress(Exception):  # said by the job itself
        policy_of(job.policy)  # does not count as time of the bag
    return run_job(job, tell)


@contextmanager
def _cluster() -> Iterator[None]:
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    handler = signal.getsignal(signal.SIGTERM)
    if os.environ.get(_ADDRESS):
        ray.init(address=os.environ[_ADDRESS], **quiet)
    else:
        ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
    signal.signal(signal.SIGTERM, handler)  # Ray has taken it
    try:
        yield
    finally:
        ray.shutdown()
