# SPDX-License-Identifier: Apache-2.0
"""A parameter schema as a Markdown table."""

from __future__ import annotations

from typing import Any

from policy_ros.parameters.schema import Leaf, leaves, type_name

_COLUMNS = "| parameter | type | default | range | active | description |\n|---|---|---|---|---|---|\n"


def table(schema: type) -> str:
    """A table with one row for each parameter of a schema."""
    return _COLUMNS + "".join(_row(leaf) for leaf in leaves(schema))


def _row(leaf: Leaf) -> str:
    limits = leaf.constraint
    unit = f" [{limits.unit}]" if limits.unit else ""
    cells = (
        f"`{leaf.name}`",
        type_name(leaf),
        _value(leaf.default),
        _range(leaf),
        "yes" if limits.dynamic else "",
        (limits.description + unit).replace("|", "\\|"),
    )
    return "| " + " | ".join(cells) + " |\n"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"`[{', '.join(str(item) for item in value)}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "`''`"


def _range(leaf: Leaf) -> str:
    limits = leaf.constraint
    if limits.choices:
        return ", ".join(f"`{choice}`" for choice in limits.choices)
    if limits.minimum is None and limits.maximum is None:
        return ""
    if limits.maximum is None:
        return f"≥ {limits.minimum:g}"
    if limits.minimum is None:
        return f"≤ {limits.maximum:g}"
    return f"{limits.minimum:g} to {limits.maximum:g}"
