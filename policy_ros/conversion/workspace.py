# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of Diffusion Policy's workspaces (github.com/real-stanford/diffusion_policy): configuration and weights.

The file is a dictionary of ``cfg``, an OmegaConf object, ``state_dicts`` and ``pickles``. OmegaConf and dill are not
imported: the few classes and functions of theirs that such a file names are stood in for by ones that only keep what
they are given. ``pickles`` hold further pickles as bytes and stay closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from policy_ros.conversion.torch_files import StandIn, checked_tensors, read_torch_file
from policy_ros.errors import CheckpointError

_MAX_DEPTH = 32
_MAX_VALUES = 100_000


@dataclass(frozen=True)
class Workspace:
    """What a checkpoint holds.

    Attributes:
        config: plain values.
        tensors: of the policy, averaged ones where its training used them.
        averaged: whether they are.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    averaged: bool


def read_workspace(path: Path) -> Workspace:
    """Read a checkpoint of a workspace.

    Raises:
        CheckpointError: it is none, is corrupt, or needs code.
    """
    payload = read_torch_file(path, _STAND_INS)
    if not isinstance(payload, dict) or not {"cfg", "state_dicts"} <= set(payload):
        found = ", ".join(map(str, list(payload)[:5])) if isinstance(payload, dict) else type(payload).__name__
        raise CheckpointError(f"{path}: expected a workspace of Diffusion Policy with cfg and state_dicts, got {found}")
    config = _Plain(path).value(payload["cfg"])
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: cfg: expected options by name, got {type(config).__name__}")
    training = config.get("training")
    averaged = bool(isinstance(training, dict) and training.get("use_ema"))
    name = "ema_model" if averaged else "model"
    states = payload["state_dicts"]
    if not isinstance(states, dict) or name not in states:
        raise CheckpointError(f"{path}: expected the weights '{name}' in state_dicts, got none")
    return Workspace(config, checked_tensors(path, states[name], f"the weights '{name}'"), averaged)


class _Kept:
    """Keeps what a pickle says of an object."""

    def __setstate__(self, state: object) -> None:
        self.state = state

    def content(self, name: str) -> Any:
        """An attribute of it, None where it has none."""
        state = getattr(self, "state", None)
        return state.get(name) if isinstance(state, dict) else None


class _Container(_Kept):
    pass


class _Dict(_Container):
    pass


class _List(_Container):
    pass


class _Value(_Kept):
    pass


class _About(_Kept):
    pass


class _Type:
    pass


def _type_by_name(*_: object) -> type[_Type]:
    return _Type


def _nothing(*_: object) -> dict[Any, Any]:
    return {}


_STAND_INS: tuple[StandIn, ...] = (
    (_Dict, "omegaconf.dictconfig.DictConfig"),
    (_List, "omegaconf.listconfig.ListConfig"),
    (_Value, "omegaconf.nodes.AnyNode"),
    (_About, "omegaconf.base.ContainerMetadata"),
    (_About, "omegaconf.base.Metadata"),
    (_Type, "typing.Any"),
    (_type_by_name, "dill._dill._load_type"),
    (_nothing, "collections.defaultdict"),
    *((_Type, f"builtins.{name}") for name in ("bool", "dict", "float", "int", "list", "str")),  # without dill
)


class _Plain:
    """OmegaConf's objects as plain values, within bounds: an object can be inside itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0

    def value(self, node: object, depth: int = 0) -> Any:
        self._count += 1
        if depth > _MAX_DEPTH or self._count > _MAX_VALUES:
            raise CheckpointError(
                f"{self._path}: cfg: expected at most {_MAX_VALUES} options, {_MAX_DEPTH} deep; got more"
            )
        if isinstance(node, _Container):
            node = node.content("_content")
        elif isinstance(node, _Value):
            node = node.content("_val")
        if isinstance(node, dict):
            return {str(key): self.value(item, depth + 1) for key, item in node.items()}
        if isinstance(node, list | tuple):
            return [self.value(item, depth + 1) for item in node]
        if node is None or isinstance(node, bool | int | float | str):
            return node
        raise CheckpointError(f"{self._path}: cfg: expected plain values, got {type(node).__name__}")
