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
        _check_weight(self.max_weight)


def _check_choice(label: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"guidance {label}: unknown '{value}', {closest(value, choices)}")


def _check_weight(max_weight: float) -> None:
    if not 0.0 <= max_weight < math.inf:
        raise ConfigurationError(f"guidance max_weight: expected a finite number of 0 or more, got {max_weight!r}")


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
    weights[:start] = 1.0  # exactly: the quotient above can miss it by a rounding
    weights[end:] = 0.0
    return weights


def inference_weights(
    *, delay: int, execution_horizon: int, horizon: int, rows: int, schedule: str = "exp"
) -> NDArray[np.float64]:
    """Weights ``(H,)`` of one guided inference: ``start = min(d, H - s)``, ``end = H - s``.

    Rows that the prefix does not have weigh 0, also where ``end`` promises more of them: nothing is pulled to padding.

    Args:
        delay: d, steps that will be executed before the chunk arrives.
        execution_horizon: s, steps executed since the previous observation.
        horizon: H.
        rows: N, rows of the prefix.
        schedule: of :func:`prefix_weights`.

    Raises:
        ConfigurationError: unknown schedule, or a negative count.
    """
    if min(delay, execution_horizon, rows) < 0:
        raise ConfigurationError(
            "guidance: expected delay, execution horizon and rows of the prefix of 0 or more, "
            f"got {delay}, {execution_horizon} and {rows}"
        )
    end = max(0, horizon - execution_horizon)
    weights = prefix_weights(min(delay, end), end, horizon, schedule)
    weights[rows:] = 0.0
    return weights


def guidance_weight(tau: float, max_weight: float) -> float:
    """``min(beta, (1 - tau) / (tau r^2))`` with ``r^2 = (1 - tau)^2 / (tau^2 + (1 - tau)^2)``; beta at both ends.

    Args:
        tau: flow time, 0 to 1.
        max_weight: beta.

    Raises:
        ConfigurationError: tau outside 0 to 1, or a negative weight.
    """
    if not 0.0 <= tau <= 1.0:
        raise ConfigurationError(f"guidance weight: expected a flow time of 0 to 1, got {tau!r}")
    _check_weight(max_weight)
    if tau in (0.0, 1.0):  # the formula grows without bound toward both
        return float(max_weight)
    return min(float(max_weight), float((tau**2 + (1.0 - tau) ** 2) / (tau * (1.0 - tau))))


def guided_velocity(
    velocity: Callable[[Tensor, float], Tensor],
    x: Tensor,
    tau: float,
    prefix: Tensor | NDArray[Any],
    weights: Tensor | NDArray[Any] | float,
    max_weight: float,
    jacobian: str = "exact",
) -> Tensor:
    """The velocity at ``x``, bent so that the action it leads to continues the prefix.

    With the estimate ``A1 = x + (1 - tau) v(x, tau)`` of the finished action: ``v + gw J^T (W (prefix - A1))``, where J
    is the Jacobian of A1 with respect to x, through the network.

    Works whatever gradient mode is around, and leaves the gradients of parameters alone. In inference mode, what the
    network closes over must not have been computed there: torch refuses to differentiate through that, with an error.

    Args:
        velocity: ``v(x, tau)``, the network; same shape as x.
        x: ``(…, H, A)`` noisy actions, normalised; with fewer than two axes, rows of one value.
        tau: flow time, 0 to 1.
        prefix: ``(…, N, A)`` rows to continue, normalised, aligned with row 0 of x; N <= H.
        weights: ``(H,)``, or anything that broadcasts with x; 0 or more. Where it is 0 the prefix can be anything.
        max_weight: beta.
        jacobian: ``exact``: the true vector-Jacobian product; ``identity``: J taken as 1, which pulls every row by
            itself, as LeRobot does, and costs no backward pass.

    Returns:
        Same shape as x, detached.

    Raises:
        ConfigurationError: shapes, weights or names that do not fit, or a network that tracks no gradients.
    """
    weight = guidance_weight(tau, max_weight)
    free, error, back = _differentiate(
        lambda at: velocity(at, tau), lambda v, at: at + (1.0 - tau) * v, x, prefix, weights, jacobian
    )
    correction = error if back is None else error + (1.0 - tau) * back
    return free + weight * correction


