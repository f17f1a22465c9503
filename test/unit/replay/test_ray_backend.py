# SPDX-License-Identifier: Apache-2.0
"""Bags on a real Ray cluster of this machine."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path

import pytest
from support.bags import storage_file
from support.replays import PARAMETERS, record

from policy_ros.errors import ConfigurationError
from policy_ros.replay.jobs import INTERRUPTED, JobResult, PolicySource, ReplayJob
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.ray_backend import run_on_ray
from policy_ros.replay.run import RAY, ReplayRequest, replay

EPISODES = ((0.2, 0.7), (0.8, 1.3))
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra 'ray'")


class Deadly(PolicySource):
    """Kills the process that it arrives in."""

    def __reduce__(self):
        return signal.raise_signal, (signal.SIGKILL,)


@pytest.fixture
def request_of(checkpoint: Path, tmp_path: Path):
    def make(*bags: str, out: str = "out", **changes) -> ReplayRequest:
        return ReplayRequest(
            bags=bags,
            policy=PolicySource(os.path.relpath(checkpoint, tmp_path), device="cpu"),
            options=ReplayOptions(PARAMETERS),
            out=Path(out),
            messages="predictions",
            report=False,
            **changes,
        )

    return make


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster of two CPUs on the loopback, without dashboard and usage statistics; nothing of it is left."""
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",  # no token in the home folder
        "RAY_raylet_start_wait_time_s": "300",  # for a machine that others keep busy
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),  # tasks find what this process finds
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1"
        )
        yield
        ray.shutdown()


@needs_ray
def test_bags_on_ray_give_the_same_as_here_and_a_bad_one_fails_alone(ray, request_of, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "a", 1.5, episodes=EPISODES)
    record(tmp_path / "blind", 1.0, camera=False)
    record(tmp_path / "cut", 2.0, episodes=EPISODES)
    file = storage_file(tmp_path / "cut")
    os.truncate(file, file.stat().st_size * 6 // 10)
    bags = ("a", "blind", "cut", "nowhere")
    shares: list[float] = []
    done = replay(request_of(*bags, backend=RAY), progress=lambda share, bags: shares.append(share))
    assert [bag.status for bag in done.result.bags] == ["complete", "failed", "partial", "failed"]
    assert shares[-1] == pytest.approx(1.0) and shares == sorted(shares)
    assert (tmp_path / "out/a.replay.mcap").exists()
    replay(request_of(*bags, out="here"), in_this_process=True)
    assert (tmp_path / "out/metrics.json").read_bytes() == (tmp_path / "here/metrics.json").read_bytes()


@needs_ray
def test_a_task_that_dies_fails_its_bag_and_who_wants_an_end_gets_one(ray, request_of, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "a", 1.0)
    record(tmp_path / "long", 200.0)
    request = request_of("a", "a", "long")
    made = [ReplayJob(bag, request.policy, "act", request.options) for bag in request.bags]
    made[0] = changed(made[0], policy=Deadly(request.policy.path))
    results: dict[int, JobResult] = {}

    class Watch:
        def done(self, index: int, result: JobResult) -> None:
            results[index] = result

        def progress(self, index: int, share: float) -> None:
            pass

        def stopping(self) -> bool:
            return len(results) == 2  # the long one runs, or waits for a CPU

    run_on_ray(made, Watch(), workers=None, threads=1)
    assert results[1].bag.status == "complete" and results[0].bag.status == "failed"
    assert "the task that replayed it was lost" in results[0].bag.error
    assert INTERRUPTED in results[2].bag.error


def test_without_ray_it_says_what_to_install(request_of, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else found(name))
    with pytest.raises(ConfigurationError, match=r"pip install 'policy_ros\[ray\]'"):
        replay(request_of("a", backend=RAY))
