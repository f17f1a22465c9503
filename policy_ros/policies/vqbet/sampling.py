# SPDX-License-Identifier: Apache-2.0
"""Codes drawn from what the network thinks of them."""

from __future__ import annotations

import torch
from torch import Tensor

_BELOW_ONE = 1.0 - 2.0**-53


def draw_codes(logits: Tensor, temperature: float, noise: Tensor | None) -> Tensor:
    """A code for each row of logits.

    Args:
        logits: ``(…, C)``.
        temperature: divides the logits; the lower, the more often the likeliest code is drawn.
        noise: ``(…)``, standard normal, which decides the codes; None draws from torch's global generator.

    Returns:
        ``(…)`` int64.
    """
    probabilities = torch.softmax(logits / temperature, dim=-1)
    if noise is None:
        return torch.multinomial(probabilities.flatten(0, -2), num_samples=1).view(logits.shape[:-1])
    return _inverse_transform(probabilities, torch.special.ndtr(noise.double()))


def _inverse_transform(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Inverse transform sampling: the first code up to which the probabilities add up to more than ``uniform``."""
    reached = probabilities.double().cumsum(dim=-1)
    reached = reached / reached[..., -1:]
    # Below 1, which the last code that is possible at all reaches, so that no impossible one is ever drawn.
    uniform = uniform.clamp(max=_BELOW_ONE).unsqueeze(-1)
    return (reached <= uniform).sum(dim=-1)
