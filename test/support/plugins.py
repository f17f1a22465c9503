# SPDX-License-Identifier: Apache-2.0
"""Fresh environments with a plug-in in them."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path


def fresh_environment(folder: Path) -> Path:
    """Interpreter of a new environment that sees this one's packages, but not the other way round."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(own, "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def build_wheel(source: Path, folder: Path) -> Path:
    """A plug-in's wheel, built in a copy of its sources without a look at any index."""
    arguments = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *arguments, "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, python: Path) -> None:
    """Install a wheel into the environment of this interpreter."""
    arguments = ("--no-deps", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *arguments, wheel)


def run(*command: str | Path, folder: Path | None = None) -> str:
    """Output of a program that has to succeed."""
    result = subprocess.run(
        list(map(str, command)), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-4000:]
    return result.stdout
