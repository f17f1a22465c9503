# SPDX-License-Identifier: Apache-2.0
"""The configuration that a soak runs with, and the bounds that follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from policy_ros.parameters.build import make_gate
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.schema import read
from policy_ros.ros.installation import share_directory
from soaking.checks import OutputLimits

SLACK_S = 0.3  # transport and scheduling between a tick's look at the clock and its command, on a busy machine
CHUNK_SIZE = 50
IMAGE_WIDTH, IMAGE_HEIGHT = 160, 120


@dataclass(frozen=True)
class Configuration:
    """Parameters of the node, by name and read, and what the referee has to know of them."""

    values: Mapping[str, Any]
    parameters: NodeParameters

    @property
    def dt_s(self) -> float:
        """Control period [s]."""
        return 1.0 / self.parameters.execution.rate_hz

    @property
    def braking_s(self) -> float:
        """Longest time from a hold to rest [s]."""
        return make_gate(self.parameters).longest_ramp_s()

    @property
    def chunk_s(self) -> float:
        """T of a fault of the policy: what one chunk commits to at most, and braking [s]."""
        return CHUNK_SIZE * self.dt_s + self.braking_s

    @property
    def bounds_s(self) -> dict[str, float]:
        """T of each input stream: the age of its newest sample beyond which nothing may be commanded [s]."""
        parameters, braking_s = self.parameters, self.braking_s
        tail_s = parameters.observation.tail_s + braking_s
        cameras = {f"camera/{name}": camera.max_age_s + tail_s for name, camera in parameters.cameras.items()}
        return {"joint_states": parameters.joints.max_age_s + braking_s, **cameras}

    @property
    def hold_commands(self) -> int:
        """Commands that a hold takes: those of braking, and the one to stay."""
        return math.ceil(self.braking_s / self.dt_s) + 1

    def endpoints(self) -> dict[str, str]:
        """Topics of the active node and which end of them it has."""
        parameters = self.parameters
        published = [output.topic for output in parameters.outputs.values()]
        published += ["policy/action_chunk", "policy/status", "diagnostics"]
        subscribed = [parameters.joints.topic, *(camera.topic for camera in parameters.cameras.values())]
        return {**dict.fromkeys(published, "publisher"), **dict.fromkeys(subscribed, "subscription")}

    def outputs(self) -> dict[str, OutputLimits]:
        """Limits of each output."""
        parameters, gate = self.parameters, self.parameters.gate
        names = parameters.joints.names
        result = {}
        for name, output in parameters.outputs.items():
            columns = [names.index(joint) for joint in output.joints]
            result[name] = OutputLimits(
                joints=output.joints,
                lower=np.array(gate.position_min)[columns],
                upper=np.array(gate.position_max)[columns],
                max_step=np.array(gate.max_velocity)[columns] * self.dt_s,
            )
        return result


def load() -> Configuration:
    """The simulated robot's configuration and what the soak changes of it."""
    config = share_directory() / "config"
    files = (config / "sim.yaml", config / "sim_untrained.yaml", Path(__file__).with_name("soak.yaml"))
    values: dict[str, Any] = {}
    for file in files:
        values.update(_flat(yaml.safe_load(file.read_text())["/**"]["ros__parameters"]))
    return Configuration(values, read(NodeParameters, values))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
