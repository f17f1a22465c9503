# SPDX-License-Identifier: Apache-2.0
"""Message types by name: their classes, and the definitions that a bag carries so that anybody can read it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from policy_ros.errors import ConfigurationError

_SEPARATOR = "=" * 80


@dataclass(frozen=True)
class Definition:
    """Text and hash (REP 2011, ``RIHS01_…``) of a message type and of all types in it."""

    text: str
    digest: str


def message_class(type_name: str) -> type:
    """The class of ``package/msg/Name``.

    Raises:
        ConfigurationError: the package is not installed for this interpreter.
    """
    package, _, name = type_name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        raise ConfigurationError(
            f"message type {type_name}: expected package '{package}' to be installed for this interpreter and to have "
            "it; source its workspace"
        ) from None


class Definitions:
    """Reads ``share/<package>/msg/<Name>.msg`` of the installed packages."""

    def __init__(self) -> None:
        self._store = get_typestore(Stores.EMPTY)
        self._texts: dict[str, str] = {}

    def of(self, type_name: str) -> Definition:
        """Definition of a type, in the form that rosbag2 stores.

        Raises:
            ConfigurationError: a package of it is not installed.
        """
        names = self._collect(type_name)
        sections = [f"{_SEPARATOR}\nMSG: {_short(name)}\n{self._texts[name]}" for name in names[1:]]
        return Definition("".join([self._texts[type_name], *sections]), self._store.hash_rihs01(type_name))

    def _collect(self, type_name: str) -> list[str]:
        """The type and all types in it, each once."""
        names = [type_name]
        for name in names:  # grows meanwhile
            self._load(name)
            names += [found for found in dict.fromkeys(self._types_in(name)) if found not in names]
        return names

    def _load(self, type_name: str) -> None:
        if type_name in self._texts:
            return
        package, _, name = type_name.split("/")
        module = Path(importlib.import_module(message_class(type_name).__module__).__file__ or "")
        files = (prefix / "share" / package / "msg" / f"{name}.msg" for prefix in module.parents)
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            raise ConfigurationError(
                f"message type {type_name}: expected its definition at share/{package}/msg/{name}.msg of the "
                f"installation of {module.parent}, found none"
            )
        text = file.read_text()
        self._texts[type_name] = text if text.endswith("\n") else text + "\n"
        self._store.register(get_types_from_msg(text, type_name))

    def _types_in(self, type_name: str) -> Iterator[str]:
        _, fields = self._store.fielddefs[type_name]
        for _, description in fields:
            yield from _message_types(description)


def _message_types(description: Any) -> Iterator[str]:
    """Names in a field's description as rosbags parses it: base type, message, or array or sequence of either."""
    kind, content = description
    if kind.name == "NAME":
        yield content
    elif kind.name in ("ARRAY", "SEQUENCE"):
        yield from _message_types(content[0])


def _short(type_name: str) -> str:
    return type_name.replace("/msg/", "/")
