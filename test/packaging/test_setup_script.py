# SPDX-License-Identifier: Apache-2.0
"""`make setup`: one clear line for what a machine lacks, and no work where nothing changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = (
    "bash",
    "cat",
    "dirname",
    "env",
    "find",
    "grep",
    "head",
    "mkdir",
    "chmod",
    "rm",
    "sha256sum",
    "sort",
    "tail",
    "xargs",
)

# Stands in for python3: reports a version, and makes environments whose python writes down how it is called.
RECORDING_PYTHON = """#!/usr/bin/env bash
if [[ $1 == -c ]]; then echo 3.12; exit; fi
mkdir -p "$3/bin"
printf '#!/usr/bin/env bash\\necho "$@" >>"{calls}"\\n' >"$3/bin/python"
chmod +x "$3/bin/python"
"""


class Checkout:
    """A copy of what setup.sh reads, and a PATH that holds nothing but the tools it needs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.bin.mkdir()
        for name in ("checkpoints", "cmake", "config", "launch", "msg", "requirements", "scripts"):
            shutil.copytree(ROOT / name, self.root / name)
        for name in ("package.xml", "CMakeLists.txt", "setup.py", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root / name)
        (self.root / "policy_ros").mkdir()
        (self.root / "policy_ros" / "data.py").write_text("a = 1\n")
        for tool in TOOLS:
            self.link(tool, shutil.which(tool))
        self.fake("c++", "#!/usr/bin/env bash\n")

    def link(self, name: str, target: str | None) -> None:
        assert target is not None, name
        (self.bin / name).symlink_to(target)

    def fake(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script.replace("{calls}", str(self.calls)))
        (self.bin / name).chmod(0o755)

    def setup(self, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {"HOME": os.environ.get("HOME", "/"), "PATH": str(self.bin)}
        return subprocess.run(
            [self.root / "scripts" / "setup.sh"],
            env={**kept, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def pip_calls(self) -> list[str]:
        """The pip commands since the last look."""
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return calls


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_wrong_python_is_named(checkout: Checkout):
    checkout.fake("python3", "#!/usr/bin/env bash\necho 3.9\n")
    result = checkout.setup()
    assert result.returncode != 0
    assert result.stderr == (
        "make setup: needs Python 3.10 to 3.13, but 'python3' is 3.9; "
        "name another one: make PYTHON=/path/to/python3.12\n"
    )
    assert not (checkout.root / ".venv").exists()


def test_a_missing_python_is_named(checkout: Checkout):
    result = checkout.setup(PYTHON="python3.12")
    assert result.returncode != 0
    assert result.stderr.startswith("make setup: 'python3.12' not found; install Python 3.10 to 3.13")
    assert result.stderr.count("\n") == 1


def test_a_missing_compiler_is_named_before_anything_is_downloaded(checkout: Checkout):
    checkout.fake("python3", RECORDING_PYTHON)
    (checkout.bin / "c++").unlink()
    result = checkout.setup()
    assert result.returncode != 0
    assert result.stderr == (
        "make setup: no C++ compiler found, the ROS messages need one; install g++ or clang++, or set CXX to one\n"
    )
    assert checkout.pip_calls() == []


def test_no_network_is_one_line(checkout: Checkout):
    checkout.link(
        "python3", sys.executable if sys.prefix == sys.base_prefix else str(Path(sys.base_prefix, "bin", "python3"))
    )
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
    result = checkout.setup(**nowhere)
    assert result.returncode != 0
    assert result.stderr.startswith("make setup: no connection to the package index, see ")
    assert result.stderr.count("\n") == 1


def test_a_failing_build_shows_its_cause(checkout: Checkout):
    failing = RECORDING_PYTHON.replace(
        '>>"{calls}"', '; [[ $* != *force-reinstall* ]] || { echo "ERROR: broken"; exit 1; }'
    )
    checkout.fake("python3", failing)
    result = checkout.setup()
    assert result.returncode != 0
    assert "the package could not be built" in result.stderr
    assert "ERROR: broken" in result.stderr


def test_a_second_run_with_nothing_changed_does_nothing(checkout: Checkout):
    checkout.fake("python3", RECORDING_PYTHON)
    assert checkout.setup().returncode == 0
    requirements, package = checkout.pip_calls()
    assert "-r requirements/pinned.txt" in requirements
    assert package.endswith("--force-reinstall .")

    second = checkout.setup()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert checkout.pip_calls() == []


def test_an_edited_source_only_reinstalls_the_package(checkout: Checkout):
    checkout.fake("python3", RECORDING_PYTHON)
    checkout.setup()
    checkout.pip_calls()
    (checkout.root / "policy_ros" / "data.py").write_text("a = 2\n")
    checkout.setup()
    (call,) = checkout.pip_calls()
    assert call.endswith("--force-reinstall .")


def test_a_changed_pin_installs_requirements_and_package(checkout: Checkout):
    checkout.fake("python3", RECORDING_PYTHON)
    checkout.setup()
    checkout.pip_calls()
    with (checkout.root / "requirements" / "constraints.txt").open("a") as file:
        file.write("other==1.0\n")
    checkout.setup()
    assert len(checkout.pip_calls()) == 2


def test_another_ros_in_the_shell_is_named_and_kept_out(checkout: Checkout):
    checkout.fake("python3", RECORDING_PYTHON.replace('echo "$@"', "env"))
    result = checkout.setup(
        AMENT_PREFIX_PATH="/opt/ros/jazzy",
        PYTHONPATH="/opt/ros/jazzy/lib/python3.12/site-packages",
        _ROS_WHEELS_BOOTSTRAP_COMPLETE="1",
        LD_LIBRARY_PATH="/elsewhere/lib:/outer/site-packages/ros_rcl.libs",
    )
    assert result.returncode == 0
    assert "ignoring PYTHONPATH AMENT_PREFIX_PATH of this shell" in result.stderr
    seen = "\n".join(checkout.pip_calls())
    assert "/opt/ros" not in seen
    assert "_ROS_WHEELS" not in seen
    assert "LD_LIBRARY_PATH=/elsewhere/lib\n" in seen
