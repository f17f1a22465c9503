# SPDX-License-Identifier: Apache-2.0
"""`pip install .` says in one line what the environment lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import setuptools

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("setup.py", "pyproject.toml", "package.xml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    return folder


def build(python: Path, source: Path, **environment: str) -> str:
    """Run the build, which must fail; its last line."""
    variables = {**os.environ, "PYTHONPATH": str(Path(setuptools.__file__).parents[1]), **environment}
    command = [python, "setup.py", "--quiet", "build"]
    result = subprocess.run(command, cwd=source, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    return result.stderr.splitlines()[-1]


def test_an_environment_without_message_generators_is_named(source: Path, tmp_path: Path):
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False)
    line = build(bare / "bin" / "python", source)
    assert line.startswith(f"policy_ros: no ROS 2 message generators in {bare}; run `make setup`")


def test_a_missing_cmake_is_named(source: Path, tmp_path: Path):
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False)
    (bare / "share" / "rosidl_default_generators").mkdir(parents=True)
    line = build(bare / "bin" / "python", source, PATH=str(tmp_path))
    assert line == "policy_ros: CMake is missing; run `pip install cmake ninja` in this environment"


def test_a_missing_compiler_is_named(source: Path, tmp_path: Path):
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False)
    (bare / "share" / "rosidl_default_generators").mkdir(parents=True)
    (bare / "bin" / "cmake").write_text("#!/bin/sh\n")
    (bare / "bin" / "cmake").chmod(0o755)
    line = build(bare / "bin" / "python", source, PATH=str(tmp_path), CXX="")
    assert line == "policy_ros: no C++ compiler found; install g++ or clang++, or set CXX to one"


def test_an_editable_install_is_refused(source: Path):
    program = (
        "import sys; sys.argv = ['setup.py', 'editable_wheel']\n"
        "exec(compile(open('setup.py').read(), 'setup.py', 'exec'), {'__name__': '__main__', '__file__': 'setup.py'})"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "policy_ros: no editable installs" in result.stderr