def guided_clean_sample(
    clean_sample: Callable[[Tensor], Tensor],
    x: Tensor,
    alpha_bar: float,
    prefix: Tensor | NDArray[Any],
    weights: Tensor | NDArray[Any] | float,
    max_weight: float,
    jacobian: str = "exact",
) -> Tensor:
    """The clean sample that a diffusion policy (DDPM, DDIM) estimates at ``x``, bent to continue the prefix.

    A diffusion's ``x = sqrt(a) A + sqrt(1 - a) noise`` is ``c z``, where ``z = tau A + (1 - tau) noise`` is a flow's
    noisy action at ``tau = sqrt(a) / c`` and ``c = sqrt(a) + sqrt(1 - a)``. The flow's estimate ``A1(z)`` is
    ``x0(c z)``, its Jacobian therefore ``c J``, and a velocity bent by ``gw c J^T e`` moves the estimate by ``1 - tau``
    times that: ``x0 + (1 - tau) gw(tau) c J^T (W (prefix - x0))``, J the Jacobian of x0 with respect to x.

    Args:
        clean_sample: estimate of the finished action, ``x0(x)``; same shape as x.
        x: ``(…, H, A)`` noisy actions, normalised.
        alpha_bar: a, cumulative product of the noise schedule at this step, 0 to 1.
        prefix: as for :func:`guided_velocity`.
        weights: as for :func:`guided_velocity`.
        max_weight: beta.
        jacobian: as for :func:`guided_velocity`; ``identity`` takes the flow's Jacobian, ``c J``, as 1.

    Returns:
        Same shape as x, detached.

    Raises:
        ConfigurationError: as for :func:`guided_velocity`, or alpha_bar outside 0 to 1.
    """
    if not 0.0 <= alpha_bar <= 1.0:
        raise ConfigurationError(f"guidance alpha_bar: expected 0 to 1, got {alpha_bar!r}")
    scale = math.sqrt(alpha_bar) + math.sqrt(1.0 - alpha_bar)
    tau = math.sqrt(alpha_bar) / scale
    weight = (1.0 - tau) * guidance_weight(tau, max_weight)
    free, error, back = _differentiate(clean_sample, lambda x0, _: x0, x, prefix, weights, jacobian)
    correction = error if back is None else scale * back
    return free + weight * correction


def _differentiate(
    network: Callable[[Tensor], Tensor],
    estimate: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    prefix: Tensor | NDArray[Any],
    weights: Tensor | NDArray[Any] | float,
    jacobian: str,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What a guided step is made of, each in the shape of x and detached.

    Args:
        network: of x.
        estimate: the finished action, from what the network says and x.
        x: as for :func:`guided_velocity`; so are the others.

    Returns:
        What the network says; the error ``W (prefix - estimate)``; and that error taken back through the network, its
        Jacobian's transpose times the error, or None where the Jacobian is to be the identity.
    """
    import torch

    _check_choice("jacobian", jacobian, JACOBIANS)
    exact = jacobian == "exact"
    # Inference mode around the call would leave nothing to differentiate, silently or with an error deep inside.
    with torch.inference_mode(False), torch.set_grad_enabled(exact):
        target, tied = _aligned(prefix, weights, x)
        at = x.detach().clone().requires_grad_(exact)
        out = network(at)  # evaluated with gradients on: afterwards its Jacobian would be lost
        if out.shape != x.shape:
            raise ConfigurationError(
                f"guidance: expected the network to return {tuple(x.shape)}, got {tuple(out.shape)}"
            )
        free = out.detach()
        error = tied * (target - estimate(free, at.detach()))
        if not exact:
            return free, error, None
        back = torch.autograd.grad(out, at, error, allow_unused=True)[0] if out.requires_grad else None
        if back is None:
            _check_constant(network, at, free)
            back = torch.zeros_like(x)
        return free, error, back


def _check_constant(network: Callable[[Tensor], Tensor], at: Tensor, out: Tensor) -> None:
    """Refuse a network that depends on its input without gradients: its exact Jacobian would be wrong, unnoticed."""
    import torch

    with torch.no_grad():
        moved = network(at + 1.0)
    if not torch.equal(moved, out):
        raise ConfigurationError(
            "guidance: the network depends on its input without tracking gradients, so its Jacobian is lost: "
            "remove no_grad, inference_mode or detach inside it, or choose jacobian 'identity'"
        )


def _aligned(prefix: Tensor | NDArray[Any], weights: Tensor | NDArray[Any] | float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Prefix and weights in the shape of x. Where the weight is 0 and in rows that do not exist, both are 0."""
    import torch

    given, tied = torch.as_tensor(prefix).to(x), torch.as_tensor(weights).to(x)
    if x.dim() < 2:  # rows of one value
        target, pull = _aligned(given.reshape(-1, 1), tied, x.reshape(-1, 1))
        return target.reshape(x.shape), pull.reshape(x.shape)
    rows, width = x.shape[-2:]
    have = given.shape[-2] if given.dim() >= 2 else rows + 1
    if have > rows or given.shape[-1] != width or not _expands(given.shape[:-2], x.shape[:-2]):
        raise ConfigurationError(
            f"guidance prefix: expected at most {rows} rows of {width} values, got shape {tuple(given.shape)}"
        )
    if tied.dim() == 1 and len(tied) == rows:
        tied = tied[:, None]
    elif tied.dim() == 1 or not _expands(tied.shape, x.shape):
        raise ConfigurationError(f"guidance weights: expected ({rows},), got {tuple(tied.shape)}")
    if not bool((tied >= 0.0).all()):
        raise ConfigurationError("guidance weights: expected 0 or more, got a negative one or one that is no number")
    target, pull = torch.zeros_like(x), torch.zeros_like(x)
    target[..., :have, :] = given
    pull[..., :have, :] = tied.expand(x.shape)[..., :have, :]
    return torch.where(pull > 0.0, target, 0.0), pull


def _expands(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a tensor of this shape can be expanded to the other."""
    return len(shape) <= len(wanted) and all(a in (1, b) for a, b in zip(shape[::-1], wanted[::-1], strict=False))
