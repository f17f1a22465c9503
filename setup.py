# SPDX-License-Identifier: Apache-2.0
"""Builds the wheel from the same CMakeLists.txt that colcon uses, so that both install the same package.

CMake installs into a staging folder below build/; what it puts into site-packages becomes the wheel's package, the rest
(share/, lib/, include/) its data files. Building is incremental: only changed messages are compiled again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
NAME = "policy_ros"
PREFIX = Path(sys.prefix)
BUILD = ROOT / "build" / "pip" / f"{sys.implementation.cache_tag}-{hashlib.sha256(sys.prefix.encode()).hexdigest()[:8]}"
DESTDIR = BUILD / "stage"
STAGE = DESTDIR / PREFIX.relative_to(PREFIX.anchor)  # what will be PREFIX


def main() -> None:
    # A relative path, as setuptools wants it; keeps the metadata out of the source tree's root.
    (ROOT / "build").mkdir(exist_ok=True)
    setup(
        version=ElementTree.parse(ROOT / "package.xml").findtext("version"),
        packages=[NAME],
        cmdclass={"build_py": CMakeBuild},
        distclass=PlatformDistribution,
        options={"egg_info": {"egg_base": "build"}},
    )


class PlatformDistribution(Distribution):
    """The messages are compiled, so the wheel belongs to one platform and one Python."""

    def has_ext_modules(self) -> bool:
        return True


class CMakeBuild(build_py):
    """Runs CMake in place of copying Python files."""

    def run(self) -> None:
        if self.editable_mode:
            sys.exit(
                "policy_ros: no editable installs, its messages are generated; `make setup` after an edit is quick"
            )
        check_tools()
        cmake_install()
        package = Path(self.build_lib) / NAME
        shutil.rmtree(package, ignore_errors=True)
        (staged,) = STAGE.glob(f"**/*-packages/{NAME}")
        shutil.copytree(staged, package, ignore=shutil.ignore_patterns("__pycache__"))
        self.distribution.data_files = staged_data_files()

    def get_source_files(self) -> list[str]:
        return []

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [str(path) for path in (Path(self.build_lib) / NAME).rglob("*") if path.is_file()]


def check_tools() -> None:
    """Say in one line what the build lacks."""
    if not (PREFIX / "share" / "rosidl_default_generators").is_dir():
        sys.exit(
            f"policy_ros: no ROS 2 message generators in {PREFIX}; run `make setup`, or "
            "`pip install -r requirements/pinned.txt` into this environment first (on a system ROS 2 use colcon)"
        )
    if find_program("cmake") is None:
        sys.exit("policy_ros: CMake is missing; run `pip install cmake ninja` in this environment")
    if not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++") if name):
        sys.exit("policy_ros: no C++ compiler found; install g++ or clang++, or set CXX to one")


def cmake_install() -> None:
    """Configure, build and install into an empty staging folder."""
    arguments = [
        f"-DCMAKE_INSTALL_PREFIX={PREFIX}",
        f"-DCMAKE_PREFIX_PATH={PREFIX}",
        f"-DCMAKE_PROJECT_{NAME}_INCLUDE={ROOT / 'cmake' / 'pypi_wheels.cmake'}",
        f"-DPython3_EXECUTABLE={sys.executable}",
        "-DBUILD_TESTING=OFF",
    ]
    if find_program("ninja"):
        arguments += ["-G", "Ninja"]
    shutil.rmtree(DESTDIR, ignore_errors=True)
    run_cmake("-S", ROOT, "-B", BUILD, *arguments)
    run_cmake("--build", BUILD, "--parallel")
    run_cmake("--install", BUILD)


def run_cmake(*arguments: str | Path) -> None:
    """Run CMake; show its output only where it fails."""
    result = subprocess.run(
        [find_program("cmake"), *map(str, arguments)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        sys.stderr.write(result.stdout)
        sys.exit(f"policy_ros: `cmake {' '.join(map(str, arguments[:2]))}` failed, see above")


def environment() -> dict[str, str]:
    """The caller's variables without those that point child processes at another Python or another ROS 2.

    pip's build isolation hides this environment's packages through PYTHONPATH. The ROS wheels set LD_LIBRARY_PATH for
    the process that imports them, once.
    """
    hidden = {"PYTHONPATH", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "CMAKE_PREFIX_PATH"}
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    variables["DESTDIR"] = str(DESTDIR)
    variables["AMENT_PREFIX_PATH"] = str(PREFIX)  # where the message generators are looked up
    variables["PATH"] = os.pathsep.join([str(PREFIX / "bin"), variables.get("PATH", os.defpath)])
    return variables


def find_program(name: str) -> str | None:
    """Path of a program, this environment's own first."""
    return shutil.which(name, path=environment()["PATH"])


def staged_data_files() -> list[tuple[str, list[str]]]:
    """What CMake installed outside site-packages, as (directory in the prefix, files).

    The command line tool is left to pip, which writes it for every entry of [project.scripts].
    """
    files: dict[str, list[str]] = defaultdict(list)
    for path in sorted(STAGE.rglob("*")):
        relative = path.relative_to(STAGE)
        in_packages = any(part.endswith("-packages") for part in relative.parts)
        if path.is_file() and not in_packages and relative.parts[0] != "bin":
            files[str(relative.parent)].append(str(path.relative_to(ROOT)))
    return sorted(files.items())


main()
