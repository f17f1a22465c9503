# SPDX-License-Identifier: Apache-2.0
"""The network. It knows nothing of robots: normalised values in, normalised values out."""

import torch
from torch import Tensor, nn


class MyNetwork(nn.Module):
    """``(B, n)`` state and ``(B, 3, h, w)`` image of any size to a chunk ``(B, H, A)``."""

    def __init__(self, state_dim: int, chunk_size: int, action_dim: int, width: int) -> None:
        super().__init__()
        self.eye = nn.Sequential(
            *(nn.Conv2d(3, width, kernel_size=5, stride=3), nn.ReLU()),
            *(nn.Conv2d(width, width, kernel_size=3, stride=2), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(4), nn.Flatten()),
        )
        self.head = nn.Sequential(
            *(nn.Linear(16 * width + state_dim, width), nn.ReLU()),
            *(nn.Linear(width, chunk_size * action_dim), nn.Unflatten(1, (chunk_size, action_dim))),
        )

    def forward(self, state: Tensor, image: Tensor) -> Tensor:
        """The chunk."""
        return self.head(torch.cat((self.eye(image), state), dim=1))
