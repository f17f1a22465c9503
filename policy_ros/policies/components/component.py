# SPDX-License-Identifier: Apache-2.0
"""What a component is: a network that its options describe completely."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from torch import nn

from policy_ros.errors import ConfigurationError, closest
from policy_ros.policies.config import coerce

OptionsT = TypeVar("OptionsT", bound="ComponentOptions")


@dataclass(frozen=True, kw_only=True)
class ComponentOptions:
    """Base of the options of components: a frozen dataclass whose ``__post_init__`` checks what types cannot say.

    Fields are of type ``int``, ``float``, ``bool``, ``str``, ``Literal``, a tuple of one of these, or one ``| None``.
    """

    @classmethod
    def from_dict(cls: type[OptionsT], values: Mapping[str, Any]) -> OptionsT:
        """Build from the content of a YAML file.

        Raises:
            ConfigurationError: a key is unknown, a required one is missing, or a value has the wrong type or range.
        """
        hints = typing.get_type_hints(cls)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for key in values:
            if key not in fields:
                raise ConfigurationError(f"{key!r:.80} is no option of {cls.__name__}: {closest(str(key), fields)}")
        missing = [
            name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in values
        ]
        if missing:
            raise ConfigurationError(f"{', '.join(missing)}: expected a value, got none")
        return cls(**{key: coerce(key, value, hints[key]) for key, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Inverse of :meth:`from_dict`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


class Component(nn.Module):
    """Base of component types. Its constructor takes the options alone, and must work under ``torch.device("meta")``.

    Args:
        options: of this component, an ``options_class``.
    """

    name: ClassVar[str]
    options_class: ClassVar[type[ComponentOptions]]

    def __init__(self, options: ComponentOptions) -> None:
        super().__init__()
        self.options = options
