# SPDX-License-Identifier: Apache-2.0
"""Pickles in the form of originals that ``policy-ros convert`` reads, made from networks of ours."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policy_ros.policies.base import Policy

_VAE = {
    "vae_encoder.": "encoder.",
    "vae_encoder_cls_embed.": "cls_embed.",
    "vae_encoder_robot_state_input_proj.": "encoder_joint_proj.",
    "vae_encoder_action_input_proj.": "encoder_action_proj.",
    "vae_encoder_latent_output_proj.": "latent_proj.",
    "vae_encoder_pos_enc": "pos_table",
}
_ACT = {
    **_VAE,
    "encoder.": "transformer.encoder.",
    "decoder.": "transformer.decoder.",
    "backbone.": "backbones.0.0.body.",
    "encoder_img_feat_input_proj.": "input_proj.",
    "encoder_robot_state_input_proj.": "input_proj_robot_state.",
    "encoder_latent_input_proj.": "latent_out_proj.",
    "encoder_1d_feature_pos_embed.": "additional_pos_embed.",
    "decoder_pos_embed.": "query_embed.",
    "action_head.": "action_head.",
}


def act_original(policy: Policy, *, decoder_layers: int = 7) -> dict[str, Tensor]:
    """The ``state_dict`` of the authors' ``ACTPolicy`` with the weights of our ACT.

    Their decoder has further layers, whose output they do not use, and a head for padding.
    """
    found: dict[str, Tensor] = OrderedDict()
    for name, value in policy.state_dict().items():
        ours = name.removeprefix("model.")
        before = next(prefix for prefix in _ACT if ours.startswith(prefix))
        found[f"model.{_ACT[before]}{ours.removeprefix(before)}"] = value
    first = "model.transformer.decoder.layers.0."
    for name in [name for name in found if name.startswith(first)]:
        for layer in range(1, decoder_layers):
            further = f"model.transformer.decoder.layers.{layer}.{name.removeprefix(first)}"
            found[further] = torch.randn_like(found[name])
    found["model.is_pad_head.weight"] = torch.randn(1, policy.config.dim_model)
    found["model.is_pad_head.bias"] = torch.randn(1)
    return found


def act_statistics(policy: Policy) -> dict[str, Any]:
    """What the authors pickle as ``dataset_stats.pkl``."""
    statistics = policy.normalization.statistics()
    state, action = statistics["observation.state"], statistics["action"]
    return {
        "action_mean": action["mean"].numpy(),
        "action_std": action["std"].numpy(),
        "qpos_mean": state["mean"].numpy(),
        "qpos_std": state["std"].numpy(),
        "example_qpos": np.zeros((5, len(state["mean"]))),
    }


def write_act_original(policy: Policy, directory: Path, *, protocol: int = 4) -> Path:
    """``policy_best.ckpt`` and ``dataset_stats.pkl`` below ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    torch.save(act_original(policy), directory / "policy_best.ckpt")
    (directory / "dataset_stats.pkl").write_bytes(pickle.dumps(act_statistics(policy), protocol=protocol))
    return directory


def unet_original(policy: Policy, columns: Sequence[int]) -> dict[str, Tensor]:
    """The U-Net of the authors' Diffusion Policy with the weights of ours.

    Args:
        policy: ours.
        columns: which column of our condition each of theirs is.
    """
    found = {}
    for name, value in policy.state_dict().items():
        if not name.startswith("diffusion.unet."):
            continue
        theirs = name.removeprefix("diffusion.unet.")
        theirs = theirs.replace(".conv1.block.", ".blocks.0.block.").replace(".conv2.block.", ".blocks.1.block.")
        if theirs.startswith(("down_modules", "up_modules")) and theirs.split(".")[2] == "2":
            stage, place = theirs.rsplit(".", 1)
            theirs = f"{stage}.conv.{place}"
        found[f"model.{theirs}"] = value[:, list(columns)] if theirs.endswith("cond_encoder.1.weight") else value
    return found


