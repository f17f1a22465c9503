# SPDX-License-Identifier: Apache-2.0
"""Serialized messages to objects: by the definitions in the bag, else those of Jazzy, else this package's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from policy_ros.bags.errors import BagError, MalformedMessage
from policy_ros.bags.storage import BagMessage

_OWN = "policy_ros/msg/"
_IDL_SEPARATOR = "=" * 80 + "\n"


@dataclass(frozen=True)
class Definition:
    """A message type as a bag stores it: its text, with all types in it, and its hash (REP 2011, ``RIHS01_…``)."""

    text: str
    digest: str


class MessageTypes:
    """The types of one bag; a definition is parsed when the first message of its type is.

    Args:
        path: the bag, for messages to people.
        definitions: type to its definition, with those it is made of, and the format: ``ros2msg`` or ``ros2idl``.
    """

    def __init__(self, path: Path, definitions: Mapping[str, tuple[str, str]]) -> None:
        self._path = path
        self._definitions = definitions
        self._stores: dict[str, Typestore] = {}

    def deserialize(self, message: BagMessage, type_: str) -> Any:
        """The message as an object.

        Raises:
            BagError: nobody knows the type's definition.
            MalformedMessage: the data is not of the type.
        """
        types = self._types(message.topic, type_)
        try:
            return types.deserialize_cdr(message.data, type_)
        except Exception as error:  # generated code raises whatever damaged data leads to
            raise MalformedMessage(
                f"expected a {type_}, got {len(message.data)} bytes that are none ({error})"
            ) from error

    def definition(self, topic: str, type_: str) -> Definition:
        """The definition of a type, for whoever writes its messages into another bag.

        Raises:
            BagError: nobody knows it.
        """
        types = self._types(topic, type_)
        text, encoding = self._definitions.get(type_, ("", ""))
        if not text:
            text, _ = types.generate_msgdef(type_, ros_version=2)
        elif encoding == "ros2idl" and not text.startswith(f"{_IDL_SEPARATOR}IDL: "):
            text = f"{_IDL_SEPARATOR}IDL: {type_}\n{text}"
        return Definition(text, types.hash_rihs01(type_))

    def _types(self, topic: str, type_: str) -> Typestore:
        if type_ not in self._stores:
            self._stores[type_] = self._store(topic, type_)
        return self._stores[type_]

    def _store(self, topic: str, type_: str) -> Typestore:
        text, encoding = self._definitions.get(type_, ("", ""))
        try:
            if text:
                return _defined(text, encoding, type_)
            jazzy = get_typestore(Stores.ROS2_JAZZY)
            if type_ not in jazzy.fielddefs and type_.startswith(_OWN):
                jazzy.register(own_definitions())
        except (TypesysError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise BagError(
                f"{self._path}: topic '{topic}': expected a definition of {type_}, got one that cannot be read: "
                f"{reason}"
            ) from error
        if type_ not in jazzy.fielddefs:
            raise BagError(
                f"{self._path}: topic '{topic}': expected a definition of {type_}, the bag has none and it is none of "
                "Jazzy's; record it as mcap, which stores definitions"
            )
        return jazzy


@lru_cache(maxsize=256)
def _defined(text: str, encoding: str, type_: str) -> Typestore:
    """The types of one definition; kept, since many bags have the same and code is generated from each."""
    store = get_typestore(Stores.EMPTY)
    store.register(_parsed(text, encoding, type_))
    return store


def _parsed(text: str, encoding: str, type_: str) -> Any:
    if encoding == "ros2msg":
        return get_types_from_msg(text, type_)
    if not text.startswith(f"{_IDL_SEPARATOR}IDL: "):
        return get_types_from_idl(text)
    types: dict[str, Any] = {}
    for part in text.split(_IDL_SEPARATOR)[1:]:
        types.update(get_types_from_idl(part.partition("\n")[2]))
    return types


def own_definitions() -> dict[str, Any]:
    """The messages of this package, from its ``.msg`` files, as a typestore registers them.

    Raises:
        ValueError: the files are not where an installation or the source tree has them.
    """
    types: dict[str, Any] = {}
    for file in _definition_files():
        types.update(get_types_from_msg(file.read_text(), f"{_OWN}{file.stem}"))
    return types


def _definition_files() -> list[Path]:
    package = Path(__file__).resolve().parents[1]
    for folder in package.parents:
        for place in (folder / "share" / package.name / "msg", folder / "msg"):
            if found := sorted(place.glob("*.msg")):
                return found
    raise ValueError(f"expected this package's .msg files in share/{package.name}/msg of its installation, got none")
