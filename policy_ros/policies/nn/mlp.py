# SPDX-License-Identifier: Apache-2.0
"""Multilayer perceptrons."""

from __future__ import annotations

from torch import nn


def mlp(first: int, *widths: int) -> nn.Sequential:
    """Linear layers with ReLUs between them, ``(…, first)`` to ``(…, widths[-1])``; keys ``0``, ``2``, ``4``, …"""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(first, width), nn.ReLU()]
        first = width
    return nn.Sequential(*layers[:-1])
