# SPDX-License-Identifier: Apache-2.0
"""Faults planted into a recording or into what is replayed on it, all the way from the bag to the metrics.

The recorded arm follows a course; the picture of each of two cameras is as bright as one of its joints is far, and the
policy answers with the positions that it reads from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bags import Recording, array, episode, image, joint_state, ns
from support.replays import COMMANDS, HORIZON, JOINTS, PARAMETERS, ScriptedConfig, ScriptedPolicy

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.parameters.node import CameraParameters, JointParameters, NodeParameters
from policy_ros.replay.bag_replay import BagReplay
from policy_ros.replay.comparison import Verdict, compare
from policy_ros.replay.metrics import EpisodeMetrics, measure
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.result import BagResult, ReplayResult
from policy_ros.replay.trace import EpisodeTrace

CAMERAS = {"left": "shoulder", "right": "elbow"}
TWO_CAMERAS = replace(PARAMETERS, cameras={name: CameraParameters() for name in CAMERAS})
EPISODES, LENGTH_S = 3, 5.0
LEVELS_PER_RAD = 100.0


def course(time_s: float) -> dict[str, float]:
    """Where the joints are told to be [rad]."""
    return {"shoulder": 0.4 * np.sin(0.9 * time_s), "elbow": 0.4 + 0.3 * np.cos(0.55 * time_s)}


def record(path: Path, camera_lag_s: float = 0.0) -> Path:
    """A bag whose pictures show the arm as it was ``camera_lag_s`` before, under the stamps of now."""
    random = np.random.default_rng(0)
    with Recording(path) as bag:
        for step in range(round(EPISODES * LENGTH_S * 100)):
            time_s = step / 100
            if step % round(LENGTH_S * 100) == 0:
                bag.add("/episode", ns(time_s), episode(ns(time_s), round(time_s / LENGTH_S), 0))
            there = [course(time_s)[joint] for joint in JOINTS]
            bag.add("/joint_states", ns(time_s), joint_state(ns(time_s), JOINTS, there))
            if step % 2 == 0:
                bag.add(COMMANDS, ns(time_s), array(there))
            if step % 4 == 0:
                for camera, joint in CAMERAS.items():
                    level = 100.0 + LEVELS_PER_RAD * course(time_s - camera_lag_s)[joint]
                    pixels = np.clip(random.normal(level, 4.0, (12, 16, 3)), 0, 255).round().astype(np.uint8)
                    bag.add(f"/camera/{camera}/image_raw", ns(time_s), image(ns(time_s), pixels))
            if (step + 1) % round(LENGTH_S * 100) == 0:
                bag.add("/episode", ns(time_s) + 1, episode(ns(time_s), int(time_s / LENGTH_S), 1, result=1))
    return path


class Watching(ScriptedPolicy):
    """Answers with the positions that it sees; ``cameras`` tells where it looks for each joint."""

    def __init__(self, cameras: tuple[str, str] = ("left", "right")) -> None:
        state, picture = FeatureSpec(FeatureType.STATE, (2,)), FeatureSpec(FeatureType.VISUAL, (3, 12, 16))
        images = {f"observation.images.{name}": picture for name in CAMERAS}
        super().__init__(config=ScriptedConfig(input_features={"observation.state": state, **images}))
        self._cameras = cameras

    def predict(self, observation: Any, *, noise: Any = None) -> Any:
        levels = [observation[f"observation.images.{name}"].mean() for name in self._cameras]
        return np.tile((np.array(levels) - 100.0) / LEVELS_PER_RAD, (HORIZON, 1)).astype(np.float32)


class Collected:
    """Keeps the metrics of every episode."""

    def __init__(self) -> None:
        self.episodes: list[EpisodeMetrics] = []

    def chunk(self, *_: Any) -> None:
        pass

    def episode(self, trace: EpisodeTrace) -> None:
        self.episodes.append(measure(trace))


def replay(path: Path, policy: ScriptedPolicy, parameters: NodeParameters = TWO_CAMERAS) -> ReplayResult:
    """What is found, as if each bag were named alike."""
    collected = Collected()
    BagReplay(path, policy, ReplayOptions(parameters)).run(collected)  # type: ignore[arg-type]
    rows = tuple(replace(each, bag="bag") for each in collected.episodes)
    return ReplayResult({"path": "watching"}, {"seed": 0}, (BagResult("bag", rows),))


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "bag")


@pytest.fixture(scope="module")
def sound(bag) -> ReplayResult:
    return replay(bag, Watching())


def values_of(result: ReplayResult) -> Callable[[str], Any]:
    values = result.summary.values()
    return lambda name: values[name]


def verdict(a: ReplayResult, b: ReplayResult, name: str) -> Verdict:
    return next(metric.verdict for metric in compare(a, b).metrics if metric.name == name)


def test_without_a_fault_nothing_is_suspected(sound):
    value = values_of(sound)
    assert sound.summary.episodes == EPISODES
    assert value("mae").high < 0.06
    assert abs(value("lag").value) <= 0.2, "it stays where it is, which is a few steps behind"
    assert sound.summary.suspected_joint_order == ()


def test_joints_in_another_order_than_the_policys_are_seen_and_named(bag, sound):
    joints = JointParameters(names=tuple(reversed(JOINTS)))
    faulty = replay(bag, Watching(), replace(TWO_CAMERAS, joints=joints))
    (suspected,) = faulty.summary.suspected_joint_order
    assert set(suspected.predicted) == set(JOINTS)
    assert suspected.fits == tuple(reversed(suspected.predicted))
    assert values_of(faulty)("mae").low > 5.0 * values_of(sound)("mae").high


def test_cameras_in_each_others_place_are_seen(bag, sound):
    faulty = replay(bag, Watching(("right", "left")))
    assert values_of(faulty)("mae").low > 5.0 * values_of(sound)("mae").high
    assert verdict(sound, faulty, "mae") is verdict(sound, faulty, "executed_mae") is Verdict.WORSE


def test_a_camera_that_shows_the_past_is_seen_as_lag(tmp_path, sound):
    faulty = replay(record(tmp_path / "bag", camera_lag_s=1.0), Watching())
    lag, usual = values_of(faulty)("lag"), values_of(sound)("lag").value
    assert lag.value - usual == pytest.approx(1.0, abs=0.06)
    assert lag.low > 0.8
    assert values_of(faulty)("lag_gain").low > 0.7
    assert faulty.summary.suspected_joint_order == ()
    assert verdict(sound, faulty, "mae") is Verdict.WORSE
    assert verdict(sound, faulty, "observation_age.p50") is Verdict.UNCLEAR, "its stamps are those of now"
