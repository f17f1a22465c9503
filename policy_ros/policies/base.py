# SPDX-License-Identifier: Apache-2.0
"""The base of all policies: everything around the network that is the same for each of them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy_ros.data import ACTION, OBSERVATION_STATE, FeatureSpec, FeatureType
from policy_ros.errors import ActionError, CheckpointError, ConfigurationError
from policy_ros.policies import inputs
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.ensembling import TemporalEnsembler
from policy_ros.policies.guidance import Target
from policy_ros.policies.inputs import Array, RawObservation
from policy_ros.policies.normalization import Normalization
from policy_ros.policies.relative import RelativeActions
from policy_ros.rtc import GuidanceOptions, inference_weights

ACTION_IS_PAD = "action_is_pad"

PolicyT = TypeVar("PolicyT", bound="Policy")


class Policy(nn.Module, ABC):
    """A learned policy: an observation in robot units in, a chunk of actions in robot units out.

    A concrete policy supplies its network, :meth:`infer` and :meth:`loss`, both in normalised units. Its constructor
    must also work under ``torch.device("meta")``: a checkpoint's shapes are checked on such a skeleton before any
    memory is taken.

    ``predict`` keeps no state. ``select_action`` does (history, queue, ensemble) and so belongs to one thread.
    Both put the policy into evaluation mode.

    Args:
        config: options.
        normalization: from and to the network's units; None for statistics that change nothing.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[PolicyConfig]]
    # Persistent buffers that follow from the configuration, so that a checkpoint may lack them.
    computed_buffers: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, config: PolicyConfig, normalization: Normalization | None = None) -> None:
        super().__init__()
        self.config = config
        self.normalization = normalization or Normalization.identity(config)
        self.rename_map: Mapping[str, str] = {}
        self.relative: RelativeActions | None = None  # set by a checkpoint whose actions are offsets from the state
        self.ensembler: TemporalEnsembler | None = None
        self._anchor: Tensor | None = None  # state that the queued rows are offsets from
        self._history: deque[dict[str, Array]] = deque(maxlen=config.n_obs_steps)
        self._queue: deque[Tensor] = deque()

    @abstractmethod
    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """Normalised chunks ``(B, H, A)`` from normalised inputs.

        Args:
            batch: feature key to ``(B, *shape)``, or ``(B, T, *shape)`` with ``n_obs_steps`` T > 1.
            noise: ``(B, …)`` to start from, None to draw it; always None for a policy that uses none.
        """

    @abstractmethod
    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Training loss and its named parts, from normalised inputs.

        Args:
            batch: as for :meth:`infer`, and ``action`` ``(B, H, A)`` and ``action_is_pad`` ``(B, H)`` bool.
        """

    def infer_guided(self, batch: Mapping[str, Tensor], noise: Tensor | None, target: Target) -> Tensor:
        """As :meth:`infer`, guided toward a target; for policies that declare ``supports_guidance``.

        Called without gradient tracking, but outside inference mode, so that a Jacobian can be taken.
        """
        raise NotImplementedError(f"policy '{self.name}' declares supports_guidance but does not implement it")

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device

    def predict(self, observation: RawObservation, *, noise: Array | None = None) -> NDArray[np.float32]:
        """A chunk for one observation.

        Args:
            observation: the policy's feature keys to arrays: images ``(3, H, W)`` uint8, vectors ``(n,)`` float32 in
                robot units; with ``n_obs_steps`` T > 1 with a leading axis of T, oldest first.
            noise: ``(1, …)`` to start from; for policies that declare ``uses_noise``.

        Returns:
            ``(H, A)`` float32, robot units.

        Raises:
            ObservationError: a feature is missing or does not fit.
        """
        with torch.inference_mode():
            chunk = self.predict_normalized(observation, noise=noise)
            return self._to_robot(chunk, self._state_of(inputs.rename(observation, self.rename_map)))

    def predict_normalized(self, observation: RawObservation, *, noise: Array | None = None) -> Tensor:
        """As :meth:`predict`, but ``(H, A)`` in the network's units, on its device."""
        return self.infer(*self._encode_one(self._checked(observation), noise))[0]

    def guided_inference(
        self,
        observation: RawObservation,
        *,
        prefix: Array,
        delay: int,
        execution_horizon: int,
        noise: Array | None = None,
        options: GuidanceOptions = GuidanceOptions(),  # noqa: B008 - frozen
    ) -> NDArray[np.float32]:
        """A chunk that continues the one that is being executed; see :mod:`policy_ros.rtc`.

        Args:
            observation: as for :meth:`predict`.
            prefix: ``(N, A)`` rows that are not executed yet, robot units, absolute, row 0 aligned with row 0 of the
                result; N <= H.
            delay: d, rows that will be executed before the result arrives [steps].
            execution_horizon: s, steps executed since the previous observation.
            noise: as for :meth:`predict`.
            options: schedule, largest weight, Jacobian.

        Returns:
            ``(H, A)`` float32, robot units.

        Raises:
            ConfigurationError: the policy cannot be guided, or the prefix does not fit.
        """
        config = self.config
        if not config.supports_guidance:
            raise ConfigurationError(
                f"policy '{self.name}' cannot be guided: use execution mode blend, ensemble, overlap or sync"
            )
        with torch.inference_mode(False), torch.no_grad():
            checked = self._checked(observation)
            batch, start = self._encode_one(checked, noise)
            state = self._state_of(checked)
            target = self._to_network(torch.tensor(prefix, dtype=torch.float32, device=self.device), state)
            weights = inference_weights(
                delay=delay,
                execution_horizon=execution_horizon,
                horizon=config.chunk_size,
                rows=len(target),
                schedule=options.schedule,
            )
            tied = torch.tensor(weights, dtype=torch.float32, device=self.device)
            return self._to_robot(self.infer_guided(batch, start, Target(target, tied, options))[0], state)

    def select_action(self, observation: RawObservation, *, noise: Array | None = None) -> NDArray[np.float32]:
        """The action for the current step; call it once per step, after :meth:`reset`.

        Takes the next row of the last chunk and asks for a new chunk after ``n_action_steps`` rows; with temporal
        ensembling asks at every step and averages.

        Args:
            observation: as for :meth:`predict`, but without a time axis: the history is kept here.
            noise: as for :meth:`predict`; used whenever a new chunk is asked for.

        Returns:
            ``(A,)`` float32, robot units.
        """
        with torch.inference_mode():
            row = self.select_normalized(observation, noise=noise)
            action: NDArray[np.float32] = self._to_robot(row.unsqueeze(0), self._anchor)[0]
            return action

    def select_normalized(self, observation: RawObservation, *, noise: Array | None = None) -> Tensor:
        """As :meth:`select_action`, but ``(A,)`` in the network's units, on its device."""
        self._stop_training()
        observation = inputs.rename(observation, self.rename_map)
        self._remember(inputs.check(observation, self.config.observed_features, None))
        if self.ensembler is not None:
            return self.ensembler.update(self._infer_one(self._recall(), noise))
        if not self._queue:
            self._anchor = self._state_of(self._history[-1])
            self._queue.extend(self._infer_one(self._recall(), noise)[: self.config.n_action_steps])
        return self._queue.popleft()

    def reset(self) -> None:
        """Forget the history, the rest of the chunk and the ensemble: a new episode begins."""
        self._history.clear()
        self._queue.clear()
        if self.ensembler is not None:
            self.ensembler.reset()

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Training loss of a batch in robot units, and its named parts.

        Args:
            batch: feature key to ``(B, *shape)`` or ``(B, T, *shape)``, images uint8 or float in 0 to 1; ``action``
                ``(B, H, A)``; optionally ``action_is_pad`` ``(B, H)`` bool, true for rows past the episode's end.
        """
        target = batch[ACTION].to(self.device, torch.float32)
        padding = batch.get(ACTION_IS_PAD)
        encoded = self._encode({key: batch[key].to(self.device) for key in self.config.observed_features})
        encoded[ACTION] = self._to_network(target, self._anchor_of(batch))
        encoded[ACTION_IS_PAD] = (
            torch.zeros(target.shape[:2], dtype=torch.bool, device=self.device)
            if padding is None
            else padding.to(self.device)
        )
        return self.loss(encoded)

    def warmup(self) -> None:
        """One inference on zeros, so that the first real one is not the slow one; the state stays as it is.

        Raises:
            ActionError: the chunk does not have the declared shape, or is not finite.
        """
        config = self.config
        leading = () if config.n_obs_steps == 1 else (config.n_obs_steps,)
        chunk = self.predict({k: _zeros(spec, leading) for k, spec in config.observed_features.items()})
        wanted = (config.chunk_size, config.action_dim)
        if chunk.shape != wanted:
            raise ActionError(f"policy '{self.name}': expected a chunk of shape {wanted} (H, A), got {chunk.shape}")
        if not np.isfinite(chunk).all():
            raise ActionError(f"policy '{self.name}': a warm-up inference gave values that are not finite")

    def freeze(self) -> None:
        """For inference only: evaluation mode, no gradients for the parameters."""
        self.eval()
        self.requires_grad_(False)

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write a checkpoint that :func:`load_policy` and LeRobot read, statistics included."""
        from policy_ros.policies.checkpoint import save_checkpoint

        save_checkpoint(self, directory)

    @classmethod
    def from_pretrained(
        cls: type[PolicyT], directory: str | os.PathLike[str], *, device: str | torch.device | None = None
    ) -> PolicyT:
        """Read a checkpoint directory, as :func:`load_policy` does.

        Raises:
            CheckpointError: it cannot be read, or holds another kind of policy than this class.
        """
        from policy_ros.policies.checkpoint import load_checkpoint

        policy = load_checkpoint(directory, device=device)
        if not isinstance(policy, cls):
            raise CheckpointError(f"{directory}: expected a checkpoint of {cls.__name__}, got one of '{policy.name}'")
        return policy

    def _stop_training(self) -> None:
        if self.training:  # walking through all modules takes longer than asking
            self.eval()

    def _checked(self, observation: RawObservation) -> dict[str, Array]:
        self._stop_training()
        steps = None if self.config.n_obs_steps == 1 else self.config.n_obs_steps
        return inputs.check(inputs.rename(observation, self.rename_map), self.config.observed_features, steps)

    def _infer_one(self, observation: Mapping[str, Array], noise: Array | None) -> Tensor:
        """Normalised ``(H, A)`` of one checked observation."""
        return self.infer(*self._encode_one(observation, noise))[0]

    def _encode_one(
        self, observation: Mapping[str, Array], noise: Array | None
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """What the network takes for one checked observation: a batch of one, and the noise to start from."""
        if noise is not None and not self.config.uses_noise:
            raise ConfigurationError(f"policy '{self.name}' uses no noise: expected noise=None")
        device = self.device
        batch = {key: torch.tensor(array, device=device).unsqueeze(0) for key, array in observation.items()}
        start = None if noise is None else torch.tensor(noise, dtype=torch.float32, device=device)
        return self._encode(batch), start

    def _state_of(self, observation: Mapping[str, Any]) -> Tensor | None:
        """The newest state ``(n,)`` in robot units, where actions are offsets from it."""
        if self.relative is None:
            return None
        return torch.tensor(observation[OBSERVATION_STATE], dtype=torch.float32, device=self.device).reshape(
            -1, *self.config.input_features[OBSERVATION_STATE].shape
        )[-1]

    def _anchor_of(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """As :meth:`_state_of` for a batch: ``(B, n)``."""
        if self.relative is None:
            return None
        state = batch[OBSERVATION_STATE].to(self.device, torch.float32)
        return state if state.dim() == 2 else state[:, -1]

    def _encode(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs as they come to inputs as the network wants them."""
        return {key: self._encode_feature(key, value) for key, value in batch.items()}

    def _encode_feature(self, key: str, value: Tensor) -> Tensor:
        spec = self.config.input_features[key]
        if spec.type is FeatureType.VISUAL:
            value = inputs.image_to_float(value, (spec.shape[1], spec.shape[2]))
        return self.normalization.normalize(key, value.float())

    def _to_robot(self, normalized: Tensor, state: Tensor | None) -> NDArray[np.float32]:
        """Rows ``(H, A)`` of the network to absolute rows in robot units."""
        rows = self.normalization.unnormalize(ACTION, normalized)
        if self.relative is not None and state is not None:
            rows = self.relative.to_absolute(rows, state)
        return rows.float().cpu().numpy()

    def _to_network(self, rows: Tensor, state: Tensor | None) -> Tensor:
        """Absolute rows ``(…, H, A)`` in robot units to the network's."""
        if self.relative is not None and state is not None:
            rows = self.relative.to_relative(rows, state)
        return self.normalization.normalize(ACTION, rows)

    def _remember(self, observation: dict[str, Array]) -> None:
        """Add to the history; at the start of an episode the first observation stands for those before it."""
        self._history.append(observation)
        while len(self._history) < self.config.n_obs_steps:
            self._history.append(observation)

    def _recall(self) -> dict[str, Array]:
        """The history as one observation, with a leading time axis where the policy wants one."""
        if self.config.n_obs_steps == 1:
            return self._history[-1]
        return {key: np.stack([past[key] for past in self._history]) for key in self._history[-1]}


def _zeros(spec: FeatureSpec, leading: tuple[int, ...]) -> Array:
    return np.zeros((*leading, *spec.shape), np.uint8 if spec.type is FeatureType.VISUAL else np.float32)