def encoder_original(policy: Policy, ours: str, camera: str) -> dict[str, Tensor]:
    """An image encoder of robomimic 0.2 with the weights of ours; its parts have two names each."""
    found: dict[str, Tensor] = {}
    state = policy.state_dict()
    for name in [name for name in state if name.startswith(ours)]:
        part, _, rest = name.removeprefix(ours).partition(".")
        if part == "backbone":
            names = [f"backbone.nets.{rest}", f"nets.0.nets.{rest}"]
        elif part == "pool" and rest.startswith("nets."):
            names = [f"pool.{rest}", f"nets.1.{rest}"]
        elif part == "out":
            names = [f"nets.3.{rest}"]
        else:
            continue
        found |= {f"obs_encoder.obs_nets.{camera}.{theirs}": state[name] for theirs in names}
    grid = state[f"{ours}pool.pos_grid"]
    for where in ("pool", "nets.1"):
        prefix = f"obs_encoder.obs_nets.{camera}.{where}."
        found |= {f"{prefix}pos_x": grid[None, :, 0], f"{prefix}pos_y": grid[None, :, 1]}
        found[f"{prefix}temperature"] = torch.ones(1)
    return found


def normalizer_original(name: str, scale: Sequence[float], offset: Sequence[float]) -> dict[str, Tensor]:
    """One field of the authors' ``LinearNormalizer``, with the statistics that it keeps beside."""
    prefix = f"normalizer.params_dict.{name}."
    fields = {"scale": torch.tensor(scale), "offset": torch.tensor(offset)}
    inputs = {f"input_stats.{key}": torch.zeros(len(scale)) for key in ("min", "max", "mean", "std")}
    return {prefix + key: value for key, value in {**fields, **inputs}.items()}


def write_workspace(path: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """A workspace's checkpoint as dill and OmegaConf write it."""
    parts = {"_dummy_variable": torch.zeros(0), "mask_generator._dummy_variable": torch.zeros(0)}
    weights = {**parts, **tensors}
    with _omegaconf() as node:
        payload = {
            "cfg": node(config),
            "state_dicts": {
                "model": {name: torch.zeros_like(value) for name, value in weights.items() if "normalizer" in name},
                "ema_model": dict(weights),
                "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4, "betas": (0.95, 0.999)}]},
            },
            "pickles": {"_output_dir": pickle.dumps("/data/outputs"), "global_step": pickle.dumps(7)},
        }
        torch.save(payload, path)
    return path


class Evil:
    """Unpickled as it wants, it makes a directory."""

    def __init__(self, made: Path) -> None:
        self._made = str(made)

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (self._made,)


def evil_pickle(made: Path) -> bytes:
    """A pickle that would make a directory."""
    stream = io.BytesIO()
    pickle.dump({"action_mean": Evil(made)}, stream)
    return stream.getvalue()


@contextmanager
def _omegaconf() -> Iterator[Any]:
    """Makes objects of classes that are named as OmegaConf's and dill's, which need not be installed."""

    def make(module: str, name: str) -> type:
        cls = type(name, (), {"__module__": module})
        setattr(modules[module], name, cls)
        return cls

    names = ("omegaconf", "omegaconf.dictconfig", "omegaconf.listconfig", "omegaconf.nodes", "omegaconf.base")
    modules = {name: types.ModuleType(name) for name in (*names, "dill", "dill._dill")}
    dict_config, list_config = make("omegaconf.dictconfig", "DictConfig"), make("omegaconf.listconfig", "ListConfig")
    any_node = make("omegaconf.nodes", "AnyNode")
    container, metadata = make("omegaconf.base", "ContainerMetadata"), make("omegaconf.base", "Metadata")

    def load_type(name: str) -> type:
        return getattr(__builtins__, name, dict)

    load_type.__module__, load_type.__qualname__ = "dill._dill", "_load_type"
    modules["dill._dill"]._load_type = load_type  # type: ignore[attr-defined]

    class BuiltIn:
        """A type, as dill writes one."""

        def __init__(self, name: str) -> None:
            self.name = name

        def __reduce__(self) -> tuple[Any, ...]:
            return load_type, (self.name,)

    def about(cls: type, parent: Any) -> Any:
        found = cls()
        found.__dict__ |= {"ref_type": Any, "object_type": BuiltIn("dict"), "optional": True, "key": None}
        found.__dict__ |= {"flags": None, "resolver_cache": defaultdict(dict), "parent": parent}
        return found

    def node(value: Any, parent: Any = None) -> Any:
        if isinstance(value, Mapping):
            made = dict_config()
            content: Any = {key: node(item, made) for key, item in value.items()}
        elif isinstance(value, list | tuple):
            made = list_config()
            content = [node(item, made) for item in value]
        else:
            made = any_node()
            made.__dict__ |= {"_metadata": about(metadata, None), "_parent": parent, "_val": value}
            return made
        made.__dict__ |= {"_metadata": about(container, None), "_parent": parent, "_content": content}
        return made

    kept = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield node
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
