# SPDX-License-Identifier: Apache-2.0
"""Diffusion Policy as published by its authors (Chi et al. 2023, github.com/real-stanford/diffusion_policy).

Two of its policies have the form of LeRobot's ``diffusion``: the U-Net with images (``DiffusionUnetHybridImagePolicy``)
and the U-Net with a vector (``DiffusionUnetLowdimPolicy``), conditioned globally. What LeRobot computes otherwise is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from policy_ros.conversion.directories import check_free
from policy_ros.conversion.naming import Renaming
from policy_ros.conversion.options import Options
from policy_ros.conversion.result import Conversion, make, write
from policy_ros.conversion.workspace import Workspace, read_workspace
from policy_ros.data import ACTION, OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_IMAGE_PREFIX, OBSERVATION_STATE
from policy_ros.errors import CheckpointError, ConfigurationError
from policy_ros.policies.diffusion.config import DiffusionConfig
from policy_ros.policies.diffusion.policy import DiffusionPolicy
from policy_ros.policies.modes import NormalizationMode
from policy_ros.policies.normalization import Normalization

_IMAGES, _VECTOR = "DiffusionUnetHybridImagePolicy", "DiffusionUnetLowdimPolicy"
_KEYPOINTS = 32  # robomimic's image encoder, whose options the original does not change
_NORMALIZER = "normalizer.params_dict."


@dataclass(frozen=True)
class _Part:
    """What the original conditions on, in one of its places.

    Attributes:
        key: of our feature.
        columns: of a step's part of the original's condition.
        normalizer: of the original, and which of its entries; empty for all.
    """

    key: str
    columns: range
    normalizer: str
    entries: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """How an original becomes ours.

    Attributes:
        config: ours.
        parts: in our order: state, cameras, environment. Parts of one key are joined.
        cameras: the original's names, in order.
    """

    config: DiffusionConfig
    parts: Sequence[_Part]
    cameras: tuple[str, ...] = ()


def convert_diffusion(source: Path, out: Path, *, state: range | None = None, overwrite: bool = False) -> Conversion:
    """Convert a checkpoint of one of its workspaces.

    Args:
        source: the file, such as ``latest.ckpt``.
        out: directory of the checkpoint.
        state: for a policy without images: which entries of its vector are ``observation.state``; the others become
            ``observation.environment_state``.
        overwrite: replace a checkpoint that is there.

    Raises:
        CheckpointError: the file is corrupt or needs code, or its policy cannot be converted faithfully.
        ConfigurationError: ``state`` is missing or out of place, or ``out`` exists.
    """
    check_free(out, overwrite=overwrite)
    workspace = read_workspace(source)
    renaming = Renaming(workspace.tensors)
    try:
        plan = _plan(workspace, state)
        normalization = _normalization(plan, renaming)
        tensors = _rename(plan, renaming)
    except (CheckpointError, ConfigurationError) as error:
        raise type(error)(f"{source}: {error}") from error
    policy = make(DiffusionPolicy, plan.config, normalization, tensors, source)
    weights = "averaged weights (ema_model), which the original runs with" if workspace.averaged else "weights (model)"
    return write(policy, out, (weights,), overwrite=overwrite)


def _plan(workspace: Workspace, state: range | None) -> _Plan:
    options = Options("cfg.policy", workspace.config.get("policy"))
    target = options.take("_target_")
    kind = str(target).rpartition(".")[2]
    if kind == _IMAGES:
        if state is not None:
            raise ConfigurationError("--state: only for a policy without images; with images the configuration says it")
        return _plan_images(options)
    if kind == _VECTOR:
        return _plan_vector(options, state)
    raise CheckpointError(f"cfg.policy._target_: expected {_IMAGES} or {_VECTOR}, got {target!r:.120}: none such here")


def _plan_images(options: Options) -> _Plan:
    meta = options.section("shape_meta")
    inputs, parts, cameras = _features(meta.section("obs"))
    action = meta.section(ACTION)
    outputs = {ACTION: {"type": "ACTION", "shape": action.take("shape")}}
    crop = options.take("crop_shape", [76, 76])
    if crop is not None:
        options.require(
            "eval_fixed_crop",
            True,
            "without it the original crops at random when it runs, too, which ours does not",
            False,
        )
    else:
        options.take("eval_fixed_crop", False)
    values = {
        **_horizon(options),
        **_unet(options),
        "crop_shape": crop,
        "vision_backbone": "resnet18",
        "use_group_norm": options.take("obs_encoder_group_norm", False),
        "spatial_softmax_num_keypoints": _KEYPOINTS,
        "use_separate_rgb_encoder_per_camera": len(cameras) > 1,
    }
    options.require("obs_as_global_cond", True, "ours is conditioned on observations globally, not by inpainting", True)
    return _Plan(_config(options, inputs, outputs, values), parts, cameras)


def _plan_vector(options: Options, state: range | None) -> _Plan:
    length, action_dim = options.whole("obs_dim"), options.whole("action_dim")
    if state is None or not 0 <= state.start < state.stop <= length or len(state) == length:
        raise ConfigurationError(
            f"--state: expected which of the {length} entries of 'obs' are {OBSERVATION_STATE}, such as 0:2 "
            f"(the others become {OBSERVATION_ENVIRONMENT_STATE}, so not all), got "
            f"{'nothing' if state is None else f'{state.start}:{state.stop}'}"
        )
    rest = tuple(index for index in range(length) if index not in state)
    inputs = {
        OBSERVATION_STATE: {"type": "STATE", "shape": [len(state)]},
        OBSERVATION_ENVIRONMENT_STATE: {"type": "ENV", "shape": [len(rest)]},
    }
    parts = [
        _Part(OBSERVATION_STATE, state, "obs", tuple(state)),
        *(_Part(OBSERVATION_ENVIRONMENT_STATE, range(index, index + 1), "obs", (index,)) for index in rest),
    ]
    options.require("obs_as_global_cond", True, "ours is conditioned on observations globally", False)
    options.require("obs_as_local_cond", False, "ours is conditioned on observations globally", False)
    options.require("pred_action_steps_only", False, "ours denoises the whole horizon", False)
    options.require(
        "oa_step_convention", True, "without it the original's first row is of one step after the observation", False
    )
    model = options.section("model")
    model.take("_target_")
    values = {**_horizon(options), **_unet(model)}
    model.require("input_dim", action_dim, "it denoises more than actions")
    model.require("local_cond_dim", None, "ours is conditioned on observations globally", None)
    model.take("global_cond_dim", None)
    model.finish()
    outputs = {ACTION: {"type": "ACTION", "shape": [action_dim]}}
    return _Plan(_config(options, inputs, outputs, values), parts)


def _features(observed: Options) -> tuple[dict[str, Any], list[_Part], tuple[str, ...]]:
    """Our inputs, the parts of the condition in our order, and the cameras."""
    states: list[_Part] = []
    images: dict[str, tuple[_Part, Any]] = {}
    column = 0
    for name, meta in observed.items().items():
        option = Options(f"{observed.where}.{name}", meta)
        shape, kind = option.take("shape"), option.take("type", "low_dim")
        if kind == "rgb":
            key, width = OBSERVATION_IMAGE_PREFIX + name, 2 * _KEYPOINTS
            images[name] = (_Part(key, range(column, column + width), name), shape)
        elif kind == "low_dim" and isinstance(shape, list) and len(shape) == 1 and type(shape[0]) is int:
            width = shape[0]
            states.append(_Part(OBSERVATION_STATE, range(column, column + width), name))
        else:
            raise CheckpointError(
                f"{option.where}: expected rgb, or low_dim of one axis, got {kind!r:.40} {shape!r:.80}"
            )
        column += width
    if not states or not images:
        raise CheckpointError(
            f"{observed.where}: expected images and low_dim, of both at least one, for LeRobot's layout"
        )
    inputs = {
        OBSERVATION_STATE: {"type": "STATE", "shape": [sum(len(part.columns) for part in states)]},
        **{part.key: {"type": "VISUAL", "shape": shape} for part, shape in images.values()},
    }
    return inputs, [*states, *(part for part, _ in images.values())], tuple(images)


def _horizon(options: Options) -> dict[str, Any]:
    return {name: options.whole(name) for name in ("horizon", "n_obs_steps", "n_action_steps")}


def _unet(options: Options) -> dict[str, Any]:
    """The defaults are the original's, which differ between its two policies; every published file has all of them."""
    return {
        "down_dims": options.take("down_dims"),
        "kernel_size": options.take("kernel_size"),
        "n_groups": options.take("n_groups"),
        "diffusion_step_embed_dim": options.take("diffusion_step_embed_dim"),
        "use_film_scale_modulation": options.take("cond_predict_scale"),
    }


