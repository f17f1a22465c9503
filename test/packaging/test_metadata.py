# SPDX-License-Identifier: Apache-2.0
"""The lists that name dependencies, versions and messages agree with each other and with the source."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Imported name -> name in package.xml where they differ; what a system ROS 2 has as a system package.
ROSDEP = {"numpy": "python3-numpy", "cv2": "python3-opencv", "yaml": "python3-yaml"}
# Imported name -> name on PyPI where they differ.
PYPI = {"backports": "backports-zstd", "cv2": "opencv-python-headless", "yaml": "PyYAML"}
# Run where somebody has it, never installed by this package.
FOUND_OR_NOT = {"lerobot"}
ROS = re.compile(
    r"rclpy|launch|launch_ros|cv_bridge|ament_index_python|builtin_interfaces|rcl_interfaces|\w+_msgs|std_srvs"
)


def imports(*folders: str) -> set[str]:
    """Top-level names that the source imports, without its own and the standard library."""
    found: set[str] = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(), str(path))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    found.add(node.module.split(".")[0])
    return found - {"policy_ros"} - set(sys.stdlib_module_names)


def manifest_dependencies() -> set[str]:
    return {element.text or "" for element in MANIFEST if element.tag.endswith("depend")}


def requirements(name: str) -> Iterator[Requirement]:
    for line in (ROOT / "requirements" / name).read_text().splitlines():
        if line.strip() and not line.startswith(("#", "-")):
            yield Requirement(line)


def for_python(python: str, *names: str) -> list[Requirement]:
    """What pip reads from these files on Linux under this Python."""
    environment = {"python_version": python, "python_full_version": python + ".0", "sys_platform": "linux"}
    return [
        each for name in names for each in requirements(name) if not each.marker or each.marker.evaluate(environment)
    ]


def test_the_manifest_names_every_ros_package_that_is_imported():
    used = {name for name in imports("policy_ros", "launch") if ROS.fullmatch(name)}
    assert "rclpy" in used
    assert used <= manifest_dependencies()


def test_the_manifest_names_what_the_issue_of_a_ros_package_needs():
    assert MANIFEST.findtext("export/build_type") == "ament_cmake"
    assert MANIFEST.findtext("member_of_group") == "rosidl_interface_packages"
    assert MANIFEST.findtext("license") == PROJECT["license"]
    wanted = {"rclpy", "launch", "launch_ros", "cv_bridge", "rosidl_default_generators", "rosidl_default_runtime"}
    assert wanted <= manifest_dependencies()


def test_the_manifest_names_the_system_packages_of_imported_libraries():
    used = imports("policy_ros")
    assert {ROSDEP[name] for name in used if name in ROSDEP} <= manifest_dependencies()


def test_pyproject_names_every_library_that_is_imported():
    used = {name for name in imports("policy_ros") if not ROS.fullmatch(name) and name != "rosidl_runtime_py"}
    extras = [text for group in PROJECT["optional-dependencies"].values() for text in group]
    declared = {canonicalize_name(Requirement(text).name) for text in [*PROJECT["dependencies"], *extras]}
    assert {canonicalize_name(PYPI.get(name, name)) for name in used - FOUND_OR_NOT} <= declared


@pytest.mark.parametrize("text", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]])
def test_a_dependency_has_a_lower_bound_and_its_pin_lies_in_the_range(text: str):
    wanted = Requirement(text)
    assert ">=" in str(wanted.specifier), text
    for python in PYTHONS:
        (pin,) = [each for each in for_python(python, "pinned.txt") if same_project(each, wanted)]
        assert wanted.specifier.contains(version_of(pin)), f"{pin} is outside of {wanted}"


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_is_pinned_once_for_each_python(python: str):
    pins = for_python(python, "pinned.txt", "constraints.txt")
    names = [canonicalize_name(pin.name) for pin in pins]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
    for pin in pins:
        assert re.fullmatch(r"==[\w.!+]+", str(pin.specifier)), pin


def test_the_pins_are_the_jazzy_wheels_and_torch():
    pins = {canonicalize_name(pin.name): version_of(pin) for pin in requirements("pinned.txt")}
    assert pins["torch"] == "2.13.0"
    assert pins["ros-rclpy"].startswith("7.1.")


def test_the_supported_pythons_agree():
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [python for python in ("3.9", *PYTHONS, "3.14") if allowed.contains(python)] == list(PYTHONS)
    script = (ROOT / "scripts" / "setup.sh").read_text()
    assert f"{' | '.join(PYTHONS)})" in script


def test_the_changelog_begins_with_the_version_of_the_manifest():
    (version, *_) = re.findall(r"^(\d+\.\d+\.\d+) \(", (ROOT / "CHANGELOG.rst").read_text(), re.M)
    assert version == MANIFEST.findtext("version")


def test_every_message_is_built():
    listed = set(re.findall(r"msg/\w+\.msg", (ROOT / "CMakeLists.txt").read_text()))
    assert listed == {f"msg/{path.name}" for path in (ROOT / "msg").iterdir()}


def same_project(one: Requirement, other: Requirement) -> bool:
    return canonicalize_name(one.name) == canonicalize_name(other.name)


def version_of(pin: Requirement) -> str:
    return str(pin.specifier).removeprefix("==")
