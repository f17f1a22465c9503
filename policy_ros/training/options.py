# SPDX-License-Identifier: Apache-2.0
"""The options of a training: command line, configuration file and ``training.json`` share this one list."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.schema import json_object, leaves, parameter, read

PATHS = ("bags", "params_file")  # kept as absolute paths, so that a training resumes from any directory
NO_AVERAGE = "none"


@dataclass(frozen=True)
class TrainingOptions:
    """What decides the result of a training; where it goes is no part of it."""

    bags: tuple[str, ...] = parameter((), "Recorded bags, directories or files; required")
    params_file: tuple[str, ...] = parameter((), "Parameter file of the node, e.g. config/sim.yaml; required")
    policy: str = parameter("", "Registered name of the policy; required")
    overrides: str = parameter(
        "", 'JSON object of the policy\'s options, e.g. {"chunk_size": 20}; --set sets single ones'
    )
    relative: bool = parameter(False, "Actions as offsets from the state")
    relative_exclude: tuple[str, ...] = parameter((), "Joints whose actions stay absolute, e.g. a gripper")

    steps: int = parameter(20000, "Optimisation steps", minimum=1)
    batch_size: int = parameter(32, "Samples of a step, on each device", minimum=1)
    lr: float = parameter(
        0.0, "Learning rate. 0: the policy's optimizer_lr. That of the backbone keeps its ratio", minimum=0.0
    )
    schedule: str = parameter(
        "",
        "Of the learning rate. Empty: cosine for policies that denoise, else constant",
        choices=("", "constant", "cosine"),
    )
    warmup: int = parameter(
        -1, "Steps in which the learning rate rises. -1: the policy's, or with cosine a tenth, at most 500", minimum=-1
    )
    grad_clip: float = parameter(
        -1.0, "Largest norm of the gradient. 0: any; -1: 1 for policies that denoise, else 10", minimum=-1.0
    )
    ema: str = parameter(
        "",
        "Decay of the average of weights that is validated and saved, or none. Empty: 0.999 for policies that denoise",
    )
    precision: str = parameter("32", "Of the arithmetic", choices=("32", "bf16-mixed", "16-mixed"))
    accelerator: str = parameter("auto", "auto takes the GPU where there is one", choices=("auto", "cpu", "gpu"))
    devices: str = parameter("1", "How many, or auto for all")
    strategy: str = parameter("auto", "Of several devices", choices=("auto", "ddp"))
    threads: int = parameter(0, "CPU threads of each process. 0: torch's choice", minimum=0)
    workers: int = parameter(
        0, "Processes of each device that read bags. 0: the training's own", minimum=0, maximum=256
    )
    seed: int = parameter(0, "Of weights, split, order and noise", minimum=0)

    cameras: tuple[str, ...] = parameter((), "Cameras of the parameter file that the policy sees. Empty: all")
    image_size: tuple[int, ...] = parameter(
        (), "Height and width that images are resized to. Empty: as recorded", minimum=1
    )
    stride: int = parameter(1, "Take every n-th observation", minimum=1)
    action_topic: str = parameter("", "JointState topic of a leader arm. Empty: the outputs' command topics")
    max_action_gap_s: float = parameter(
        0.5, "Actions end where the leader arm was silent for longer", unit="s", minimum=0.001
    )
    environment_dim: int = parameter(0, "Length of observation.environment_state. 0: the policy has none", minimum=0)
    failures: bool = parameter(False, "Train on episodes that failed too")
    shuffle_buffer: int = parameter(1024, "Samples that the shuffle draws from", minimum=1)
    interleave: int = parameter(64, "Episodes that are read at a time", minimum=1)

    val_every: int = parameter(500, "Steps between validations", minimum=1)
    val_fraction: float = parameter(0.1, "Share of the episodes that validate. 0: none", minimum=0.0, maximum=0.9)
    val_samples: int = parameter(512, "Samples of a validation, at most", minimum=1)
    save_every: int = parameter(500, "Steps between saved states", minimum=1)
    log_every: int = parameter(20, "Steps between records of the loss", minimum=1)
    rollouts: int = parameter(0, "Episodes of each evaluation in a gymnasium environment. 0: none", minimum=0)
    rollout_env: str = parameter("", "Its id, e.g. policy_ros/Pick-v0")
    rollout_every: int = parameter(0, "Steps between evaluations. 0: with every validation", minimum=0)

    def __post_init__(self) -> None:
        for name in ("bags", "params_file", "policy"):
            if not getattr(self, name):
                raise ConfigurationError(f"--{name.replace('_', '-')} is missing: expected {_needed[name]}")
        if len(self.image_size) not in (0, 2):
            raise ConfigurationError(f"image_size: expected height and width, got {list(self.image_size)}")
        if self.devices != "auto" and not (self.devices.isdigit() and int(self.devices) > 0):
            raise ConfigurationError(f"devices: expected a number from 1, or auto, got '{self.devices}'")
        if self.rollouts and not self.rollout_env:
            raise ConfigurationError("rollout_env: expected the id of an environment, since rollouts are asked for")
        if self.relative_exclude and not self.relative:
            raise ConfigurationError("relative_exclude: expected relative too, since all actions are absolute without")
        self.average_decay(denoises=False)  # refuses a bad one at once
        self.policy_overrides()

    def policy_overrides(self) -> dict[str, Any]:
        """Options of the policy, by name."""
        return json_object("overrides", self.overrides)

    def average_decay(self, *, denoises: bool) -> float | None:
        """Decay of the average of weights, None for no average."""
        if self.ema == NO_AVERAGE or (not self.ema and not denoises):
            return None
        try:
            decay = float(self.ema or _DECAY)
        except ValueError:
            decay = -1.0
        if not 0.0 < decay < 1.0:
            raise ConfigurationError(f"ema: expected a decay between 0 and 1, or {NO_AVERAGE}, got '{self.ema}'")
        return decay

    def to_dict(self) -> dict[str, Any]:
        """For ``training.json``; :func:`make_options` reads it back."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