def _config(
    options: Options, inputs: Mapping[str, Any], outputs: Mapping[str, Any], values: Mapping[str, Any]
) -> DiffusionConfig:
    kinds = ("VISUAL", "STATE", "ENV", "ACTION")
    noise = _noise(options.section("noise_scheduler"), options.take("num_inference_steps", None))
    options.finish()
    try:
        return DiffusionConfig.from_dict(
            {
                "input_features": inputs,
                "output_features": outputs,
                "normalization_mapping": dict.fromkeys(kinds, NormalizationMode.MIN_MAX.value),
                **values,
                **noise,
            }
        )
    except ConfigurationError as error:
        raise CheckpointError(f"cfg.policy: {error}") from error


def _noise(scheduler: Options, inference_steps: Any) -> dict[str, Any]:
    kind = str(scheduler.take("_target_")).rpartition(".")[2]
    steps = scheduler.whole("num_train_timesteps")
    values = {
        "num_train_timesteps": steps,
        "num_inference_steps": inference_steps,
        **{name: scheduler.take(name) for name in ("beta_schedule", "beta_start", "beta_end", "prediction_type")},
        "clip_sample": scheduler.take("clip_sample", True),
    }
    if kind == "DDPMScheduler":
        scheduler.require("variance_type", "fixed_small", "ours adds noise of this variance", "fixed_small")
        if inference_steps not in (None, steps):
            raise CheckpointError(
                f"cfg.policy.num_inference_steps: expected all {steps} with DDPM, got {inference_steps!r:.40}: the "
                "diffusers of that time take fewer steps in another way than those of today"
            )
    elif kind == "DDIMScheduler":
        scheduler.require("set_alpha_to_one", True, "ours ends without noise", True)
        scheduler.require("steps_offset", 0, "ours has none", 0)
        if values["prediction_type"] != "epsilon":
            raise CheckpointError(
                f"{scheduler.where}.prediction_type: expected epsilon with DDIM, got "
                f"{values['prediction_type']!r:.40}: the "
                "diffusers of that time step in another direction than those of today"
            )
    else:
        raise CheckpointError(f"{scheduler.where}: expected DDPMScheduler or DDIMScheduler, got {kind!r:.80}")
    scheduler.finish()
    return {**values, "noise_scheduler_type": kind.removesuffix("Scheduler")}


