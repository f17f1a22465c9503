# SPDX-License-Identifier: Apache-2.0
"""Options of an original, each looked at or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy_ros.errors import CheckpointError


class Options:
    """One section of an original's configuration.

    Args:
        where: name of the section, for messages.
        values: its content.
    """

    def __init__(self, where: str, values: object) -> None:
        if not isinstance(values, Mapping):
            raise CheckpointError(f"{where}: expected a section with options, got {values!r:.80}")
        self.where = where
        self._left = dict(values)

    def take(self, name: str, *defaults: Any) -> Any:
        """An option; the default where it is absent.

        Raises:
            CheckpointError: it is absent and has no default, or refers to another by ``${…}``.
        """
        if name not in self._left and not defaults:
            raise CheckpointError(f"{self.where}.{name}: expected a value, got none")
        value = self._left.pop(name, defaults[0] if defaults else None)
        if isinstance(value, str) and "${" in value:
            raise CheckpointError(
                f"{self.where}.{name}: expected a value, got {value!r:.80}; save the checkpoint from a training whose "
                "configuration was resolved (OmegaConf.resolve), as the original's train.py does"
            )
        return value

    def whole(self, name: str, *defaults: Any) -> int:
        """A whole number."""
        value = self.take(name, *defaults)
        if type(value) is not int:
            raise CheckpointError(f"{self.where}.{name}: expected a whole number, got {value!r:.80}")
        return value

    def require(self, name: str, wanted: Any, reason: str, *defaults: Any) -> None:
        """Refuse another value, for a reason."""
        value = self.take(name, *defaults)
        if value != wanted:
            raise CheckpointError(f"{self.where}.{name}: expected {wanted!r}, got {value!r:.80}: {reason}")

    def section(self, name: str) -> Options:
        """A section within."""
        return Options(f"{self.where}.{name}", self.take(name))

    def items(self) -> dict[str, Any]:
        """All that is left, taken."""
        left, self._left = self._left, {}
        return left

    def finish(self) -> None:
        """Refuse what nobody looked at.

        Raises:
            CheckpointError: an option is left whose meaning is not known.
        """
        if self._left:
            raise CheckpointError(f"{self.where}: options that are not known here: {', '.join(sorted(self._left))}")