_needed = {
    "bags": "one bag or more",
    "params_file": "the parameter file of the node, e.g. config/sim.yaml",
    "policy": "the name of a policy, e.g. act",
}
_DECAY = 0.999


def make_options(values: Mapping[str, Any]) -> TrainingOptions:
    """Checked options; what is absent keeps its default.

    Args:
        values: option to value; ``overrides`` as a mapping too.

    Raises:
        ConfigurationError: an option is unknown, missing, or of a wrong type or range.
    """
    options: TrainingOptions = read(TrainingOptions, normalized(values))
    return options


def normalized(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values in the one form in which they can be compared: absolute paths, overrides as sorted JSON."""
    result = dict(values)
    for name in PATHS:
        if name in result:
            listed = [result[name]] if isinstance(result[name], str) else result[name]
            result[name] = tuple(str(Path(path).expanduser().absolute()) for path in listed)
    overrides = result.get("overrides")
    if isinstance(overrides, str):
        overrides = json_object("overrides", overrides)
    if isinstance(overrides, Mapping):
        result["overrides"] = json.dumps(overrides, sort_keys=True) if overrides else ""
    for name in ("ema", "devices", "precision"):  # YAML reads 0.99 and 2 as numbers
        if isinstance(result.get(name), int | float) and not isinstance(result[name], bool):
            result[name] = str(result[name])
    return result


def read_options_file(path: Path) -> dict[str, Any]:
    """Options from YAML, or from a ``training.json``, whose options are one of several parts.

    Raises:
        ConfigurationError: it cannot be read, or is no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"configuration {path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"configuration {path}: expected YAML, got {' '.join(str(error).split())}") from None
    if isinstance(content, Mapping) and isinstance(content.get("options"), Mapping):
        content = content["options"]
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"configuration {path}: expected options by name, got {type(content).__name__}")
    return {str(name).replace("-", "_"): value for name, value in content.items()}


def check_same(kept: TrainingOptions, given: Mapping[str, Any]) -> None:
    """Refuse to resume with other options than those that a training began with.

    Args:
        kept: of ``training.json``.
        given: those that were named now.

    Raises:
        ConfigurationError: some differ; the message names each with both values.
    """
    named = normalized(given)
    overrides = {**kept.policy_overrides(), **json_object("overrides", named.get("overrides", ""))}
    before, now = _flat(kept), _flat(make_options({**kept.to_dict(), **named, "overrides": overrides}))
    changed = [f"{name} is {now[name]!r}, was {before.get(name)!r}" for name in now if now[name] != before.get(name)]
    if changed:
        raise ConfigurationError(
            f"--resume goes on with the options it began with: {'; '.join(changed)}; leave them out, or train anew"
        )


def _flat(options: TrainingOptions) -> dict[str, Any]:
    """Option to value, those of the policy one by one."""
    values = {leaf.name: getattr(options, leaf.name) for leaf in leaves(TrainingOptions) if leaf.name != "overrides"}
    return values | {f"overrides.{name}": value for name, value in options.policy_overrides().items()}
