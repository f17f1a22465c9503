# SPDX-License-Identifier: Apache-2.0
"""ROS parameter files read without ROS: recording, training and evaluation take the node's own file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.schema import read

NODE = "/policy"  # whose sections are read, in the root namespace
_SECTION = "ros__parameters"
OF_EVERY_NODE = ("use_sim_time", "qos_overrides.", "start_type_description_service")  # prefixes that no schema has


def read_parameters(*files: str | os.PathLike[str], node: str = NODE) -> NodeParameters:
    """The parameters that a node would have with these files as ``--params-file``; later files override earlier ones.

    Args:
        files: as ROS 2 reads them: node names (or ``/**``) above ``ros__parameters``.
        node: full name of the node.

    Raises:
        ConfigurationError: a file is missing, is no parameter file or has nothing for this node, or a value is refused.
    """
    values: dict[str, Any] = {}
    for file in files:
        values |= _values_for(Path(file), node)
    try:
        parameters: NodeParameters = read(NodeParameters, values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{', '.join(str(file) for file in files)}: {error}") from None
    return parameters


def _values_for(file: Path, node: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    sections = [content for name, content in _sections(file).items() if _means(str(name), node)]
    if not sections:
        raise ConfigurationError(f"parameter file {file}: expected a section /** or {node}, found none")
    for content in sections:
        if not isinstance(content, Mapping) or not isinstance(content.get(_SECTION), Mapping):
            raise ConfigurationError(f"parameter file {file}: expected {_SECTION} below the name of the node")
        values |= _flat(content[_SECTION].items())
    return {name: value for name, value in values.items() if not name.startswith(OF_EVERY_NODE)}


def _sections(file: Path) -> Mapping[Any, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise ConfigurationError(f"parameter file {file}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"parameter file {file}: expected YAML, got {' '.join(str(error).split())}") from None
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"parameter file {file}: expected names of nodes, got {type(content).__name__}")
    return content


def _means(section: str, node: str) -> bool:
    """Whether a name in a file, in which ``*`` stands for one token and ``**`` for any, is that of the node."""
    tokens = (
        r"(/[^/]+)*" if token == "**" else "/" + re.escape(token).replace(r"\*", "[^/]*") for token in _tokens(section)
    )
    return re.fullmatch("".join(tokens), node) is not None


def _tokens(name: str) -> list[str]:
    return [token for token in name.split("/") if token]


def _flat(items: Iterable[tuple[Any, Any]], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in items:
        name = f"{prefix}{key}"
        values |= _flat(value.items(), f"{name}.") if isinstance(value, Mapping) else {name: value}
    return values
