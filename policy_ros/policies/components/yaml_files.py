# SPDX-License-Identifier: Apache-2.0
"""Reading YAML that somebody else may have written: plain values, bounded in size, each key once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from policy_ros.errors import CheckpointError
from policy_ros.policies.files import check_size
from policy_ros.policies.limits import MAX_YAML_BYTES

_INTEGER_BITS = 64


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping with text for keys.

    Raises:
        CheckpointError: missing, too large, not YAML, not such a mapping, with a tag that asks for code, an alias
            (which can blow a few lines up to gigabytes), or the same key twice.
    """
    check_size(path, MAX_YAML_BYTES)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    # PyYAML stumbles over values that do not fit their tags, such as "!!bool maybe", with whatever comes up.
    except (OSError, ValueError, LookupError, AttributeError, RecursionError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: expected YAML, got {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a YAML mapping, got {type(values).__name__}")
    return values


def write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """A YAML mapping, in the order of ``values``."""
    path.write_text(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True), encoding="utf-8")


def inside(directory: Path, relative: object, where: str) -> Path:
    """The path ``relative`` below ``directory``, with links followed.

    Args:
        directory: which must hold it, directly or further down.
        relative: as a file says it, with slashes.
        where: what says it, for messages.

    Raises:
        CheckpointError: it is no relative path, it leads out of the directory, be it by a link, or nothing is there.
    """
    if not isinstance(relative, str) or not relative or "\0" in relative:
        raise CheckpointError(f"{where}: expected a relative path, got {relative!r:.80}")
    written = PurePosixPath(relative)
    if written.is_absolute() or ".." in written.parts:
        raise CheckpointError(f"{where}: expected a path below {directory}, without '..', got {relative!r:.200}")
    try:
        real = (directory / written).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise CheckpointError(f"{where}: {relative!r:.200} cannot be followed: {error}") from error
    if not real.is_relative_to(directory.resolve()):
        raise CheckpointError(f"{where}: expected a path inside {directory}, but {relative!r:.200} links to {real}")
    if not real.exists():
        raise CheckpointError(f"{where}: expected {directory / written}, found nothing")
    return real


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, without aliases, repeated keys and integers so long that no message could name them."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name); write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise yaml.YAMLError(f"a key twice in the mapping of line {node.start_mark.line + 1}")
        if not all(isinstance(key, str) for key in mapping):
            raise yaml.YAMLError(f"a key that is no text in the mapping of line {node.start_mark.line + 1}")
        return mapping

    def construct_yaml_int(self, node: Any) -> int:
        value: int = super().construct_yaml_int(node)
        if value.bit_length() >= _INTEGER_BITS:
            raise yaml.YAMLError(f"an integer of more than {_INTEGER_BITS} bits in line {node.start_mark.line + 1}")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
