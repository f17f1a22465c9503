# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: how a denoising policy is guided to continue the chunk that is being executed.

Pure functions. Source of all formulas: Black, Galliker, Levine, "Real-Time Execution of Action Chunking Flow Policies",
arXiv 2506.07339. Flow time ``tau`` runs from 0 (noise) to 1 (action).

Legend: H horizon, A action dimension, N rows of the prefix, d delay, s execution horizon.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import ConfigurationError, closest

if TYPE_CHECKING:
    from torch import Tensor

SCHEDULES = ("exp", "linear", "ones", "zeros")
JACOBIANS = ("exact", "identity")


@dataclass(frozen=True)
class GuidanceOptions:
    """How strongly and through what a policy is guided.

    Attributes:
        schedule: of :func:`prefix_weights`.
        max_weight: beta, the largest guidance weight.
        jacobian: ``exact`` or ``identity``, see :func:`guided_velocity`.

    Raises:
        ConfigurationError: unknown name, or a weight that is not a finite number of 0 or more.
    """

    schedule: str = "exp"
    max_weight: float = 5.0
    jacobian: str = "exact"

    def __post_init__(self) -> None:
        _check_choice("schedule", self.schedule, SCHEDULES)
        _check_choice("jacobian", self.jacobian, JACOBIANS)
        if not (math.isfinite(self.max_weight) and self.max_weight >= 0.0):
            raise ConfigurationError(f"guidance max_weight: expected 0 or more, got {self.max_weight!r}")


def _check_choice(label: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"guidance {label}: unknown '{value}', {closest(value, choices)}")


def prefix_weights(start: int, end: int, total: int, schedule: str = "exp") -> NDArray[np.float64]:
    """How firmly each row of a new chunk is tied to the old one, ``(total,)`` in 0 to 1.

    Rows before ``start`` are surely executed before the new chunk arrives: 1. From ``start`` to ``end``, where the old
    chunk ends, the weight falls; from ``end`` on it is 0.

    Args:
        start: d, or less where the old chunk ends earlier.
        end: rows that the old chunk still has, H - s.
        total: H.
        schedule: ``linear``; ``exp``, which falls faster; ``ones`` up to ``end``; ``zeros`` from ``start`` on.

    Raises:
        ConfigurationError: unknown schedule, or not ``0 <= start, end <= total``.
    """
    _check_choice("schedule", schedule, SCHEDULES)
    if not (0 <= start <= total and 0 <= end <= total):
        raise ConfigurationError(f"prefix weights: expected start and end in 0 to {total}, got {start} and {end}")
    start = min(start, end)
    row = np.arange(total)
    if schedule == "ones":
        weights = np.ones(total)
    elif schedule == "zeros":
        weights = (row < start).astype(np.float64)
    else:
        weights = np.clip((start - 1 - row) / (end - start + 1) + 1.0, 0.0, 1.0)
        if schedule == "exp":
            weights = weights * np.expm1(weights) / math.expm1(1.0)
    weights[end:] = 0.0
    return weights


def inference_weights(
    *, delay: int, execution_horizon: int, horizon: int, rows: int, schedule: str = "exp"
) -> NDArray[np.float64]:
    """Weights ``(H,)`` of one guided inference; rows that the prefix does not have weigh 0.

    Args:
        delay: d, steps that will be executed before the chunk arrives.
        execution_horizon: s, steps executed since the previous observation.
        horizon: H.
        rows: N, rows of the prefix.
        schedule: of :func:`prefix_weights`.
    """
    end = max(0, min(horizon - execution_horizon, horizon))
    weights = prefix_weights(min(delay, end), end, horizon, schedule)
    weights[rows:] = 0.0
    return weights


def guidance_weight(tau: float, max_weight: float) -> float:
    """``min(beta, (1 - tau) / (tau r^2))`` with ``r^2 = (1 - tau)^2 / (tau^2 + (1 - tau)^2)``; beta at both ends.

    Args:
        tau: flow time, 0 to 1.
        max_weight: beta.
    """
    if not 0.0 <= tau <= 1.0:
        raise ConfigurationError(f"guidance weight: expected a flow time of 0 to 1, got {tau!r}")
    if tau == 0.0 or tau == 1.0:
        return max_weight
    return min(max_weight, (tau**2 + (1.0 - tau) ** 2) / (tau * (1.0 - tau)))


