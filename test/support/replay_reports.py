# SPDX-License-Identifier: Apache-2.0
"""Results and material of replays that were made up, for tests of the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from policy_ros.data import Observation
from policy_ros.replay.metrics import measure
from policy_ros.replay.report import ReportCollector, ReportMaterial
from policy_ros.replay.result import BagResult, ReplayResult
from policy_ros.replay.trace import EpisodeTrace
from support.replay_traces import make_trace

NASTY = '</script><b onerror="alert(1)">&amp;\'"'  # a text that must stay one
OPTIONS = {
    "mode": "overlap",
    "delay": "120 ms",
    "seed": 0,
    "namespace": "/",
    "action_topic": None,
    "reset_after_s": None,
    "parameters": {"gate.max_velocity": [2.0, 2.5, 3.0], "policy.prompt": NASTY},
}


def pictures(sequence: int, begin_ns: int, cameras: Sequence[str] = ("top", "wrist"), side: int = 24) -> Observation:
    """An observation of cameras 15 ms old whose brightness is the number of the chunk."""
    stamp_ns = begin_ns - 15_000_000
    images = {
        f"observation.images.{camera}": np.full((3, side, side + 8), sequence % 256, np.uint8) for camera in cameras
    }
    return Observation(images, {f"camera/{camera}": stamp_ns for camera in cameras}, stamp_ns)


def collected(traces: Iterable[EpisodeTrace], cameras: Sequence[str] = ("top", "wrist")) -> ReportMaterial:
    """What a collector keeps of these episodes."""
    collector = ReportCollector()
    for trace in traces:
        for chunk in trace.chunks:
            collector.chunk(chunk, pictures(chunk.sequence, chunk.begin_ns, cameras))
        collector.episode(trace)
    return collector.material()


def result_of(traces: Sequence[EpisodeTrace], *failed: BagResult) -> ReplayResult:
    """These episodes as those of one bag, and bags that failed."""
    length_s = sum(trace.duration_s for trace in traces)
    bag = BagResult("/recordings/made_up", tuple(map(measure, traces)), length_s=length_s)
    return ReplayResult({"path": "checkpoints/pick_act", "type": "act"}, OPTIONS, (bag, *failed))


def made_up_report() -> tuple[ReplayResult, ReportMaterial]:
    """Three episodes with a bit of everything, nasty names among them, and a bag that failed."""
    traces = [
        make_trace(index=0, error=0.03, noise=0.01, seam=0.05),
        make_trace(index=1, phase=0.7, hold=(100, 160), noise=0.02),
        make_trace(
            index=2, phase=1.4, clamped=[(i, 1) for i in range(40, 90)], starved=(200, 210), noise=0.03, delay=4
        ),
    ]
    traces = [
        replace(
            trace,
            joint_names=(*trace.joint_names[:2], NASTY),
            episode=replace(trace.episode, task=NASTY),
            holds=tuple(replace(hold, detail=NASTY) for hold in trace.holds),
        )
        for trace in traces
    ]
    error = "/recordings/broken: expected a topic 'camera/top/image_raw', got none"
    return result_of(traces, BagResult("/recordings/broken", error=error)), collected(traces, ("top", NASTY))
