# SPDX-License-Identifier: Apache-2.0
"""Turns a tree of dataclasses into flat, documented and validated parameters.

A field made with :func:`parameter` is a leaf, :func:`group` nests a dataclass, and :func:`named_groups` nests one
dataclass under any number of user-chosen names (``cameras.<name>.topic``). Nothing here knows ROS.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policy_ros.errors import ConfigurationError, closest

_LEAF, _GROUP, _NAMED = "leaf", "group", "named"


@dataclass(frozen=True)
class Constraint:
    """Documentation and limits of one parameter.

    Attributes:
        description: one line.
        unit: of the value.
        minimum: smallest value.
        maximum: largest value.
        choices: of a string.
        dynamic: may change while the node is active.
        fixed: only the command line or a file may set it, nobody at run time.
        unlimited: may be infinite.
    """

    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    dynamic: bool = False
    fixed: bool = False
    unlimited: bool = False


def parameter(
    default: Any,
    description: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Iterable[str] = (),
    dynamic: bool = False,
    fixed: bool = False,
    unlimited: bool = False,
) -> Any:
    """A leaf of the schema; lists are given and kept as tuples."""
    constraint = Constraint(description, unit, minimum, maximum, tuple(choices), dynamic, fixed, unlimited)
    return dataclasses.field(default=default, metadata={_LEAF: constraint})


def group(cls: type) -> Any:
    """A nested dataclass, e.g. ``gate`` for ``gate.max_velocity``."""
    return dataclasses.field(default_factory=cls, metadata={_GROUP: cls})


def named_groups(cls: type) -> Any:
    """One dataclass under each of any number of names, e.g. ``cameras.<name>.topic``; a dict by name."""
    return dataclasses.field(default_factory=dict, metadata={_NAMED: cls})


@dataclass(frozen=True)
class Leaf:
    """One parameter: its path (a ``<name>`` stands for any name), Python type, default and constraint."""

    path: tuple[str, ...]
    type: Any
    default: Any
    constraint: Constraint

    @property
    def name(self) -> str:
        """Dotted name, as in a parameter file."""
        return ".".join(self.path)

    @property
    def is_array(self) -> bool:
        """Whether the value is a tuple."""
        return typing.get_origin(self.type) is tuple

    @property
    def scalar(self) -> type:
        """``bool``, ``int``, ``float`` or ``str``: the type of the value or of its elements."""
        return typing.get_args(self.type)[0] if self.is_array else self.type


PLACEHOLDER = "<name>"


@functools.cache  # parameters are read while the robot moves, and looking up the types anew takes a tenth of a second
def leaves(cls: type, prefix: tuple[str, ...] = ()) -> tuple[Leaf, ...]:
    """All leaves of a schema class in the order of declaration."""
    return tuple(_leaves(cls, prefix))


def _leaves(cls: type, prefix: tuple[str, ...]) -> Iterator[Leaf]:
    hints = _hints(cls)
    for field in dataclasses.fields(cls):
        path = (*prefix, field.name)
        if _LEAF in field.metadata:
            yield Leaf(path, hints[field.name], field.default, field.metadata[_LEAF])
        elif _GROUP in field.metadata:
            yield from leaves(field.metadata[_GROUP], path)
        else:
            yield from leaves(field.metadata[_NAMED], (*path, PLACEHOLDER))


@functools.cache
def _hints(cls: type) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


def find(cls: type, name: str) -> Leaf | None:
    """The leaf that a full parameter name stands for, with its real path, or None."""
    parts = tuple(name.split("."))
    for leaf in leaves(cls):
        if len(leaf.path) == len(parts) and all(
            expected in (PLACEHOLDER, part) for expected, part in zip(leaf.path, parts, strict=True)
        ):
            return dataclasses.replace(leaf, path=parts)
    return None


def coerce(leaf: Leaf, value: Any) -> Any:
    """The value as the leaf's type; an integer becomes a float where one is wanted (``rate_hz:=50``).

    Raises:
        ConfigurationError: wrong type, not finite, out of range, or not one of the choices.
    """
    if leaf.is_array:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise _wrong_type(leaf, value)
        return tuple(_coerce_scalar(leaf, item) for item in value)
    return _coerce_scalar(leaf, value)


def _coerce_scalar(leaf: Leaf, value: Any) -> Any:
    wanted = leaf.scalar
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not wanted:
        raise _wrong_type(leaf, value)
    limits = leaf.constraint
    if wanted is float and (math.isnan(value) or (math.isinf(value) and not limits.unlimited)):
        raise ConfigurationError(f"{leaf.name}: expected a {'' if limits.unlimited else 'finite '}number, got {value}")
    if limits.minimum is not None and value < limits.minimum:
        raise ConfigurationError(f"{leaf.name}: expected at least {limits.minimum:g}{_unit(limits)}, got {value:g}")
    if limits.maximum is not None and value > limits.maximum:
        raise ConfigurationError(f"{leaf.name}: expected at most {limits.maximum:g}{_unit(limits)}, got {value:g}")
    if limits.choices and value not in limits.choices:
        raise ConfigurationError(f"{leaf.name}: '{value}' is not a choice; {closest(value, limits.choices)}")
    return value


def _unit(constraint: Constraint) -> str:
    return f" {constraint.unit}" if constraint.unit else ""


def type_name(leaf: Leaf) -> str:
    """Readable type: ``float``, ``list of float``, …"""
    return f"list of {leaf.scalar.__name__}" if leaf.is_array else leaf.scalar.__name__


def _wrong_type(leaf: Leaf, value: Any) -> ConfigurationError:
    return ConfigurationError(f"{leaf.name}: expected {type_name(leaf)}, got {type(value).__name__} {value!r}")


def read(cls: type, values: Mapping[str, Any]) -> Any:
    """Build an instance of the schema from flat values; what is absent keeps its default.

    Args:
        values: full parameter name to value.

    Raises:
        ConfigurationError: an unknown name (with the closest known one), or what :func:`coerce` raises.
    """
    for name in values:
        if find(cls, name) is None:
            raise ConfigurationError(
                f"unknown parameter '{name}'; {closest(name, (leaf.name for leaf in leaves(cls)))}"
            )
    return _read(cls, values, ())


def _read(cls: type, values: Mapping[str, Any], prefix: tuple[str, ...]) -> Any:
    hints = _hints(cls)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        path = (*prefix, field.name)
        name = ".".join(path)
        if _LEAF in field.metadata:
            if name in values:
                leaf = Leaf(path, hints[field.name], field.default, field.metadata[_LEAF])
                arguments[field.name] = coerce(leaf, values[name])
        elif _GROUP in field.metadata:
            arguments[field.name] = _read(field.metadata[_GROUP], values, path)
        else:
            inner = field.metadata[_NAMED]
            arguments[field.name] = {key: _read(inner, values, (*path, key)) for key in group_names(values, name)}
    return cls(**arguments)


def group_names(values: Iterable[str], group_name: str) -> list[str]:
    """The user-chosen names under a group, sorted: ``["top"]`` for ``cameras`` given ``cameras.top.topic``."""
    depth = group_name.count(".") + 1
    start = group_name + "."
    return sorted({name.split(".")[depth] for name in values if name.startswith(start)})


def json_object(name: str, text: str) -> dict[str, Any]:
    """The JSON object in a text parameter; an empty text is an empty object.

    Raises:
        ConfigurationError: something else.
    """
    try:
        value = json.loads(text) if text else {}
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{name}: expected a JSON object, got {text!r} ({error})") from None
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name}: expected a JSON object, got {text!r}")
    return value
