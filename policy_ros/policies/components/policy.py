# SPDX-License-Identifier: Apache-2.0
"""The base of policies that are put together from components."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from policy_ros.data import TASK
from policy_ros.errors import ConfigurationError, ObservationError
from policy_ros.policies.base import Policy
from policy_ros.policies.components.config import ComponentConfig
from policy_ros.policies.components.naming import Naming
from policy_ros.policies.inputs import Array, RawObservation
from policy_ros.policies.normalization import Normalization
from policy_ros.rtc import GuidanceOptions


class ComponentPolicy(Policy):
    """A policy whose networks are given to it by name.

    A concrete policy supplies :meth:`infer` and :meth:`loss` (and :meth:`infer_guided`) as any policy does, and gets
    its inputs by :meth:`inputs` under the names and in the shapes that its YAML file declares.

    Args:
        components: networks by name, at least those of ``required_components``.
        config: options.
        normalization: from and to the network's units; None for statistics that change nothing.
        naming: of the inputs.
    """

    required_components: ClassVar[tuple[str, ...]] = ()
    from_components = True
    config: ComponentConfig

    def __init__(
        self,
        components: Mapping[str, nn.Module],
        config: ComponentConfig,
        normalization: Normalization | None = None,
        *,
        naming: Naming,
    ) -> None:
        super().__init__(config, normalization)
        missing = [name for name in self.required_components if name not in components]
        if missing:
            raise ConfigurationError(
                f"policy '{self.name}': expected components {', '.join(self.required_components)}, "
                f"missing {', '.join(missing)}, got {', '.join(components) or 'none'}"
            )
        self.components = nn.ModuleDict(dict(components))
        self.naming = naming

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs under their names, ``(B, steps, *shape)``, and ``prompt`` ``(B, L)`` int64 where there is one.

        Args:
            batch: of :meth:`infer` or :meth:`loss`.
        """
        named = self.naming.to_named(batch)
        if self.naming.prompt_bytes:
            if TASK not in batch:
                raise ConfigurationError(f"policy '{self.name}': expected samples with '{TASK}', got none")
            tokens = batch[TASK]
            named["prompt"] = tokens if tokens.dim() == 2 else tokens[:, -1]
        return named

    def guided_inference(
        self,
        observation: RawObservation,
        data_normalization_interface: None = None,
        min_num_actions_executed: int | None = None,
        action_chunk_size: int | None = None,
        *,
        prefix: Array | None = None,
        delay: int | None = None,
        execution_horizon: int | None = None,
        noise: Array | None = None,
        options: GuidanceOptions = GuidanceOptions(),  # noqa: B008 - frozen
    ) -> NDArray[np.float32]:
        """As :meth:`Policy.guided_inference`, or with prefix and delay in the observation.

        Args:
            observation: features, or inputs under their names. In place of ``prefix`` it may hold ``prev_action``
                ``(H, A)``, rows not executed yet, row 0 aligned with row 0 of the result, those behind the last one
                anything; in place of ``delay``, ``est_delay`` [steps].
            data_normalization_interface: None: a policy has the statistics that it was trained with.
            min_num_actions_executed: in place of ``execution_horizon``.
            action_chunk_size: H, for a check.
            prefix: as for any policy, and so are ``delay``, ``execution_horizon``, ``noise`` and ``options``.

        Returns:
            ``(H, A)`` float32, robot units.

        Raises:
            ConfigurationError: as for any policy, or a value is given twice or not at all.
            ObservationError: as for :meth:`predict`.
        """
        _refuse_interface(data_normalization_interface)
        if action_chunk_size not in (None, self.config.chunk_size):
            raise ConfigurationError(
                f"action_chunk_size: expected {self.config.chunk_size}, the policy's own, got {action_chunk_size}"
            )
        return super().guided_inference(
            {key: value for key, value in observation.items() if key not in ("prev_action", "est_delay")},
            prefix=_one("prefix", prefix, "prev_action", observation.get("prev_action")),
            delay=_steps("delay", delay, "est_delay", observation.get("est_delay")),
            execution_horizon=_steps(
                "execution_horizon", execution_horizon, "min_num_actions_executed", min_num_actions_executed
            ),
            noise=noise,
            options=options,
        )

    def predict(
        self, observation: RawObservation, data_normalization_interface: None = None, *, noise: Array | None = None
    ) -> NDArray[np.float32]:
        """As :meth:`Policy.predict`.

        Args:
            observation: features, or inputs under their names: ``proprio`` ``(T, n)`` float32, a camera
                ``(N, 3, H, W)`` uint8, ``prompt`` a text.
            data_normalization_interface: None: a policy has the statistics that it was trained with.
            noise: as for any policy.
        """
        _refuse_interface(data_normalization_interface)
        return super().predict(observation, noise=noise)

    def freeze_all_model_params(self) -> None:
        """As :meth:`freeze`."""
        self.freeze()

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write ``policy.yaml``, the components' YAML files and weights, and statistics."""
        from policy_ros.policies.components.saving import save_components

        save_components(self, directory)

    def _read(self, observation: RawObservation, steps: int | None) -> dict[str, Array]:
        # One step of a history has no names: the history is kept here, not by the caller.
        named = observation if steps is None and self.config.n_obs_steps > 1 else self.naming.to_features(observation)
        arrays = super()._read(named, steps)
        if self.naming.prompt_bytes:
            if TASK not in named:
                raise ObservationError(f"observation: expected '{TASK}', a text; got {', '.join(named)}")
            arrays[TASK] = self.naming.encode_prompt(named[TASK])
        return arrays

    def _nothing_seen(self) -> dict[str, Array | str]:
        seen = super()._nothing_seen()
        return {**seen, TASK: ""} if self.naming.prompt_bytes else seen


def _refuse_interface(interface: object) -> None:
    if interface is not None:
        raise ConfigurationError(
            "data_normalization_interface: expected None, since a policy brings its own statistics "
            f"(section 'normalization' of its YAML file), got {type(interface).__name__}"
        )


def _steps(first: str, value: Any, second: str, other: Any) -> int:
    given = _one(first, value, second, other)
    try:
        return operator.index(given)  # NumPy's whole numbers, too
    except TypeError:
        name = first if other is None else second
        raise ConfigurationError(f"{name}: expected a whole number of steps, got {given!r:.80}") from None


def _one(first: str, value: Any, second: str, other: Any) -> Any:
    if (value is None) == (other is None):
        got = "neither" if value is None else "both"
        raise ConfigurationError(f"expected either '{first}' or '{second}', got {got}")
    return other if value is None else value
