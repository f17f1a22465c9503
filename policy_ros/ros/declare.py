# SPDX-License-Identifier: Apache-2.0
"""Declares the parameter schema on a node, with descriptors, and reads it back.

Doubles are declared with dynamic typing and coerced, so that ``rate_hz:=50`` works as ``50.0`` does. Values that the
command line or a file set under a name the schema does not have are kept and reported when the node is configured,
because a node that dies on a typo can neither be inspected nor mended.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from policy_ros.errors import ConfigurationError, closest
from policy_ros.parameters.files import OF_EVERY_NODE
from policy_ros.parameters.schema import PLACEHOLDER, Leaf, coerce, group_names, leaves, read, type_name
from policy_ros.ros.guarded import guarded

_ARRAY_TYPES = {
    int: Parameter.Type.INTEGER_ARRAY,
    float: Parameter.Type.DOUBLE_ARRAY,
    str: Parameter.Type.STRING_ARRAY,
}


class DeclaredParameters:
    """The schema as declared on one node.

    Args:
        node: the node to declare on.
        schema: dataclass made with ``policy_ros.parameters.schema``.
        locked: says why a parameter that is not dynamic cannot change now, or returns an empty string.
        check: raises ConfigurationError if a full set of parameters cannot be applied while running; told the names of
            those that are being set.
        applied: called with the new full set after dynamic parameters were set, and with the names of all that were.
    """

    def __init__(
        self,
        node: Node,
        schema: type,
        *,
        locked: Callable[[], str],
        check: Callable[[Any, frozenset[str]], None],
        applied: Callable[[Any, frozenset[str]], None],
    ) -> None:
        self._node = node
        self._schema = schema
        self._locked = locked
        self._check = check
        self._applied = applied
        self._declared: dict[str, Leaf] = {}
        self._restoring = False
        # What the command line or a file set that the schema refuses, by name: told when the node is configured.
        self._refused: dict[str, str] = {}
        # rclpy offers no public way to see the names that were given but not declared.
        self._given: Mapping[str, Parameter] = node._parameter_overrides
        for leaf in leaves(schema):
            if PLACEHOLDER not in leaf.path:
                self._declare(leaf)
        for group in sorted({leaf.path[0] for leaf in leaves(schema) if PLACEHOLDER in leaf.path}):
            self._declare_group(group, group_names(self._given, group))
        self._refuse_unknown_names()
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(guarded(node, self._apply))

    def _declare_group(self, group: str, names: Iterable[str]) -> None:
        """Declare all parameters of ``group.<name>`` for each name, as far as they are not declared yet."""
        for name in names:
            for leaf in leaves(self._schema):
                if leaf.path[:2] == (group, PLACEHOLDER):
                    self._declare(dataclasses.replace(leaf, path=(group, name, *leaf.path[2:])))

    def read(self) -> Any:
        """All parameters as an instance of the schema.

        Raises:
            ConfigurationError: an unknown name, a wrong type, a value out of range.
        """
        if self._refused:
            raise ConfigurationError("; ".join(self._refused.values()))
        return read(self._schema, self._values())

    def restore(self, values: Mapping[str, Any]) -> None:
        """Make parameters say again what is the case; neither checked nor applied. On the thread of the callbacks."""
        self._restoring = True
        try:
            self._node.set_parameters([Parameter(name, value=value) for name, value in values.items()])
        finally:
            self._restoring = False

    def _values(self) -> dict[str, Any]:
        return {name: python_value(self._node.get_parameter(name)) for name in self._declared}

    def _declare(self, leaf: Leaf) -> None:
        if leaf.name in self._declared:
            return
        value = leaf.default
        if leaf.name in self._given:
            try:
                value = coerce(leaf, python_value(self._given[leaf.name]))
            except ConfigurationError as error:
                self._refused[leaf.name] = str(error)
        self._node.declare_parameter(leaf.name, _ros_value(leaf, value), describe(leaf), ignore_override=True)
        self._declared[leaf.name] = leaf

    def _refuse_unknown_names(self) -> None:
        for name in self._given:
            if name not in self._declared and not name.startswith(OF_EVERY_NODE):
                known = (leaf.name for leaf in leaves(self._schema))
                self._refused[name] = f"unknown parameter '{name}'; {closest(name, known)}"

    def _validate(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        try:
            self._require_valid(parameters)
        except Exception as error:  # raised out of spin, it would end the node
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _require_valid(self, parameters: Sequence[Parameter]) -> None:
        if self._restoring:
            return
        values = self._values()
        for parameter in parameters:
            leaf = self._declared.get(parameter.name)
            if leaf is None:  # of rclpy itself
                self._require_same_clock(parameter)
                continue
            values[leaf.name] = coerce(leaf, python_value(parameter))
            reason = "" if leaf.constraint.dynamic else self._locked()
            if reason:
                raise ConfigurationError(f"{leaf.name}: {reason}")
        if not self._refused:
            self._check(read(self._schema, values), frozenset(parameter.name for parameter in parameters))

    def _require_same_clock(self, parameter: Parameter) -> None:
        """Another clock under a running node would leave it without ages."""
        if parameter.name == "use_sim_time" and (reason := self._locked()):
            raise ConfigurationError(f"use_sim_time: {reason}")

    def _apply(self, parameters: Sequence[Parameter]) -> None:
        changed = [self._declared[parameter.name] for parameter in parameters if parameter.name in self._declared]
        for leaf in changed:
            self._refused.pop(leaf.name, None)
        if any(leaf.constraint.dynamic for leaf in changed) and not self._refused and not self._restoring:
            self._applied(self.read(), frozenset(leaf.name for leaf in changed))


def describe(leaf: Leaf) -> ParameterDescriptor:
    """ROS descriptor with description, unit, choices and range."""
    limits = leaf.constraint
    text = limits.description + (f" [{limits.unit}]" if limits.unit else "")
    constraints = [f"type: {type_name(leaf)}"]
    if limits.choices:
        constraints.append("one of: " + ", ".join(limits.choices))
    descriptor = ParameterDescriptor(
        description=text,
        additional_constraints="; ".join(constraints),
        read_only=limits.fixed,
        # The schema checks types itself: it takes 50 for 50.0 and [] for any empty list, and says what it wants.
        dynamic_typing=True,
    )
    bounded = limits.minimum is not None or limits.maximum is not None
    if bounded and leaf.scalar is int and not leaf.is_array:
        low = -(2**62) if limits.minimum is None else int(limits.minimum)
        high = 2**62 if limits.maximum is None else int(limits.maximum)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    elif bounded and leaf.scalar is float and not leaf.is_array:
        low = -math.inf if limits.minimum is None else float(limits.minimum)
        high = math.inf if limits.maximum is None else float(limits.maximum)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor


def _ros_value(leaf: Leaf, value: Any) -> Any:
    if not leaf.is_array:
        return value
    # A typed array, because an empty list carries no type.
    return Parameter(leaf.name, _ARRAY_TYPES[leaf.scalar], list(value)).value


def python_value(parameter: Parameter) -> Any:
    """Scalar as it is, list as a tuple; an empty list from a file, which arrives without a type, as an empty tuple."""
    value = parameter.value
    if value is None:
        return ()
    return value if isinstance(value, (bool, int, float, str)) else tuple(value)
