# SPDX-License-Identifier: Apache-2.0
"""A tiny flow policy, trained on demonstrations of the task: seconds on one core, the same weights every time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policy_ros.bench.execution.expert import Expert
from policy_ros.bench.execution.task import AHEAD, HORIZON, JOINTS, ForkedPath
from policy_ros.data import ACTION, OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE
from policy_ros.errors import CheckpointError

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy

Say = Callable[[str], None]

_REPORT = "training.json"
_REVISION = 1  # raise it when the task or this file changes what is learnt: cached checkpoints are then left alone


@dataclass(frozen=True)
class TrainingOptions:
    """How the policy is made; a checkpoint in the cache belongs to one set of options.

    Attributes:
        seed: of demonstrations, initial weights and batches.
        demonstrations: how many.
        steps: of the optimiser.
        batch_size: demonstrations per step.
        learning_rate: the largest of a one-cycle schedule.
        dim_model, dim_feedforward, n_heads, n_encoder_layers, n_decoder_layers: size of the network.
        num_inference_steps: n, Euler steps from noise to actions.
    """

    seed: int = 0
    demonstrations: int = 20_000
    steps: int = 1200
    batch_size: int = 64
    learning_rate: float = 6e-3
    dim_model: int = 48
    dim_feedforward: int = 96
    n_heads: int = 4
    n_encoder_layers: int = 1
    n_decoder_layers: int = 2
    num_inference_steps: int = 10

    @property
    def key(self) -> str:
        """Name of these options in the cache."""
        text = json.dumps({"revision": _REVISION, **dataclasses.asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Training:
    """How a policy came about.

    Attributes:
        options: what was asked for.
        loss: flow-matching loss, mean of the last tenth of the steps.
        seconds: wall time of the training.
        cached: whether the policy was read instead of trained.
    """

    options: TrainingOptions
    loss: float
    seconds: float
    cached: bool

    def summary(self) -> str:
        """One line."""
        options = self.options
        where = "read from the cache" if self.cached else "now"
        return (
            f"flow policy trained on {options.demonstrations} demonstrations, {options.steps} steps of "
            f"{options.batch_size}, seed {options.seed}: loss {self.loss:.3f}, {self.seconds:.0f} s ({where})"
        )


def default_cache() -> Path:
    """Below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "policy_ros" / "bench"


def trained_policy(options: TrainingOptions, cache: Path, say: Say) -> tuple[Policy, Training]:
    """The policy for these options, trained unless ``cache`` has it; frozen, on the CPU.

    Raises:
        CheckpointError: the cached checkpoint cannot be read.
    """
    from policy_ros.policies import load_policy

    directory = cache / f"flow-{options.key}"
    if not directory.is_dir():
        say(f"training the flow policy, {options.steps} steps on one core; it is kept in {directory}")
        began = time.monotonic()
        policy, loss = train(options)
        _keep(policy, directory, {"loss": loss, "seconds": time.monotonic() - began})
        cached = False
    else:
        cached = True
    policy = load_policy(directory, device="cpu")
    policy.freeze()
    try:
        report = json.loads((directory / _REPORT).read_text())
        return policy, Training(options, float(report["loss"]), float(report["seconds"]), cached)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{directory}: expected {_REPORT} beside the weights, got {error}; remove this directory to train again"
        ) from error


def train(options: TrainingOptions) -> tuple[Policy, float]:
    """A freshly trained policy and its loss. Leaves torch's global generator as it was."""
    path = ForkedPath()
    demonstrations = Expert(path).demonstrate(options.demonstrations, np.random.default_rng(options.seed))
    data = _Data(path, *demonstrations)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        policy = _make_policy(options, data.statistics())
        optimizer = torch.optim.AdamW(policy.parameters(), lr=options.learning_rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, options.learning_rate, total_steps=options.steps, pct_start=0.08
        )
        losses = []
        policy.train()
        for _ in range(options.steps):
            loss, _ = policy(data.draw(options.batch_size))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
    policy.eval()
    return policy, float(np.mean(losses[-max(1, options.steps // 10) :]))


class _Data:
    """Demonstrations as a policy sees them."""

    def __init__(self, path: ForkedPath, positions: NDArray[np.float64], chunks: NDArray[np.float64]) -> None:
        self._columns = {
            OBSERVATION_STATE: torch.from_numpy(positions.astype(np.float32)),
            OBSERVATION_ENVIRONMENT_STATE: torch.from_numpy(path.ahead(positions)),
            ACTION: torch.from_numpy(chunks.astype(np.float32)),
        }

    def draw(self, size: int) -> dict[str, Tensor]:
        """A random batch."""
        rows = torch.randint(len(self._columns[ACTION]), (size,))
        return {key: column[rows] for key, column in self._columns.items()}

    def statistics(self) -> dict[str, dict[str, Tensor]]:
        """Mean and deviation of each feature; of actions as offsets from the position."""
        offsets = self._columns[ACTION] - self._columns[OBSERVATION_STATE][:, None]
        flat = {**self._columns, ACTION: offsets.reshape(-1, len(JOINTS))}
        return {key: {"mean": value.mean(0), "std": value.std(0)} for key, value in flat.items()}


def _make_policy(options: TrainingOptions, statistics: Mapping[str, Mapping[str, Tensor]]) -> Policy:
    from policy_ros.policies import make_policy
    from policy_ros.policies.relative import RelativeActions

    overrides = {
        "input_features": {
            OBSERVATION_STATE: {"type": "STATE", "shape": [len(JOINTS)]},
            OBSERVATION_ENVIRONMENT_STATE: {"type": "ENV", "shape": [AHEAD]},
        },
        "output_features": {ACTION: {"type": "ACTION", "shape": [len(JOINTS)]}},
        "chunk_size": HORIZON,
        "n_action_steps": HORIZON,
        "dim_model": options.dim_model,
        "dim_feedforward": options.dim_feedforward,
        "n_heads": options.n_heads,
        "n_encoder_layers": options.n_encoder_layers,
        "n_decoder_layers": options.n_decoder_layers,
        "num_inference_steps": options.num_inference_steps,
    }
    policy = make_policy("flow", overrides, statistics=statistics, device="cpu")
    policy.relative = RelativeActions((True,) * len(JOINTS))
    return policy


def _keep(policy: Policy, directory: Path, report: Mapping[str, float]) -> None:
    """Write the checkpoint whole or not at all."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".flow-", dir=directory.parent))
    try:
        policy.save_pretrained(unfinished)
        (unfinished / _REPORT).write_text(json.dumps(report))
        unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
