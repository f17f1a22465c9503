# SPDX-License-Identifier: Apache-2.0
"""`pip install .` and `colcon build` install the same package. The tests run in the first, made by pip."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PREFIX = Path(sys.prefix)
SOURCES = ("checkpoints", "cmake", "config", "launch", "msg", "policy_ros", "scripts", "CMakeLists.txt", "package.xml")


def pip_files() -> importlib.metadata.PackagePath | None:
    try:
        return importlib.metadata.distribution("policy_ros").files
    except importlib.metadata.PackageNotFoundError:
        return None


pytestmark = pytest.mark.skipif(
    not (PREFIX / "share" / "rosidl_default_generators").is_dir() or pip_files() is None,
    reason="policy_ros is not installed by pip beside the ROS 2 wheels; run through `make test`",
)


@pytest.fixture(scope="module")
def colcon_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh `colcon build` of a copy of the sources."""
    folder = tmp_path_factory.mktemp("colcon")
    source = folder / "src" / "policy_ros"
    source.mkdir(parents=True)
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    result = subprocess.run(
        [source / "scripts" / "colcon.sh", "build", "--event-handlers", "console_direct+"],
        cwd=folder,
        env={**os.environ, "VENV": sys.prefix, "COLCON_HOME": str(folder / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    return folder / "install" / "policy_ros"


def in_prefix(files: list[Path], prefix: Path) -> set[str]:
    """Paths relative to the prefix, without byte code and what describes an install to its own installer."""
    relative = (Path(os.path.normpath(path)).relative_to(prefix) for path in files)
    return {
        str(path)
        for path in relative
        if "__pycache__" not in path.parts
        and not any(part.endswith((".dist-info", ".egg-info")) for part in path.parts)
        and "colcon-core" not in path.parts
        and not (path.parent == Path("share/policy_ros") and path.stem == "package" and path.suffix != ".xml")
        and "hook" not in path.parts
    }


def in_shell(prefix: Path, program: str) -> str:
    """Run a Python program in a shell that has sourced the colcon install; its output."""
    hidden = {"AMENT_PREFIX_PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    result = subprocess.run(
        ["bash", "-c", f'source {prefix.parent}/setup.bash && exec {sys.executable} -c "$1"', "bash", program],
        cwd=prefix,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_pip_and_colcon_install_the_same_files(colcon_prefix: Path):
    distribution = importlib.metadata.distribution("policy_ros")
    by_pip = in_prefix([Path(distribution.locate_file(file)) for file in distribution.files or ()], PREFIX)
    by_colcon = in_prefix([path for path in colcon_prefix.rglob("*") if path.is_file()], colcon_prefix)
    assert by_pip == by_colcon


def test_both_install_the_same_programs_messages_and_data(colcon_prefix: Path):
    for relative in (
        "bin/policy-ros",
        "lib/policy_ros/policy_node",
        "lib/policy_ros/simulated_robot",
        "lib/policy_ros/bag_player",
        "lib/policy_ros/replay_scorer",
        "share/ament_index/resource_index/packages/policy_ros",
        "share/policy_ros/checkpoints/pick_act/model.safetensors",
        "share/policy_ros/checkpoints/pick_flow/model.safetensors",
        "share/policy_ros/config/fastdds.xml",
        "share/policy_ros/launch/act.launch.py",
        "share/policy_ros/launch/replay.launch.py",
        "share/policy_ros/msg/ActionChunk.msg",
        "share/policy_ros/package.xml",
    ):
        for prefix in (PREFIX, colcon_prefix):
            assert (prefix / relative).is_file(), prefix / relative


def test_both_install_what_the_report_of_a_replay_is_made_of(colcon_prefix: Path):
    inside = Path("policy_ros/replay/report/templates")
    wanted = {path.name for path in (ROOT / inside).iterdir()}
    assert "report.html.j2" in wanted
    for prefix in (PREFIX, colcon_prefix):
        (installed,) = [*prefix.glob(f"lib/*/*-packages/{inside}"), *prefix.glob(f"local/lib/*/*-packages/{inside}")]
        assert {path.name for path in installed.iterdir()} == wanted


@pytest.mark.parametrize("program", ["policy-ros", "policy_node", "simulated_robot", "bag_player", "replay_scorer"])
def test_the_executables_run_with_the_interpreter_they_were_installed_for(colcon_prefix: Path, program: str):
    for prefix in (PREFIX, colcon_prefix):
        executable = prefix / "lib" / "policy_ros" / program
        assert os.access(executable, os.X_OK)
        assert executable.read_text().splitlines()[0] == f"#!{sys.executable}"


def test_a_colcon_install_is_found_and_carries_messages(colcon_prefix: Path):
    output = in_shell(
        colcon_prefix,
        "import policy_ros; from ament_index_python import get_package_prefix;"
        "from rclpy.serialization import deserialize_message, serialize_message;"
        "from policy_ros.msg import ActionChunk;"
        "chunk = deserialize_message(serialize_message(ActionChunk(policy='act', horizon=3)), ActionChunk);"
        "print(policy_ros.__file__, get_package_prefix('policy_ros'), chunk.policy, chunk.horizon, sep='\\n')",
    )
    file, prefix, policy, horizon = output.splitlines()
    assert Path(file).is_relative_to(colcon_prefix)
    assert Path(prefix) == colcon_prefix
    assert (policy, horizon) == ("act", "3")


def test_a_pip_install_is_found_in_the_ament_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from ament_index_python import get_package_prefix, get_package_share_directory

    monkeypatch.setenv("AMENT_PREFIX_PATH", sys.prefix)
    assert Path(get_package_prefix("policy_ros")) == PREFIX
    assert Path(get_package_share_directory("policy_ros"), "package.xml").is_file()


def test_the_wheel_belongs_to_one_platform():
    wheel = importlib.metadata.distribution("policy_ros").read_text("WHEEL") or ""
    (tag,) = [line for line in wheel.splitlines() if line.startswith("Tag:")]
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert tag.startswith(f"Tag: {python}-{python}-")
    assert not tag.endswith("any")
    assert "Root-Is-Purelib: false" in wheel


def test_the_exported_targets_name_no_folder_of_this_machine(colcon_prefix: Path):
    exports = list((colcon_prefix / "share" / "policy_ros" / "cmake").glob("*Export*.cmake"))
    assert exports
    for file in exports:
        assert sys.prefix not in file.read_text(), file
        assert sys.base_prefix not in file.read_text(), file
