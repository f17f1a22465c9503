# SPDX-License-Identifier: Apache-2.0
"""docs/faults.md and the tests that are named after its rows agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BEHAVIOUR, TESTS = (ROOT / "docs" / "faults.md").read_text().split("## The tests of each row")
HANDLED = [*range(1, 35)]


def rows(text: str) -> dict[int, str]:
    """Number of each row of a table to the rest of its line."""
    return {int(number): rest for number, rest in re.findall(r"^\| (\d+) \|(.*)$", text, re.M)}


def names_in(path: Path) -> set[str]:
    """Names of the tests of a file or folder: functions, and ids of parameters that are named like one."""
    files = [path] if path.is_file() else path.rglob("test_*.py")
    return {name for file in files for name in re.findall(r'(?:\bdef |")(test_fault_\d\d_\w+)', file.read_text())}


def test_every_row_has_a_behaviour_and_tests() -> None:
    assert list(rows(BEHAVIOUR)) == HANDLED
    assert list(rows(TESTS)) == HANDLED


@pytest.mark.parametrize("row", HANDLED)
def test_the_tests_that_a_row_lists_exist(row: int) -> None:
    running, parts = rows(TESTS)[row].split("|")[:2]
    prefix = f"test_fault_{row:02}_"
    listed = re.findall(r"`(\w+)`", running)
    assert listed, "a fault has to be injected into the running system"
    missing = set(listed) - {name for name in names_in(ROOT / "test" / "ros") if name.startswith(prefix)}
    assert not missing, f"docs/faults.md, row {row}: expected names of tests in test/ros, got {missing}"
    for file in re.findall(r"`([\w/]+\.py)`", parts):
        assert any(name.startswith(prefix) for name in names_in(ROOT / "test" / "unit" / file)), file


def test_no_test_is_named_after_a_row_that_is_not_there() -> None:
    assert {int(name.split("_")[2]) for name in names_in(ROOT / "test")} == set(HANDLED)
