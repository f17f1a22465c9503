# SPDX-License-Identifier: Apache-2.0
"""Optimiser and schedule of a policy, from the defaults in its configuration and the options of the training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from policy_ros.errors import ConfigurationError
from policy_ros.policies.base import Policy
from policy_ros.policies.config import PolicyConfig
from policy_ros.training.options import TrainingOptions

_LR, _LR_BACKBONE = "optimizer_lr", "optimizer_lr_backbone"
_BACKBONE = "backbone"
_MAX_WARMUP = 500


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """AdamW with a schedule; the names are those of LeRobot's configurations.

    Attributes:
        lr: learning rate of all but the backbone.
        lr_backbone: of parameters below a module named ``backbone``.
        weight_decay: of matrices, and where ``decay_vectors`` of biases and normalisations too, as in LeRobot.
        betas: of the running means of gradient and squared gradient.
        eps: guards divisions.
        decay_vectors: see above.
        schedule: ``constant`` or ``cosine`` (down to 0 at the last step), both after the warm-up.
        pretraining: steps before the schedule begins, at the full rate.
        warmup: steps in which the learning rate rises.
        steps: of the whole training.
        grad_clip: largest norm of the gradient, None for any.
    """

    lr: float
    lr_backbone: float
    weight_decay: float
    betas: tuple[float, float]
    eps: float
    decay_vectors: bool
    schedule: str
    pretraining: int
    warmup: int
    steps: int
    grad_clip: float | None

    @classmethod
    def of(cls, config: PolicyConfig, options: TrainingOptions) -> Optimization:
        """The policy's preset where the options ask for nothing else.

        Policies that denoise (``denoises``) have warm-up and cosine, and decay matrices only; others are constant.
        A configuration may say otherwise in LeRobot's fields ``optimizer_*`` and ``scheduler_*``.
        """
        denoises = config.denoises
        schedule = options.schedule or getattr(config, "scheduler_name", "cosine" if denoises else "constant")
        if schedule not in ("constant", "cosine"):
            raise ConfigurationError(f"scheduler_name: expected constant or cosine, got '{schedule}'")
        pretraining = config.pretraining_steps
        if options.steps <= pretraining:
            raise ConfigurationError(
                f"steps: expected more than the {pretraining} of the first phase of this policy's training, "
                f"got {options.steps}; train for longer, or shorten that phase"
            )
        warmup = options.warmup
        if warmup < 0:
            usual = min(_MAX_WARMUP, options.steps // 10) if schedule == "cosine" else 0
            warmup = min(getattr(config, "scheduler_warmup_steps", usual), options.steps - pretraining)
        clip = options.grad_clip if options.grad_clip >= 0 else (1.0 if denoises else 10.0)
        lr = float(_of(config, _LR))
        return cls(
            lr=lr,
            lr_backbone=float(getattr(config, _LR_BACKBONE, lr)),
            weight_decay=float(getattr(config, "optimizer_weight_decay", 0.01)),
            betas=tuple(getattr(config, "optimizer_betas", (0.9, 0.999))),
            eps=float(getattr(config, "optimizer_eps", 1e-8)),
            decay_vectors=not denoises,
            schedule=schedule,
            pretraining=pretraining,
            warmup=warmup,
            steps=options.steps,
            grad_clip=clip or None,
        )

    def factor(self, step: int) -> float:
        """Of the learning rate at a step, counted from 0."""
        if step < self.pretraining:
            return 1.0
        step -= self.pretraining
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        if self.schedule == "constant":
            return 1.0
        done = (step - self.warmup) / max(1, self.steps - self.pretraining - self.warmup)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))

    def make(self, policy: Policy) -> tuple[AdamW, LambdaLR]:
        """Optimiser and schedule of the policy's parameters."""
        groups = parameter_groups(policy, self)
        optimizer = AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay)
        return optimizer, LambdaLR(optimizer, lambda step: self.factor(step))


def parameter_groups(policy: Policy, optimization: Optimization) -> list[dict[str, Any]]:
    """Every trainable parameter in one group of learning rate and weight decay; groups in a fixed order, none empty.

    Groups of which the policy says something come first.
    """
    groups: dict[tuple[bool, bool, bool, tuple[tuple[str, float], ...]], list[nn.Parameter]] = {}
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad:
            own = tuple(sorted(policy.parameter_options(name).items()))
            decays = parameter.dim() > 1 or optimization.decay_vectors
            groups.setdefault((not own, _BACKBONE in name.split("."), decays, own), []).append(parameter)
    return [
        {
            "params": groups[key],
            "lr": optimization.lr_backbone if key[1] else optimization.lr,
            "weight_decay": optimization.weight_decay if key[2] else 0.0,
            **dict(key[3]),
        }
        for key in sorted(groups)
    ]


def with_learning_rate(defaults: type[PolicyConfig], overrides: Mapping[str, Any], lr: float) -> dict[str, Any]:
    """The policy's options with this learning rate, so that the checkpoint tells what it was trained with.

    Args:
        defaults: class of the configuration.
        overrides: options that were set; a backbone's rate among them stays.
        lr: 0 for the policy's own.
    """
    changed = dict(overrides)
    if lr == 0.0:
        return changed
    if _LR in overrides:
        raise ConfigurationError(f"lr and overrides.{_LR} say the same thing: give one of them")
    own = _of(defaults, _LR)
    changed[_LR] = lr
    if hasattr(defaults, _LR_BACKBONE):
        changed.setdefault(_LR_BACKBONE, lr * getattr(defaults, _LR_BACKBONE) / own)
    return changed


def _of(config: PolicyConfig | type[PolicyConfig], name: str) -> Any:
    value = getattr(config, name, None)
    if value is None:
        kind = config if isinstance(config, type) else type(config)
        raise ConfigurationError(f"{kind.__name__} has no {name}: this policy brings no defaults for training")
    return value