def _normalization(plan: _Plan, renaming: Renaming) -> Normalization:
    """The original scales and shifts; the same as limits that are mapped to -1 and 1."""
    limits: dict[str, list[tuple[Tensor, Tensor]]] = {}
    known: dict[str, tuple[Tensor, Tensor]] = {}
    for part in (*plan.parts, _Part(ACTION, range(0), ACTION)):
        if part.normalizer not in known:
            known[part.normalizer] = _limits(renaming, part.normalizer)
        low, high = known[part.normalizer]
        picked = list(part.entries) or list(range(len(low)))
        if max(picked) >= len(low):
            raise CheckpointError(
                f"{_NORMALIZER}{part.normalizer}: expected more than {max(picked)} entries, got {len(low)}"
            )
        limits.setdefault(part.key, []).append((low[picked], high[picked]))
    statistics = {}
    for key, found in limits.items():
        low, high = (torch.cat(values) for values in zip(*found, strict=True))
        if key in plan.config.image_features:
            low, high = (value.expand(3).reshape(3, 1, 1) for value in (low, high))
        statistics[key] = {"min": low, "max": high}
    renaming.drop(_NORMALIZER)  # statistics of the data that scale and offset were made from
    return Normalization(plan.config, statistics)


def _limits(renaming: Renaming, name: str) -> tuple[Tensor, Tensor]:
    scale, offset = (renaming.take(f"{_NORMALIZER}{name}.{part}").double().flatten() for part in ("scale", "offset"))
    if scale.shape != offset.shape or not (torch.isfinite(scale) & torch.isfinite(offset) & (scale != 0)).all():
        raise CheckpointError(f"{_NORMALIZER}{name}: expected finite scales other than 0 and as many offsets")
    return ((-1.0 - offset) / scale).float(), ((1.0 - offset) / scale).float()


def _rename(plan: _Plan, renaming: Renaming) -> dict[str, Tensor]:
    for name in ("_dummy_variable", "mask_generator._dummy_variable"):
        renaming.drop(name)
    own: dict[str, Tensor] = {}
    for index, camera in enumerate(plan.cameras):
        encoder = f"diffusion.rgb_encoder.{index}." if len(plan.cameras) > 1 else "diffusion.rgb_encoder."
        own |= _rename_encoder(renaming, f"obs_encoder.obs_nets.{camera}.", encoder)
    columns = _columns(plan)
    for name in renaming.names():
        if name.startswith("model."):
            value = renaming.take(name)
            ours = _unet_name(name.removeprefix("model."))
            own["diffusion.unet." + ours] = value[:, columns] if ours.endswith("cond_encoder.1.weight") else value
    return {**renaming.finish(), **own}


def _rename_encoder(renaming: Renaming, before: str, after: str) -> dict[str, Tensor]:
    """An image encoder of robomimic 0.2, which has its parts under two names each."""
    if renaming.take(f"{before}pool.temperature").flatten().tolist() != [1.0]:
        raise CheckpointError(f"{before}pool.temperature: expected 1, since ours has none")
    x, y = (renaming.take(f"{before}pool.pos_{axis}").flatten() for axis in "xy")
    renaming.move(f"{before}backbone.nets.", f"{after}backbone.")
    renaming.move(f"{before}pool.nets.", f"{after}pool.nets.")
    renaming.move(f"{before}nets.3.", f"{after}out.")
    for again in ("nets.0.", "nets.1."):  # the backbone and the pool
        renaming.drop(before + again)
    return {f"{after}pool.pos_grid": torch.stack((x, y), dim=1)}


def _unet_name(name: str) -> str:
    """A tensor of the original's ``ConditionalUnet1D`` in LeRobot's."""
    for index in (0, 1):
        name = name.replace(f".blocks.{index}.block.", f".conv{index + 1}.block.")
    stages, _, place = name.partition(".2.conv.")
    return f"{stages}.2.{place}" if place else name


def _columns(plan: _Plan) -> list[int]:
    """Which column of the original's condition each of ours is: timestep first, then the parts of each step."""
    timestep = plan.config.diffusion_step_embed_dim
    step = [column for part in plan.parts for column in part.columns]
    width = len(step)
    steps = range(plan.config.n_obs_steps)
    return [*range(timestep), *(timestep + index * width + column for index in steps for column in step)]
