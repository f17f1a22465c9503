# SPDX-License-Identifier: Apache-2.0
"""Bags in several processes of this machine.

Each process has a pipe of its own, so that it is known whose bag died with it. (A ``ProcessPoolExecutor`` that is
broken takes all running jobs along, and does not say which of them broke it.)
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait

import torch

from policy_ros.replay.jobs import INTERRUPTED, JobResult, ReplayJob, Stopped, Watch, policy_of, run_job, without_result

STOP_TIMEOUT_S = 10.0  # that a bag has to come to an end of its own when somebody wants one
_POLL_S = 0.2
_spawn = multiprocessing.get_context("spawn")  # forked, a process would inherit the locks of torch's threads


def run_in_processes(jobs: Sequence[ReplayJob], watch: Watch, *, workers: int, threads: int) -> None:
    """Replay bags, each in one of ``workers`` processes with ``threads`` threads of torch.

    A process that dies fails its bag; another takes its place.
    """
    pool = _Pool(jobs, watch, threads)
    try:
        pool.run(min(workers, len(jobs)))
    finally:
        pool.end()


class _Pool:
    """The processes, and who does what."""

    def __init__(self, jobs: Sequence[ReplayJob], watch: Watch, threads: int) -> None:
        self._jobs = jobs
        self._watch = watch
        self._threads = threads
        self._waiting = deque(range(len(jobs)))
        self._workers: list[_Worker] = []

    def run(self, size: int) -> None:
        """Until every job is done."""
        stop_at: float | None = None
        while self._waiting or self._busy():
            if stop_at is None and self._watch.stopping():
                stop_at = time.monotonic() + STOP_TIMEOUT_S
                self._stop()
            while self._waiting and len(self._workers) < size:
                self._workers.append(_Worker(self._threads))
            for worker in self._workers:
                if worker.index is None and self._waiting:
                    index = self._waiting.popleft()
                    worker.begin(index, self._jobs[index])
            ready = wait([worker.connection for worker in self._workers], _POLL_S)
            for worker in [each for each in self._workers if each.connection in ready]:
                self._hear(worker)
            if stop_at is not None and time.monotonic() > stop_at:
                for worker in self._busy():
                    self._lose(worker, f"{INTERRUPTED}: it did not stop within {STOP_TIMEOUT_S:g} s and was killed")

    def end(self) -> None:
        """No process is left."""
        for worker in self._workers:
            worker.end()

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.index is not None]

    def _stop(self) -> None:
        while self._waiting:
            index = self._waiting.popleft()
            self._watch.done(index, without_result(self._jobs[index], INTERRUPTED))
        for worker in self._busy():
            worker.ask_to_stop()

    def _hear(self, worker: _Worker) -> None:
        try:
            told: float | JobResult = worker.connection.recv()
        except (EOFError, OSError):
            self._lose(worker, f"the process that replayed it ended {worker.end()}")
            return
        assert worker.index is not None
        if isinstance(told, JobResult):
            index, worker.index = worker.index, None
            self._watch.done(index, told)
        else:
            self._watch.progress(worker.index, told)

    def _lose(self, worker: _Worker, reason: str) -> None:
        worker.end()
        self._workers.remove(worker)
        if worker.index is not None:
            job = self._jobs[worker.index]
            self._watch.done(worker.index, without_result(job, f"{job.bag}: {reason}"))


class _Worker:
    """A process that replays one bag after the other.

    Attributes:
        index: number of the job in work; None: idle.
        connection: what it tells: shares of a job, then its result.
    """

    def __init__(self, threads: int) -> None:
        self.index: int | None = None
        self.connection, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_serve, args=(theirs, threads), daemon=True)
        with _deaf_children():
            self._process.start()
        theirs.close()

    def begin(self, index: int, job: ReplayJob) -> None:
        """Give it a job."""
        self.index = index
        self._send(job)

    def ask_to_stop(self) -> None:
        """Let it end its job where it is."""
        self._send(None)

    def end(self) -> str:
        """End it; how it ended, in words."""
        busy = self.index is not None
        self.connection.close()  # an idle one ends by itself
        self._process.join(0.5 if busy else STOP_TIMEOUT_S)
        self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        if code >= 0:
            return f"with exit status {code}"
        hint = "; out of memory? fewer --workers need less" if -code == signal.SIGKILL else ""
        return f"by {signal.Signals(-code).name}{hint}"

    def _send(self, message: ReplayJob | None) -> None:
        with suppress(OSError):  # it is dead, as the next look at its connection finds
            self.connection.send(message)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal: those started within are asked to end by their parent only."""
    resource_tracker.ensure_running()  # otherwise started with the first child, which unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, threads: int) -> None:
    """What a process does."""
    torch.set_num_threads(threads)
    with suppress(EOFError, OSError):  # the other end is closed
        while True:
            job: ReplayJob | None = connection.recv()
            if job is not None:
                with suppress(Exception):  # said by the job itself
                    policy_of(job.policy)  # does not count as time of the bag
                connection.send(run_job(job, lambda share: _tell(connection, share)))


def _tell(connection: Connection, share: float) -> None:
    try:
        connection.send(share)
        if connection.poll():
            connection.recv()
            raise Stopped
    except (EOFError, OSError):
        os._exit(1)  # nobody wants the result any more
