# SPDX-License-Identifier: Apache-2.0
"""Tensors of an original under the names of ours, with every one accounted for."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from policy_ros.errors import CheckpointError


class Renaming:
    """Takes tensors of an original by their names; none is forgotten silently.

    Args:
        tensors: of the original.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._left = dict(tensors)
        self.taken: dict[str, Tensor] = {}
        self.dropped: list[str] = []

    def move(self, before: str, after: str) -> None:
        """All tensors whose names begin with ``before`` to names that begin with ``after``."""
        for name in self._matching(before):
            self.taken[after + name.removeprefix(before)] = self._left.pop(name)

    def drop(self, before: str) -> None:
        """Leave tensors out whose names begin with ``before``, because the original does not use them either."""
        for name in self._matching(before):
            self.dropped.append(name)
            del self._left[name]

    def take(self, name: str) -> Tensor:
        """One tensor, to be made something of.

        Raises:
            CheckpointError: there is none of this name.
        """
        if name not in self._left:
            raise CheckpointError(f"expected a tensor '{name}', got none; is it another kind of policy?")
        return self._left.pop(name)

    def has(self, before: str) -> bool:
        """Whether tensors are left whose names begin with ``before``."""
        return bool(self._matching(before))

    def names(self) -> tuple[str, ...]:
        """Of the tensors that are left."""
        return tuple(self._left)

    def finish(self) -> dict[str, Tensor]:
        """What was moved.

        Raises:
            CheckpointError: a tensor is left whose meaning is not known.
        """
        if self._left:
            shown = ", ".join(f"'{name}'" for name in sorted(self._left)[:3])
            raise CheckpointError(f"{len(self._left)} tensors of unknown meaning, such as {shown}: another variant")
        return self.taken

    def _matching(self, before: str) -> list[str]:
        return [name for name in self._left if name.startswith(before)]
