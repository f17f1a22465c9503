# SPDX-License-Identifier: Apache-2.0
"""The policies that are benchmarked. Every episode gets a policy with a noise of its own, the same in every mode."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from policy_ros.bench.execution.expert import Expert
from policy_ros.bench.execution.stub import MixturePolicy
from policy_ros.bench.execution.task import AHEAD, HORIZON, JOINTS, ForkedPath
from policy_ros.bench.execution.training import Say, TrainingOptions, trained_policy
from policy_ros.data import ACTION, OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE
from policy_ros.errors import ConfigurationError
from policy_ros.execution import ChunkPolicy
from policy_ros.policies.seeded import SeededPolicy

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy

STUB = "stub"
FLOW = "flow"
STUB_STEPS = 20  # its velocity field is steeper than a network's: with fewer, guidance overshoots between the two ways


@dataclass(frozen=True)
class Contender:
    """A policy under test.

    Attributes:
        name: for tables and file names.
        description: how it was made, one line.
        horizon: H.
        supports_guidance: whether it can be guided.
        make: the policy for one episode, from the generator of its noise.
    """

    name: str
    description: str
    horizon: int
    supports_guidance: bool
    make: Callable[[np.random.Generator], ChunkPolicy]


def make_contenders(names: str, path: ForkedPath, stub_steps: int, cache: Path, say: Say) -> list[Contender]:
    """Contenders by name: ``stub``, ``flow``, ``all`` for both, or the directory of a checkpoint.

    Args:
        names: as above.
        path: the task.
        stub_steps: Euler steps of the stub.
        cache: of trained policies.
        say: is told what takes long.

    Raises:
        PolicyRosError: there is no such policy, or it is not one for this task.
    """
    if names == "all":
        return [stub_contender(path, stub_steps), flow_contender(cache, say)]
    if names == STUB:
        return [stub_contender(path, stub_steps)]
    if names == FLOW:
        return [flow_contender(cache, say)]
    return [checkpoint_contender(names)]


def stub_contender(path: ForkedPath, denoising_steps: int = STUB_STEPS) -> Contender:
    """The closed-form policy."""
    if denoising_steps < 1:
        raise ConfigurationError(f"bench execution: expected at least 1 denoising step, got {denoising_steps}")
    expert = Expert(path)
    return Contender(
        STUB,
        f"closed-form flow to a mixture of both ways, {denoising_steps} Euler steps",
        HORIZON,
        True,
        lambda noise: MixturePolicy(expert, denoising_steps=denoising_steps, noise=noise),
    )


def flow_contender(cache: Path, say: Say, options: TrainingOptions = TrainingOptions()) -> Contender:  # noqa: B008
    """The flow policy, trained unless the cache has it."""
    policy, training = trained_policy(options, cache, say)
    return _of_policy(FLOW, training.summary(), policy)


def checkpoint_contender(directory: str | os.PathLike[str]) -> Contender:
    """A checkpoint that was trained on this task.

    Raises:
        CheckpointError: it cannot be read.
        ConfigurationError: it has other inputs or another action than this task.
    """
    from policy_ros.policies import load_policy

    policy = load_policy(directory, device="cpu")
    offered = {OBSERVATION_STATE: (len(JOINTS),), OBSERVATION_ENVIRONMENT_STATE: (AHEAD,)}
    wanted = {key: spec.shape for key, spec in policy.config.observed_features.items()}
    if any(offered.get(key) != shape for key, shape in wanted.items()) or policy.config.action_dim != len(JOINTS):
        raise ConfigurationError(
            f"bench execution: expected a policy for {offered} and {len(JOINTS)} actions, got one for {wanted} and "
            f"{policy.config.output_features[ACTION].shape[0]}: train it on this benchmark's task"
        )
    policy.freeze()
    return _of_policy(Path(directory).name, f"checkpoint {directory}", policy)


def _of_policy(name: str, description: str, policy: Policy) -> Contender:
    config = policy.config
    return Contender(
        name, description, config.chunk_size, config.supports_guidance, lambda noise: SeededPolicy(policy, noise)
    )
