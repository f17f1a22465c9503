# SPDX-License-Identifier: Apache-2.0
"""A class in the style of Hugging Face's transformers as a policy: ``PreTrainedModel`` with a ``config_class``.

The class is the plug-in's and brings transformers with it; nothing here imports it. What is used of a class is its
``config_class``, its constructor, its ``forward``, and for weights of its own layout ``from_pretrained``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from policy_ros.data import ACTION
from policy_ros.errors import ActionError, CheckpointError, ConfigurationError
from policy_ros.policies.base import ACTION_IS_PAD, Policy
from policy_ros.policies.checkpoint import CONFIG_FILE, WEIGHTS_FILE, require_weights
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.files import read_json, tensor_shapes
from policy_ros.policies.limits import MAX_WEIGHTS_BYTES
from policy_ros.policies.normalization import Normalization, Statistics

AdapterT = TypeVar("AdapterT", bound="TransformersPolicy")

# Options that name code in repositories: transformers fetches and runs what an implementation of this form names.
_CODE = frozenset(
    {"attn_implementation", "_attn_implementation", "_attn_implementation_internal"}
    | {"experts_implementation", "_experts_implementation", "_experts_implementation_internal"}
)
# Options that say where code or weights came from; a model that is made by its class has no use for them.
_ORIGIN = frozenset({"auto_map", "custom_pipelines", "_name_or_path"})


@dataclass(frozen=True, kw_only=True)
class TransformersPolicyConfig(PolicyConfig):
    """Features and rows here; the model's own options as its ``config_class`` takes them.

    Attributes:
        chunk_size: H, rows that one call of the model returns.
        model: arguments of the model's ``config_class``.
    """

    chunk_size: int = 1
    model: Mapping[str, Any] = field(default_factory=dict)


class TransformersPolicy(Policy):
    """Adapts a model class; a subclass names it, and which arguments of its ``forward`` take what.

    ``forward`` is called with keyword arguments: each of ``arguments`` with its feature, normalised, ``(B, *shape)`` or
    ``(B, T, *shape)``. In training it is called with the target ``(B, H, A)`` and ``(B, H)`` true for rows outside the
    episode as well. It returns a chunk ``(B, H, A)`` (or ``(B, A)`` where H is 1), or with a target a loss; each as a
    tensor, or as the entry ``output`` or ``"loss"`` of a mapping, such as transformers' ``ModelOutput``.

    Attributes:
        model_class: derives from ``transformers.PreTrainedModel``, or is made like it.
        arguments: argument of ``forward`` to feature key.
        target: argument of ``forward`` that takes the demonstrated chunk.
        padding: argument of ``forward`` that takes which rows of it count not; empty for a model without.
        output: entry of the answer that is the chunk.
    """

    config_class = TransformersPolicyConfig
    config: TransformersPolicyConfig
    model_class: ClassVar[type[Any]]
    arguments: ClassVar[Mapping[str, str]]
    target: ClassVar[str] = "actions"
    padding: ClassVar[str] = "is_pad"
    output: ClassVar[str] = "actions"

    def __init__(self, config: TransformersPolicyConfig, normalization: Normalization | None = None) -> None:
        super().__init__(config, normalization)
        unknown = [key for key in self.arguments.values() if key not in config.observed_features]
        if unknown:
            raise ConfigurationError(
                f"policy '{self.name}': expected input_features with {', '.join(unknown)}, "
                f"got {', '.join(config.observed_features)}"
            )
        remote = _named(config.model, _CODE | _ORIGIN)
        if remote:
            raise ConfigurationError(f"model: expected options of the network alone, got {', '.join(remote)}")
        self.model = self.model_class(self.model_class.config_class(**config.model))

    @classmethod
    def adapt(
        cls: type[AdapterT],
        directory: str | os.PathLike[str],
        options: Mapping[str, Any],
        *,
        statistics: Statistics | None = None,
    ) -> AdapterT:
        """The policy of a model that transformers has saved; its ``save_pretrained`` writes a checkpoint of policy_ros.

        Args:
            directory: of the model's own ``save_pretrained``; safetensors only.
            options: those of :class:`TransformersPolicyConfig` without ``model``.
            statistics: of the data, where ``normalization_mapping`` asks for any.

        Raises:
            CheckpointError: no safetensors there, or the weights do not fit the model.
            ConfigurationError: an option is unknown, missing or out of range.
        """
        path = Path(directory)
        require_weights(path)
        tensor_shapes(path / WEIGHTS_FILE, MAX_WEIGHTS_BYTES)
        remote = _named(read_json(path / CONFIG_FILE), _CODE)
        if remote:
            raise CheckpointError(
                f"{path / CONFIG_FILE}: expected options of the network alone, got {', '.join(remote)}"
            )
        own = cls.model_class.config_class.from_pretrained(path, local_files_only=True)
        model, report = cls.model_class.from_pretrained(
            path, config=own, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        _check_report(path, report)
        described = {key: value for key, value in own.to_diff_dict().items() if key not in _ORIGIN}
        config = cls.config_class.from_dict({**options, "model": described})
        policy = cls(config, None if statistics is None else Normalization(config, statistics))
        policy.model = model.float()
        return policy

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """Chunks ``(B, H, A)`` of the model, normalised."""
        answer = self.model(**self._given(batch))
        chunks = _entry(answer, self.output)
        if chunks.dim() == 2 and self.config.chunk_size == 1:
            chunks = chunks.unsqueeze(1)
        wanted = (self.config.chunk_size, self.config.action_dim)
        if tuple(chunks.shape[1:]) != wanted:
            raise ActionError(f"policy '{self.name}': expected chunks (B, H, A) of {wanted}, got {tuple(chunks.shape)}")
        return chunks

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """The model's own."""
        single = self.config.chunk_size == 1
        extra = {self.target: batch[ACTION][:, 0] if single else batch[ACTION]}
        if self.padding:
            extra[self.padding] = batch[ACTION_IS_PAD][:, 0] if single else batch[ACTION_IS_PAD]
        loss = _entry(self.model(**self._given(batch), **extra), "loss")
        return loss, {"loss": loss.item()}

    def _given(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {argument: batch[key] for argument, key in self.arguments.items()}


def _named(options: object, keys: Collection[str]) -> list[str]:
    """Those of the keys that occur in a tree of options."""
    if isinstance(options, list | tuple):
        return [key for entry in options for key in _named(entry, keys)]
    if not isinstance(options, Mapping):
        return []
    inner = [key for entry in options.values() for key in _named(entry, keys)]
    return [key for key in options if key in keys] + inner


def _entry(answer: Any, name: str) -> Tensor:
    found = answer if isinstance(answer, Tensor) else answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(found, Tensor):
        shown = ", ".join(map(str, answer)) if isinstance(answer, Mapping) else type(answer).__name__
        raise ActionError(f"expected the model to return a tensor or a mapping with '{name}', got {shown:.80}")
    return found


def _check_report(path: Path, report: Mapping[str, Any]) -> None:
    """transformers fills what is missing with fresh weights, and drops what is left over."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        found = sorted(map(str, report.get(kind) or ()))
        if found:
            raise CheckpointError(f"{path}: the weights do not fit the model: {kind} {', '.join(found[:3])}")
