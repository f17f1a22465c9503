# SPDX-License-Identifier: Apache-2.0
"""Imports point down the table of docs/architecture.md only, and ROS stays in the rooms that may have it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "policy_ros"
ROS_ROOMS = {"ros", "cli"}
MESSAGES = re.compile(r"rclpy|launch(_ros)?|rcl_interfaces|builtin_interfaces|\w+_msgs|std_srvs")


@dataclass(frozen=True)
class Row:
    """One row of the table: the rooms it names, and the rooms and libraries they may import."""

    rooms: tuple[str, ...]
    may_import: frozenset[str]


def table() -> list[Row]:
    """The rows in the order of the document."""
    rows: list[Row] = []
    text = (ROOT / "docs" / "architecture.md").read_text()
    for names, _, allowed in re.findall(
        r"^\| (`[\w./`, ]+) \|(.*)\| ([^|]*) \|$", text.partition("## Three threads")[0], re.M
    ):
        rooms = tuple(re.sub(r"\.py$|/$", "", name) for name in re.findall(r"`([^`]+)`", names))
        may_import = set(re.findall(r"\w+", allowed)) | set(rooms)
        if "all" in may_import:
            may_import |= {room for row in rows for room in row.may_import}
        rows.append(Row(rooms, frozenset(may_import)))
    return rows


ROWS = {room: row for row in table() for room in row.rooms}


def modules() -> Iterator[Path]:
    return (path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, also of those in functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ("policy_ros", *path.relative_to(SOURCE).parts[:-1])
                base = ".".join((*package[: len(package) - node.level + 1], *filter(None, [node.module])))
            yield node.lineno, base
            if base == "policy_ros":
                yield from ((node.lineno, f"policy_ros.{alias.name}") for alias in node.names)


def forbidden_imports(path: Path) -> list[str]:
    """Imports of this module that the table does not allow, one line each."""
    room = room_of(path)
    allowed = ROWS[room].may_import
    found = []
    for line, name in imported_names(path):
        first, *rest = name.split(".")
        if first == "policy_ros":
            wrong = bool(rest) and rest[0] not in allowed and not (rest[0] == "msg" and room in ROS_ROOMS)
        elif first == "torch":
            wrong = "torch" not in allowed
        else:
            wrong = room not in ROS_ROOMS and bool(MESSAGES.fullmatch(first))
        if wrong:
            found.append(f"{path.relative_to(ROOT)}:{line} imports {name}; {room} may import {sorted(allowed)}")
    return found


def test_every_room_is_in_the_table():
    assert {room_of(path) for path in modules()} == set(ROWS)


def test_imports_point_down_the_table():
    wrong = [line for path in modules() for line in forbidden_imports(path)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("room", "statement"),
    [
        ("observation", "from policy_ros.execution import ChunkExecutor"),
        ("observation", "from ..execution import ChunkExecutor"),
        ("execution", "import torch"),
        ("policies", "def f():\n    from policy_ros import ros"),
        ("simulation", "import rclpy"),
        ("execution", "from sensor_msgs.msg import JointState"),
        ("policies", "from policy_ros.msg import ActionChunk"),
    ],
)
def test_an_import_against_the_table_is_found(
    room: str, statement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module = tmp_path / "policy_ros" / room / "module.py"
    module.parent.mkdir(parents=True)
    module.write_text(statement + "\n")
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path / "policy_ros")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert len(forbidden_imports(module)) == 1


def test_the_package_itself_is_empty():
    """Anything in it would be missing where the messages' generated __init__.py takes its place."""
    assert (SOURCE / "__init__.py").read_text() == ""
    assert not (SOURCE / "msg.py").exists()


IMPORT_ALL = """
import importlib, pkgutil, sys
import policy_ros
skipped = tuple("policy_ros." + room for room in ("ros", "cli", "msg", "policy_ros_s__"))
names = []
def walk(path, prefix):
    for found in pkgutil.iter_modules(path, prefix):
        if not found.name.startswith(skipped):
            names.append(found.name)
            try:
                module = importlib.import_module(found.name)
            except ModuleNotFoundError as error:
                if error.name.split(".")[0] not in ("lightning", "torchmetrics"):  # an extra
                    raise
                continue
            if found.ispkg:
                walk(module.__path__, found.name + ".")
walk(policy_ros.__path__, "policy_ros.")
ros = {"rclpy", "std_msgs", "sensor_msgs", "launch", "policy_ros.msg", "policy_ros.ros"} & set(sys.modules)
print(len(names), *ros)
"""


def test_importing_everything_above_ros_leaves_rclpy_out(tmp_path: Path):
    command = [sys.executable, "-c", IMPORT_ALL]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    count, *ros = result.stdout.split()
    assert int(count) > 50
    assert ros == []
