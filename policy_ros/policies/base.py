# SPDX-License-Identifier: Apache-2.0
"""The base of all policies: everything around the network that is the same for each of them."""

from __future__ import annotations

import logging
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy_ros.data import ACTION, FeatureSpec, FeatureType
from policy_ros.errors import ActionError, CheckpointError, ConfigurationError
from policy_ros.policies import inputs
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.device import choose_device
from policy_ros.policies.ensembling import TemporalEnsembler
from policy_ros.policies.guidance import Target, check_prefix
from policy_ros.policies.history import ObservationHistory
from policy_ros.policies.inputs import Array, RawObservation
from policy_ros.policies.normalization import Normalization
from policy_ros.policies.relative import RelativeActions
from policy_ros.policies.units import Units
from policy_ros.rtc import GuidanceOptions, inference_weights

_log = logging.getLogger(__name__)
_LONG_S = 5.0  # of a warm-up that is worth a line

ACTION_IS_PAD = "action_is_pad"

PolicyT = TypeVar("PolicyT", bound="Policy")


class Policy(nn.Module, ABC):
    """A learned policy: an observation in robot units in, a chunk of actions in robot units out.

    A concrete policy supplies its network, :meth:`infer` and :meth:`loss`, and :meth:`infer_guided` where it declares
    ``supports_guidance``, all in the network's units. Its constructor must also work under ``torch.device("meta")``: a
    checkpoint's shapes are checked on such a skeleton before any memory is taken.

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
    # Whether the constructor wants components, so that only build_policy can call it.
    from_components: ClassVar[bool] = False

    def __init__(self, config: PolicyConfig, normalization: Normalization | None = None) -> None:
        super().__init__()
        self.config = config
        self.units = Units(config, normalization or Normalization.identity(config))
        self.rename_map: Mapping[str, str] = {}
        self.ensembler: TemporalEnsembler | None = None
        self._history = ObservationHistory(config.n_obs_steps)
        self._queue: deque[Tensor] = deque()
        self._anchor: Tensor | None = None  # of the observation that the queue was predicted from

    @classmethod
    def weight_name(cls, stored: str) -> str | None:
        """The network's own name of a tensor that a checkpoint holds; None for one that the network has no use for."""
        return stored

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
            batch: as for :meth:`infer`, and ``action`` ``(B, N, A)`` and ``action_is_pad`` ``(B, N)`` bool, of the N
                rows ``config.target_rows``, which mostly are the chunk.
        """

    def infer_next(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """As :meth:`infer`, for :meth:`select_action`: a policy may go on from its last answer, until :meth:`reset`."""
        return self.infer(batch, noise)

    @property
    def training_phase(self) -> int:
        """Number of the phase that training is in. Losses of different phases do not compare; later ones are better."""
        return 0

    def resume_training(self, steps: int) -> None:
        """Told how many steps its weights were trained for, before training goes on: for what is not in them."""

    def parameter_options(self, name: str) -> Mapping[str, float]:
        """``lr`` and ``weight_decay`` of a parameter, where they are not those of the rest of the network."""
        return {}

    def infer_guided(self, batch: Mapping[str, Tensor], noise: Tensor | None, target: Target) -> Tensor:
        """As :meth:`infer`, guided toward a target; for policies that declare ``supports_guidance``.

        Called without gradient tracking, but outside inference mode, so that a Jacobian can be taken.
        """
        raise NotImplementedError(f"policy '{self.name}' declares supports_guidance but does not implement it")

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device

    @property
    def normalization(self) -> Normalization:
        """From and to the network's units."""
        return self.units.normalization

    @property
    def relative(self) -> RelativeActions | None:
        """How actions are offsets from the state, None where they are absolute; a checkpoint says so."""
        return self.units.relative

    @relative.setter
    def relative(self, relative: RelativeActions | None) -> None:
        if relative is not None and self.ensembler is not None:
            raise ConfigurationError("relative actions cannot be ensembled: each chunk starts from another state")
        self.units.relative = relative

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
        chunk: NDArray[np.float32] = self.predict_batch([observation], noise=noise)[0]
        return chunk

    def predict_batch(
        self, observations: Sequence[RawObservation], *, noise: Array | None = None
    ) -> NDArray[np.float32]:
        """Chunks for several observations that know nothing of each other, in one pass through the network.

        Args:
            observations: B of them, each as for :meth:`predict`; the images of one feature have one size.
            noise: ``(B, …)`` to start from; for policies that declare ``uses_noise``.

        Returns:
            ``(B, H, A)`` float32, robot units; equal to B calls of :meth:`predict` but for rounding.

        Raises:
            ObservationError: as for :meth:`predict`, there is none, or the sizes of images differ.
        """
        with torch.inference_mode():
            batch = self._batch([self._checked(observation) for observation in observations])
            return self._to_robot(self._infer(batch, noise), self.units.anchor(batch))

    def predict_normalized(self, observation: RawObservation, *, noise: Array | None = None) -> Tensor:
        """As :meth:`predict`, but ``(H, A)`` in the network's units, on its device."""
        return self._infer(self._batch([self._checked(observation)]), noise)[0]

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

        Where actions are offsets from the state, the prefix is taken relative to the state of this observation.

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
            ObservationError: as for :meth:`predict`.
        """
        config = self.config
        if not config.supports_guidance:
            raise ConfigurationError(
                f"policy '{self.name}' cannot be guided: use execution mode blend, ensemble, overlap or sync"
            )
        rows = np.asarray(prefix, dtype=np.float32)
        weights = inference_weights(
            delay=delay,
            execution_horizon=execution_horizon,
            horizon=config.chunk_size,
            rows=len(rows),
            schedule=options.schedule,
        )
        check_prefix(rows, weights, config.action_dim)
        # Inference mode, in which predict runs, would keep the Jacobian from being taken.
        with torch.inference_mode(False), torch.no_grad():
            batch = self._batch([self._checked(observation)])
            anchor = self.units.anchor(batch)
            wanted = self.units.to_network(torch.tensor(rows, device=self.device).unsqueeze(0), anchor)
            tied = torch.tensor(weights, dtype=torch.float32, device=self.device)
            target = Target(wanted, tied, options)
            chunk = self.infer_guided(self.units.encode(batch), self._start(noise), target)
            guided: NDArray[np.float32] = self._to_robot(chunk, anchor)[0]
            return guided

    def select_action(self, observation: RawObservation, *, noise: Array | None = None) -> NDArray[np.float32]:
        """The action for the current step; call it once per step, after :meth:`reset`.

        Takes the next row of the last chunk and asks for a new chunk after ``execution_rows`` of them; with
        temporal ensembling asks at every step and averages.

        Args:
            observation: as for :meth:`predict`, but without a time axis: the history is kept here.
            noise: as for :meth:`predict`; used whenever a new chunk is asked for.

        Returns:
            ``(A,)`` float32, robot units.
        """
        with torch.inference_mode():
            row = self.select_normalized(observation, noise=noise)
            action: NDArray[np.float32] = self._to_robot(row.expand(1, 1, -1), self._anchor)[0, 0]
            return action

    def select_normalized(self, observation: RawObservation, *, noise: Array | None = None) -> Tensor:
        """As :meth:`select_action`, but ``(A,)`` in the network's units, on its device."""
        self._stop_training()
        self._history.add(self._read(observation, None))
        if self.ensembler is not None:
            return self.ensembler.update(self._infer(self._batch([self._history.recall()]), noise)[0])
        if not self._queue:
            batch = self._batch([self._history.recall()])
            self._anchor = self.units.anchor(batch)
            chunk = self.infer_next(self.units.encode(batch), self._start(noise))[0]
            self._queue.extend(chunk[: self.config.execution_rows])
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
                ``(B, N, A)``, the rows ``config.target_rows``; optionally ``action_is_pad`` ``(B, N)`` bool, true for
                rows outside the episode.
        """
        return self.loss(self.encode_samples(batch))

    def after_step(self) -> None:
        """Called after each step of the optimiser, for what follows the weights, such as a target network."""

    def encode_samples(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What :meth:`loss` takes, of samples as for :meth:`forward`; a policy that learns from more adds it here."""
        target = batch[ACTION].to(self.device, torch.float32)
        padding = batch.get(ACTION_IS_PAD)
        seen = {key: batch[key].to(self.device) for key in self.config.observed_features}
        encoded = self.units.encode(seen)
        encoded[ACTION] = self.units.to_network(target, self.units.anchor(seen))
        encoded[ACTION_IS_PAD] = (
            torch.zeros(target.shape[:2], dtype=torch.bool, device=self.device)
            if padding is None
            else padding.to(self.device)
        )
        return encoded

    def warmup(self) -> float:
        """One inference on zeros, so that the first real one is not the slow one; the state stays as it is.

        A policy that can be guided is guided once as well: that takes a way of its own through the network, and back.

        Returns:
            How long the inference that is not guided took [s].

        Raises:
            ActionError: the chunk does not have the declared shape, or is not finite.
        """
        config = self.config
        observation = self._nothing_seen()
        begin = time.monotonic()
        chunk = self.predict(observation)
        took_s = time.monotonic() - begin
        self._check_chunk(chunk)
        if config.supports_guidance:
            if took_s > _LONG_S:
                _log.info(
                    "'%s' took %.1f s for an inference; a guided one follows, which takes longer", self.name, took_s
                )
            half = config.chunk_size // 2
            self._check_chunk(self.guided_inference(observation, prefix=chunk, delay=half, execution_horizon=half))
        return took_s

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

    @classmethod
    def read_checkpoint(
        cls: type[PolicyT], path: Path, config: PolicyConfig, device: str | torch.device | None, *, shared: bool
    ) -> PolicyT:
        """The policy in a checkpoint directory whose ``config.json`` has been read, on its device.

        For :func:`load_policy` alone; overridden, with :meth:`check_files`, where the network is not in
        ``model.safetensors``.

        Args:
            path: the directory.
            config: its configuration, of ``config_class``.
            device: as for :func:`load_policy`.
            shared: as for :func:`load_policy`; of no effect where there are no weights to share.

        Raises:
            CheckpointError, ConfigurationError: as for :func:`load_policy`.
        """
        from policy_ros.policies.checkpoint import read_weights

        return read_weights(cls, path, config, choose_device(device), shared=shared)

    @classmethod
    def check_files(cls, path: Path, config: PolicyConfig) -> None:
        """Refuse a checkpoint directory whose files are not all there or not whole; within milliseconds.

        For a swap, which is answered before anything is loaded. Whether the network fits its configuration comes out
        later.

        Args:
            path: the directory.
            config: its configuration, of ``config_class``.

        Raises:
            CheckpointError: what is wrong.
        """
        from policy_ros.policies.checkpoint import WEIGHTS_FILE, check_weights, require_weights

        require_weights(path)
        check_weights(path / WEIGHTS_FILE)

    def _check_chunk(self, chunk: NDArray[np.float32]) -> None:
        wanted = (self.config.chunk_size, self.config.action_dim)
        if chunk.shape != wanted:
            raise ActionError(f"policy '{self.name}': expected a chunk of shape {wanted} (H, A), got {chunk.shape}")
        if not np.isfinite(chunk).all():
            raise ActionError(f"policy '{self.name}': a warm-up inference gave values that are not finite")

    def _stop_training(self) -> None:
        if self.training:  # walking through all modules takes longer than asking
            self.eval()

    def _checked(self, observation: RawObservation) -> dict[str, Array]:
        self._stop_training()
        steps = None if self.config.n_obs_steps == 1 else self.config.n_obs_steps
        return self._read(observation, steps)

    def _read(self, observation: RawObservation, steps: int | None) -> dict[str, Array]:
        """What the network looks at, checked; ``steps`` is the length of the time axis, None where there is none."""
        return inputs.check(inputs.rename(observation, self.rename_map), self.config.observed_features, steps)

    def _nothing_seen(self) -> dict[str, Array | str]:
        """An observation of zeros."""
        leading = () if self.config.n_obs_steps == 1 else (self.config.n_obs_steps,)
        return {key: _zeros(spec, leading) for key, spec in self.config.observed_features.items()}

    def _batch(self, observations: Sequence[Mapping[str, Array]]) -> dict[str, Tensor]:
        """Checked observations as one batch on the network's device, in robot units."""
        return {key: torch.tensor(array, device=self.device) for key, array in inputs.stack(observations).items()}

    def _start(self, noise: Array | None) -> Tensor | None:
        if noise is None:
            return None
        if not self.config.uses_noise:
            raise ConfigurationError(f"policy '{self.name}' uses no noise: expected noise=None")
        return torch.tensor(noise, dtype=torch.float32, device=self.device)

    def _infer(self, batch: Mapping[str, Tensor], noise: Array | None) -> Tensor:
        """Normalised ``(B, H, A)`` of observations in robot units."""
        return self.infer(self.units.encode(batch), self._start(noise))

    def _to_robot(self, rows: Tensor, anchor: Tensor | None) -> NDArray[np.float32]:
        """Rows ``(B, N, A)`` of the network as ``(B, N, A)`` for robots."""
        return self.units.to_robot(rows, anchor).float().cpu().numpy()


def _zeros(spec: FeatureSpec, leading: tuple[int, ...]) -> Array:
    return np.zeros((*leading, *spec.shape), np.uint8 if spec.type is FeatureType.VISUAL else np.float32)
