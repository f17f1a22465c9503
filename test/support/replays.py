# SPDX-License-Identifier: Apache-2.0
"""Small recordings of a robot with two joints and a camera, and policies whose every row is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from policy_ros.data import FeatureSpec, FeatureType, Observation
from policy_ros.parameters.node import (
    CameraParameters,
    ExecutionParameters,
    GateParameters,
    JointParameters,
    NodeParameters,
    OutputParameters,
)
from policy_ros.policies.base import Policy
from policy_ros.policies.config import PolicyConfig
from policy_ros.replay.trace import ChunkTrace, EpisodeTrace
from support.bags import Recording, array, episode, image, joint_state, ns

JOINTS = ("shoulder", "elbow")
RATE_HZ = 50.0
HORIZON = 10
COMMANDS = "/arm/commands"
PARAMETERS = NodeParameters(
    joints=JointParameters(names=JOINTS),
    cameras={"front": CameraParameters()},
    outputs={"arm": OutputParameters(type="position_array", topic="arm/commands", joints=JOINTS)},
    execution=ExecutionParameters(rate_hz=RATE_HZ, mode="overlap", execution_horizon=5),
    gate=GateParameters(use_robot_description=False),
)

Path2 = Callable[[float], Sequence[float]]


def course(time_s: float) -> tuple[float, float]:
    """Where the joints are told to be [rad]; both differ."""
    return 0.3 * np.sin(time_s), 0.1 * np.cos(2.0 * time_s)


def record(
    path: Path,
    duration_s: float = 2.0,
    *,
    episodes: Sequence[tuple[float, float]] = (),
    discarded: Sequence[int] = (),
    commands: bool = True,
    camera: bool = True,
    silent: tuple[float, float] = (0.0, 0.0),
    jump_at_s: float | None = None,
    storage: str = "mcap",
    compression: str | None = None,
) -> Path:
    """A bag: joint states at 100 Hz, commands at 50 Hz, pictures at 25 Hz, all stamped when they were logged.

    Args:
        path: to be made.
        duration_s: of the whole recording [s].
        episodes: begin and end of each [s]; none: the bag has no events.
        discarded: indices of episodes that were thrown away afterwards.
        commands: whether it has the topic of the commands.
        camera: whether it has the topic of the camera.
        silent: the camera sends nothing from then till then [s].
        jump_at_s: header stamps are two seconds older from there on, for half a second [s].
        storage, compression: of the bag.
    """
    generator = np.random.default_rng(0)

    def stamp(time_s: float) -> int:
        return ns(time_s - (2.0 if jump_at_s is not None and 0.0 <= time_s - jump_at_s < 0.5 else 0.0))

    events = [(begin, 0, i) for i, (begin, _) in enumerate(episodes)] + [
        (end, 1, i) for i, (_, end) in enumerate(episodes)
    ]
    events += [(episodes[i][1] + 1e-6, 2, i) for i in discarded]
    events.sort()
    with Recording(path, storage, compression) as bag:
        for step in range(round(duration_s * 100)):
            time_s = step / 100
            while events and events[0][0] <= time_s:
                at_s, event, index = events.pop(0)
                bag.add("/episode", ns(at_s), episode(ns(at_s), index, event, result=1, task="fetch"))
            bag.add("/joint_states", ns(time_s), joint_state(stamp(time_s), JOINTS, course(time_s)))
            if commands and step % 2 == 0:
                bag.add(COMMANDS, ns(time_s), array(course(time_s)))
            if camera and step % 4 == 0 and not silent[0] <= time_s < silent[1]:
                pixels = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
                bag.add("/camera/front/image_raw", ns(time_s), image(stamp(time_s), pixels))
        for at_s, event, index in events:
            bag.add("/episode", ns(at_s), episode(ns(at_s), index, event, result=1, task="fetch"))
    return path


@dataclass(frozen=True, kw_only=True)
class ScriptedConfig(PolicyConfig):
    """Two joints and a camera."""

    input_features: Any = field(
        default_factory=lambda: {
            "observation.state": FeatureSpec(FeatureType.STATE, (2,)),
            "observation.images.front": FeatureSpec(FeatureType.VISUAL, (3, 12, 16)),
        }
    )
    output_features: Any = field(default_factory=lambda: {"action": FeatureSpec(FeatureType.ACTION, (2,))})
    n_action_steps: int = HORIZON

    @property
    def chunk_size(self) -> int:
        return HORIZON


class ScriptedPolicy(Policy):
    """Answers with rows of a function of the measured state.

    Args:
        rows: ``(2,)`` state to ``(H, 2)``; default: stay there.
        config: what it observes.
    """

    name = "scripted"
    config_class = ScriptedConfig

    def __init__(
        self,
        rows: Callable[[Any], Any] = lambda state: np.repeat(state[None], HORIZON, axis=0),
        config: ScriptedConfig | None = None,
    ) -> None:
        super().__init__(config or ScriptedConfig())
        self._rows = rows

    def predict(self, observation: Any, *, noise: Any = None) -> Any:
        return np.asarray(self._rows(observation["observation.state"]), dtype=np.float32)

    def infer(self, batch: Any, noise: Any) -> Any:
        raise NotImplementedError

    def loss(self, batch: Any) -> Any:
        raise NotImplementedError


class Witness:
    """Keeps everything that a replay tells."""

    def __init__(self) -> None:
        self.chunks: list[ChunkTrace] = []
        self.observations: list[Observation] = []
        self.traces: list[EpisodeTrace] = []

    def chunk(self, chunk: ChunkTrace, observation: Observation) -> None:
        self.chunks.append(chunk)
        self.observations.append(observation)

    def episode(self, trace: EpisodeTrace) -> None:
        self.traces.append(trace)


def with_execution(parameters: NodeParameters = PARAMETERS, **changes: Any) -> NodeParameters:
    """The parameters with other ``execution.*``."""
    return replace(parameters, execution=replace(parameters.execution, **changes))
