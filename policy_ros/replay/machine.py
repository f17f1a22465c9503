# SPDX-License-Identifier: Apache-2.0
"""``run.json``: what is not the same every time. How fast a replay was, how long inferences took, with what, where."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.replay.delays import LATENCIES_KEY
from policy_ros.replay.jobs import JobResult

_PACKAGES = ("policy_ros", "torch", "numpy", "rosbags")
_MAX_SAMPLES = 10_000  # of the latencies; more say nothing more about their distribution


def run_record(
    jobs: Sequence[JobResult], wall_s: float, *, backend: str, workers: int | None, threads: int
) -> dict[str, Any]:
    """Content of the file; speeds are None where a bag was not replayed to its end.

    Args:
        jobs: what came of them.
        wall_s: of the whole replay [s].
        backend: that ran them.
        workers: bags at a time.
        threads: of torch, for each.
    """
    latencies = np.sort(np.array([each for job in jobs for each in job.run.compute_s], dtype=np.float64))
    length_s = sum(job.bag.length_s for job in jobs)
    return {
        "wall_s": round(wall_s, 3),
        "recorded_s": round(length_s, 3),
        "times_real_time": None if any(job.bag.error for job in jobs) else _speed(length_s, wall_s),
        "backend": backend,
        "workers": workers,
        "threads": threads,
        "bags": [
            {
                "path": job.bag.path,
                "wall_s": round(job.run.wall_s, 3),
                "recorded_s": round(job.bag.length_s, 3),
                "times_real_time": None if job.bag.error else _speed(job.bag.length_s, job.run.wall_s),
            }
            for job in jobs
        ],
        "inference_s": _summary(latencies),
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cpus": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
        },
        "versions": {name: _version(name) for name in _PACKAGES},
        LATENCIES_KEY: [round(each, 6) for each in _thinned(latencies).tolist()],
    }


def _speed(recorded_s: float, wall_s: float) -> float:
    return round(recorded_s / wall_s, 2) if wall_s > 0.0 else 0.0


def _summary(latencies: NDArray[np.float64]) -> dict[str, float | int]:
    if not len(latencies):
        return {"count": 0}
    values = {"mean": latencies.mean(), "p50": np.quantile(latencies, 0.5), "p99": np.quantile(latencies, 0.99)}
    return {
        "count": len(latencies),
        **{name: round(float(value), 6) for name, value in values.items()},
        "max": round(float(latencies[-1]), 6),
    }


def _thinned(latencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of many, order statistics at equal distances, the smallest and the largest among them."""
    if len(latencies) <= _MAX_SAMPLES:
        return latencies
    kept: NDArray[np.float64] = latencies[np.linspace(0, len(latencies) - 1, _MAX_SAMPLES).round().astype(int)]
    return kept


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
