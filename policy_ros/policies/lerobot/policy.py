# SPDX-License-Identifier: Apache-2.0
"""A policy of an installed LeRobot as a policy here."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policy_ros.data import ACTION, TASK
from policy_ros.errors import ActionError, ConfigurationError, TrainingError
from policy_ros.policies import inputs
from policy_ros.policies.base import Policy
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.device import choose_device
from policy_ros.policies.inputs import Array, RawObservation
from policy_ros.policies.lerobot.config import LeRobotConfig
from policy_ros.policies.lerobot.library import Wrapped, read_wrapped
from policy_ros.policies.normalization import Normalization

_IMAGES = "observation.images"  # LeRobot's queues hold all cameras in one tensor under this name
_STATE = _QUEUES, _PLAN = "_queues", "_prev_mean"  # of LeRobot's policies between two calls
_PLANNER = "tdmpc"


class LeRobotPolicy(Policy):
    """LeRobot's network between LeRobot's processors; an observation's ``task`` reaches them.

    ``predict`` is ``predict_action_chunk``, without a trace in the state of ``select_action``, which is LeRobot's own.

    Args:
        config: features and rows.
        normalization: none; LeRobot's processors normalise.
        wrapped: what runs.

    Raises:
        ConfigurationError: nothing wrapped, since fresh weights are LeRobot's affair.
    """

    name = "lerobot"
    config_class = LeRobotConfig
    config: LeRobotConfig

    def __init__(
        self, config: LeRobotConfig, normalization: Normalization | None = None, wrapped: Wrapped | None = None
    ) -> None:
        super().__init__(config, normalization)
        if wrapped is None:
            raise ConfigurationError(
                "policy 'lerobot' has no fresh weights: expected a checkpoint made by wrap_checkpoint; set policy.path"
            )
        self.rename_map = wrapped.rename_map
        self.model: Any = wrapped.policy
        self._wrapped = wrapped

    @classmethod
    def read_checkpoint(
        cls, path: Path, config: PolicyConfig, device: str | torch.device | None, *, shared: bool
    ) -> LeRobotPolicy:
        """The policy in a wrapped checkpoint."""
        assert isinstance(config, LeRobotConfig)
        return cls(config, None, read_wrapped(path, choose_device(device)))

    def predict_batch(
        self, observations: Sequence[RawObservation], *, noise: Array | None = None
    ) -> NDArray[np.float32]:
        """As for every policy; LeRobot draws its own noise."""
        self._start(noise)
        with torch.inference_mode():
            batch = self.units.encode(self._batch([self._checked(observation) for observation in observations]))
            return self._to_robot(self._chunks(batch, list(map(_task, observations))), None)

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """Chunks ``(B, H, A)`` without an instruction."""
        return self._chunks(batch, [""] * len(next(iter(batch.values()))))

    def select_action(self, observation: RawObservation, *, noise: Array | None = None) -> NDArray[np.float32]:
        """LeRobot's own, with its history, queue and ensemble."""
        self._start(noise)
        self._stop_training()
        renamed = inputs.rename(observation, self.rename_map)
        checked = inputs.check(renamed, self.config.observed_features, None)
        with torch.inference_mode():
            batch = self._prepared(self.units.encode(self._batch([checked])), [_task(observation)])
            row = self._wrapped.postprocess(self.model.select_action(batch))
            action: NDArray[np.float32] = row.reshape(-1).float().cpu().numpy()
            return action

    def reset(self) -> None:
        """A new episode begins."""
        super().reset()
        self.model.reset()

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """There is none.

        Raises:
            TrainingError: always.
        """
        raise TrainingError(f"policy 'lerobot' needs {self.config.unmet_in_recordings}")

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Refused: nothing here changes it.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError("policy 'lerobot' cannot be saved: copy its directory")

    def _chunks(self, batch: Mapping[str, Tensor], tasks: list[str]) -> Tensor:
        prepared = self._prepared(batch, tasks)
        with observed(self.model, prepared, self.config) as seen:
            chunks: Tensor = self._wrapped.postprocess(chunk_of(self.model, seen))
        wanted = (len(tasks), self.config.chunk_size, self.config.action_dim)
        if tuple(chunks.shape) != wanted:
            raise ActionError(f"LeRobot's {self.model.name}: expected {wanted} (B, H, A), got {tuple(chunks.shape)}")
        return chunks

    def _prepared(self, batch: Mapping[str, Tensor], tasks: list[str]) -> dict[str, Any]:
        return self._wrapped.preprocess({**batch, TASK: tasks})


def chunk_of(model: Any, batch: Mapping[str, Any]) -> Tensor:
    """The rows ``(B, N, A)`` that LeRobot's ``select_action`` would execute, one after the other."""
    chunk: Tensor = model.predict_action_chunk(batch)
    if model.name != _PLANNER:
        return chunk
    repeats, plan = model.config.n_action_repeats, chunk.transpose(0, 1)  # of (N, B, A)
    return plan if repeats == 1 else plan[:, :1].expand(-1, repeats, -1)


@contextmanager
def observed(model: Any, batch: Mapping[str, Any], config: PolicyConfig) -> Iterator[dict[str, Any]]:
    """A batch for ``predict_action_chunk`` of policies that take observations from their queues, and of all others.

    In the meantime the model has other queues, with the observations ``(B, …)`` or ``(B, T, …)`` in them, oldest first,
    and no plan that it went on from.
    """
    seen = {key: value for key, value in batch.items() if key != ACTION}  # None; but its queue holds actions
    own = {name: getattr(model, name) for name in _STATE if hasattr(model, name)}
    queues = own.get(_QUEUES)
    if queues is not None and any(key in queues for key in (*seen, _IMAGES)):
        model._queues = _filled(queues, seen, config)
    if _PLAN in own:
        setattr(model, _PLAN, None)
    try:
        yield seen
    finally:
        for name, value in own.items():
            setattr(model, name, value)


def _filled(queues: Mapping[str, deque[Any]], seen: dict[str, Any], config: PolicyConfig) -> dict[str, deque[Any]]:
    """New queues with what is seen, to which the tensor of all cameras is added where there is a queue for it."""
    cameras = list(config.image_features)
    if cameras and _IMAGES in queues:
        seen[_IMAGES] = torch.stack([seen[key] for key in cameras], dim=-4)
    fresh: dict[str, deque[Any]] = {key: deque(maxlen=queue.maxlen) for key, queue in queues.items()}
    for key in fresh.keys() & seen.keys():
        steps = [seen[key]] if config.n_obs_steps == 1 else seen[key].unbind(1)
        fresh[key].extend(steps)
    return fresh


def _task(observation: RawObservation) -> str:
    task = observation.get(TASK, "")
    return task if isinstance(task, str) else ""