def guided_velocity(
    velocity: Callable[[Tensor, float], Tensor],
    x: Tensor,
    tau: float,
    prefix: Tensor,
    weights: Tensor | NDArray[Any] | float,
    max_weight: float,
    jacobian: str = "exact",
) -> Tensor:
    """The velocity at ``x``, bent so that the action it leads to continues the prefix.

    With the estimate ``A1 = x + (1 - tau) v(x, tau)`` of the finished action: ``v + gw J^T (W (prefix - A1))``, where J
    is the Jacobian of A1 with respect to x, through the network.

    Args:
        velocity: ``v(x, tau)``, the network.
        x: ``(..., H, A)`` noisy actions, normalised.
        tau: flow time, 0 to 1.
        prefix: ``(..., N, A)`` rows to continue, normalised, aligned with row 0; N <= H.
        weights: ``(H,)``, or anything that broadcasts with x.
        max_weight: beta.
        jacobian: ``exact``: the true vector-Jacobian product; ``identity``: J taken as 1, which pulls every row by
            itself and lets the network smooth it over only in later steps.

    Returns:
        Same shape as x, detached.
    """
    return _guided(velocity, lambda v, at: at + (1.0 - tau) * v, x, tau, prefix, weights, max_weight, jacobian, 1.0)


def guided_clean_sample(
    clean_sample: Callable[[Tensor], Tensor],
    x: Tensor,
    alpha_bar: float,
    prefix: Tensor,
    weights: Tensor | NDArray[Any] | float,
    max_weight: float,
    jacobian: str = "exact",
) -> Tensor:
    """The clean sample that a diffusion policy (DDPM, DDIM) estimates at ``x``, bent to continue the prefix.

    A diffusion's ``x = sqrt(a) A + sqrt(1 - a) noise`` is a flow's ``x / c`` at ``tau = sqrt(a) / c`` with
    ``c = sqrt(a) + sqrt(1 - a)``. The flow's correction, carried over, is
    ``x0 + (1 - tau) gw(tau) c J^T (W (prefix - x0))`` with J the Jacobian of x0 with respect to x.

    Args:
        clean_sample: estimate of the finished action, ``x0(x)``.
        x: ``(..., H, A)`` noisy actions, normalised.
        alpha_bar: cumulative product of the noise schedule at this step, 0 to 1.
        prefix: as for :func:`guided_velocity`.
        weights: as for :func:`guided_velocity`.
        max_weight: beta.
        jacobian: as for :func:`guided_velocity`.

    Returns:
        Same shape as x, detached.
    """
    scale = math.sqrt(alpha_bar) + math.sqrt(1.0 - alpha_bar)
    tau = math.sqrt(alpha_bar) / scale
    factor = (1.0 - tau) * scale
    return _guided(
        lambda at, _: clean_sample(at), lambda x0, _: x0, x, tau, prefix, weights, max_weight, jacobian, factor
    )


def _guided(
    network: Callable[[Tensor, float], Tensor],
    estimate: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    tau: float,
    prefix: Tensor,
    weights: Tensor | NDArray[Any] | float,
    max_weight: float,
    jacobian: str,
    factor: float,
) -> Tensor:
    """``network(x) + factor gw J^T (W (prefix - estimate))``, J of the estimate with respect to x."""
    import torch

    _check_choice("jacobian", jacobian, JACOBIANS)
    target, tied = _aligned(prefix, weights, x)
    # Inference mode around the call would leave nothing to differentiate, silently or with an error deep inside.
    with torch.inference_mode(False), torch.enable_grad():
        at = x.detach().clone().requires_grad_(jacobian == "exact")
        out = network(at, tau)  # evaluated with gradients on: afterwards its Jacobian would be lost
        finished = estimate(out, at)
        error = tied * (target - finished.detach())
        if jacobian == "exact":
            (correction,) = torch.autograd.grad(finished, at, error)
        else:
            correction = error
    return (out + factor * guidance_weight(tau, max_weight) * correction).detach()


def _aligned(prefix: Tensor, weights: Tensor | NDArray[Any] | float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Prefix and weights in the shape of x; rows that the prefix does not have are zero and weigh nothing."""
    import torch

    tied = torch.as_tensor(weights, dtype=x.dtype, device=x.device)
    if x.dim() < 2:
        return prefix.to(x).clone(), tied
    rows, have = x.shape[-2], prefix.shape[-2]
    if have > rows or prefix.shape[-1] != x.shape[-1]:
        raise ConfigurationError(
            f"guidance prefix: expected at most {rows} rows of {x.shape[-1]} values, got shape {tuple(prefix.shape)}"
        )
    if tied.dim() == 1:
        if tied.shape != (rows,):
            raise ConfigurationError(f"guidance weights: expected ({rows},), got {tuple(tied.shape)}")
        tied = tied[:, None]
    tied = tied.expand(x.shape).clone()
    tied[..., have:, :] = 0.0
    target = torch.zeros_like(x)
    target[..., :have, :] = prefix.to(x)
    return target, tied
