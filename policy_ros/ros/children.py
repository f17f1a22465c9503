# SPDX-License-Identifier: Apache-2.0
"""Nodes as child processes: started with this interpreter and the shipped middleware profile, ended in order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import yaml

from policy_ros.errors import ConfigurationError
from policy_ros.ros.installation import executable_directory
from policy_ros.ros.process import PARENT_VARIABLE

STOP_TIMEOUT_S = 5.0


class Child:
    """One node of this package as a process.

    Args:
        name: of the installed executable, for messages.
        ros_arguments: what follows ``--ros-args``.
        environment: of the process.
        output: where stdout and stderr go; None: where this process's stderr goes.
        program: Python file to run in place of the installed executable.
        words: command line in place of ROS arguments.
    """

    def __init__(
        self,
        name: str,
        ros_arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        output: IO[str] | None = None,
        program: Path | None = None,
        words: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._process = subprocess.Popen(
            # By path, not `-m`: started in the source folder, that would find the package without its messages.
            [
                sys.executable,
                os.fspath(program or executable_directory() / name),
                *(words or ("--ros-args", *ros_arguments)),
            ],
            env={**environment, PARENT_VARIABLE: str(os.getpid())},
            stdout=output or sys.stderr,
            stderr=subprocess.STDOUT if output else sys.stderr,
            # Ctrl-C reaches this process only, which then ends the children in order.
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        return self._process.poll()

    @property
    def peak_memory_mb(self) -> float:
        """Largest resident size so far [MB], of a running process."""
        try:
            text = Path(f"/proc/{self._process.pid}/status").read_text()
        except FileNotFoundError:
            return float("nan")
        found = re.search(r"VmHWM:\s+(\d+) kB", text)
        return int(found[1]) / 1024 if found else float("nan")

    def send_stop(self) -> None:
        """Ask it to end."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a chance to react; it leaves shared memory behind."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end, wait, and kill it if it does not; its exit status."""
        self.send_stop()
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            print(f"{self.name} did not end within {STOP_TIMEOUT_S:g} s and is killed", file=sys.stderr)
            self._process.kill()
            return self._process.wait()


def parameter_arguments(files: Sequence[Path], values: Sequence[str], folder: Path) -> list[str]:
    """``--params-file`` arguments; the last file, written into ``folder``, has the single values.

    As ``-p`` arguments they would be ignored where two of the files set the same nested parameter: rcl (Jazzy) keeps a
    copy of it for each file, and changes the first one only.

    Args:
        files: later ones override earlier ones.
        values: ``NAME:=VALUE``; override all files.
        folder: has to be there until the node has started.

    Raises:
        ConfigurationError: a file that is not there, or a value without ``:=`` or that is no YAML.
    """
    arguments: list[str] = []
    for file in files:
        if not file.is_file():
            raise ConfigurationError(f"parameter file: expected a file, found nothing at '{file}'")
        arguments += ["--params-file", os.fspath(file)]
    if values:
        given = folder / "values.yaml"
        given.write_text(yaml.safe_dump({"/**": {"ros__parameters": _nested(values)}}))
        arguments += ["--params-file", os.fspath(given)]
    return arguments


def _nested(values: Sequence[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for text in values:
        name, separator, value = text.partition(":=")
        if not separator:
            raise ConfigurationError(f"parameter: expected NAME:=VALUE, got '{text}'")
        *groups, leaf = name.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
            if not isinstance(branch, dict):
                raise ConfigurationError(f"parameter: '{name}' lies below '{group}', which has a value itself")
        try:
            branch[leaf] = yaml.safe_load(value) if value else ""
        except yaml.YAMLError as error:
            raise ConfigurationError(
                f"parameter {name}: expected a value as in YAML, got '{value}' ({error})"
            ) from None
    return tree
