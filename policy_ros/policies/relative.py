# SPDX-License-Identifier: Apache-2.0
"""Actions that are offsets from where the robot was when the chunk was predicted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RelativeActions:
    """Converts actions to offsets from the state of their observation and back, both in robot units.

    Column i of the action belongs to column i of the state. Rows of another chunk are offsets from another state: they
    have to be made absolute before they are compared with anything, or continued.

    Attributes:
        mask: for each of the A columns, whether it is an offset.
        exclude_joints: names as in the checkpoint, kept so that it is written as it was read.
        action_names: as above.
    """

    mask: tuple[bool, ...]
    exclude_joints: tuple[str, ...] = ()
    action_names: tuple[str, ...] | None = None

    @classmethod
    def excluding(
        cls, exclude_joints: tuple[str, ...], action_names: tuple[str, ...] | None, action_dim: int
    ) -> RelativeActions:
        """All columns but those whose name contains one of ``exclude_joints``, as LeRobot 0.6 reads them."""
        excluded = [name.lower() for name in exclude_joints if name]
        names = [name.lower() for name in action_names or ()][:action_dim]
        mask = [not any(part in name for part in excluded) for name in names]
        return cls(tuple(mask + [True] * (action_dim - len(mask))), exclude_joints, action_names)

    def to_relative(self, actions: Tensor, state: Tensor) -> Tensor:
        """Absolute actions ``(…, H, A)`` to offsets from ``state`` ``(…, n)``."""
        return actions - self._offset(actions, state)

    def to_absolute(self, actions: Tensor, state: Tensor) -> Tensor:
        """Offsets ``(…, H, A)`` from ``state`` ``(…, n)`` to absolute actions."""
        return actions + self._offset(actions, state)

    def _offset(self, actions: Tensor, state: Tensor) -> Tensor:
        mask = torch.tensor(self.mask, device=actions.device)
        offset = state[..., : actions.shape[-1]].to(actions) * mask
        return offset.unsqueeze(-2)
