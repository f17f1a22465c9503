# SPDX-License-Identifier: Apache-2.0
"""The policy node as a process of its own, with the user's parameters, but on the recording's clock and silent."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import yaml

from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.topics import NODE_NAME
from policy_ros.ros.children import Child
from policy_ros.ros.installation import with_middleware_profile
from policy_ros.ros.replay.link import ThroughRosError

STATUS_RATE_HZ = 50.0  # what the player waits for, and the resolution of holds
_ACTIVATION_TIMEOUT_S = 60.0  # the recording may begin with one stream and go on with the others
_LINES = 5


class PolicyNodeProcess:
    """One policy node, started on entering and ended on leaving.

    Args:
        parameters: the user's.
        policy: checkpoint directory or hub id.
        namespace: of the node.
        folder: for its parameter file and its log.
        autostart: whether it configures and activates itself, once somebody plays the bag.
    """

    def __init__(
        self, parameters: NodeParameters, policy: str, namespace: str, folder: Path, *, autostart: bool = False
    ) -> None:
        root = "/" + namespace.strip("/")
        self.name = f"{root.rstrip('/')}/{NODE_NAME}"
        self.log = folder / "policy_node.log"
        self._file = folder / "policy_node.yaml"
        values = {**node_parameters(parameters, policy), "autostart": autostart}
        self._file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
        self._arguments = ["--params-file", os.fspath(self._file), "-r", f"__ns:={root}"]
        self._child: Child | None = None

    def __enter__(self) -> PolicyNodeProcess:
        self._output = open(self.log, "w")
        try:
            environment = {**with_middleware_profile(os.environ), "PYTHONUNBUFFERED": "1"}
            self._child = Child("policy_node", self._arguments, environment=environment, output=self._output)
        except BaseException:
            self._output.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._child is not None:
                self._child.stop()
        finally:
            self._output.close()

    def check(self) -> None:
        """Raises ThroughRosError if the node has ended."""
        if self._child is not None and not self._child.running:
            raise ThroughRosError(f"the policy node ended with status {self._child.exit_status}{self.last_errors()}")

    def last_errors(self) -> str:
        """What its log says is wrong, for the end of a message; empty if nothing."""
        lines = self.log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if re.match(r"\[(ERROR|FATAL)\]", line)] or lines
        texts = [re.sub(r"^\[\w+\] \[[\d.]+\] \[[^]]*\]: ", "", line) for line in errors[-_LINES:]]
        return ": " + "; ".join(texts) if texts else ""


def node_parameters(parameters: NodeParameters, policy: str) -> dict[str, Any]:
    """What differs from the defaults, nested as in a parameter file; no commands, and the recording's clock."""
    path = os.path.abspath(policy) if os.path.exists(policy) else policy
    changed = dataclasses.replace(
        parameters,
        enable_commands=False,
        status_rate_hz=STATUS_RATE_HZ,
        policy=dataclasses.replace(parameters.policy, path=path),
        observation=dataclasses.replace(parameters.observation, activation_timeout_s=_ACTIVATION_TIMEOUT_S),
    )
    return {**_nested(changed), "use_sim_time": True, "enable_commands": False}


def _nested(group: Any) -> dict[str, Any]:
    """A group of the schema without the values that are the defaults; an empty list has no type in a file."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        if dataclasses.is_dataclass(value):
            found[field.name] = _nested(value)
        elif isinstance(value, dict):
            found[field.name] = {name: _nested(each) for name, each in value.items()}
        elif value != field.default:
            found[field.name] = list(value) if isinstance(value, tuple) else value
    return {name: value for name, value in found.items() if value not in ({}, [])}
