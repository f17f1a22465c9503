# SPDX-License-Identifier: Apache-2.0
"""The policy node as a real process, driven over its services."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from policy_ros.ros.shared_memory import remove_segments, segments_of

from .robot import FakeRobot
from .waiting import wait_for

_TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}
START_S = 30.0
CALL_S = 30.0
END_S = 5.0  # 2 s are promised, to a node that does not share its cores


def flat_parameters(parameters: dict[str, object]) -> dict[str, object]:
    """The content of a parameter file."""
    return {"/**": {"ros__parameters": parameters}}


# Shared memory of processes that a test kills, which nobody else removes.
_LEFT_BY_KILLED: set[Path] = set()


def note_segments(pid: int) -> None:
    """Remember what a process that is about to be killed will leave behind."""
    _LEFT_BY_KILLED.update(segments_of(pid))


def remove_noted_segments() -> None:
    """Remove what killed processes left; this process, which still maps it, is about to end."""
    remove_segments(_LEFT_BY_KILLED)


class NodeProcess:
    """A running ``policy_node``; ``close`` ends it if the test has not.

    Args:
        robot: its node is used as the service client.
        parameters: full names to values.
        folder: for the parameter file.
        module: what to run as ``python -m``; modules of ``support`` are found.
        extra_environment: for the process.
        ros_arguments: further ones.
        python: the interpreter.
    """

    def __init__(
        self,
        robot: FakeRobot,
        domain_id: int,
        parameters: dict[str, object],
        folder: Path,
        module: str = "policy_ros.ros.policy_node",
        extra_environment: dict[str, str] | None = None,
        ros_arguments: Sequence[str] = (),
        python: str | Path = sys.executable,
    ) -> None:
        file = folder / "parameters.yaml"
        file.write_text(yaml.safe_dump(flat_parameters(parameters)))
        self._robot = robot
        self._lines: list[str] = []
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        environment.update(extra_environment or {})
        if module.startswith("support."):
            path = [str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        self.process = subprocess.Popen(
            [python, "-m", module, "--ros-args", "--params-file", str(file), *ros_arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._clients: dict[str, object] = {}
        wait_for(
            lambda: self._client(GetState, "get_state").service_is_ready(), START_S, lambda: f"the node\n{self.log}"
        )

    @property
    def log(self) -> str:
        """All output so far."""
        return "".join(self._lines)

    @property
    def state(self) -> str:
        return self.call(GetState, "get_state", GetState.Request()).current_state.label

    def transition(self, name: str, timeout_s: float = CALL_S) -> bool:
        """Request a transition; whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = _TRANSITIONS[name]
        return self.call(ChangeState, "change_state", request, timeout_s).success

    def begin_transition(self, name: str):
        """Request a transition without waiting for it; the future of the answer."""
        request = ChangeState.Request()
        request.transition.id = _TRANSITIONS[name]
        client = self._client(ChangeState, "change_state")
        wait_for(client.service_is_ready, START_S, "service change_state")
        return client.call_async(request)

    def bring_up(self) -> None:
        """Configure and activate."""
        assert self.transition("configure"), self.log
        assert self.transition("activate"), self.log

    def reset(self) -> Trigger.Response:
        return self.call(Trigger, "reset", Trigger.Request())

    def set_parameter(self, name: str, value: object) -> str:
        """Set one parameter; the reason of a refusal, or an empty string."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        result = self.call(SetParameters, "set_parameters", request).results[0]
        return "" if result.successful else result.reason

    def get_parameter(self, name: str) -> object:
        values = self.call(GetParameters, "get_parameters", GetParameters.Request(names=[name])).values
        return Parameter.from_parameter_msg(_message(name, values[0])).value

    def call(self, service_type: type, name: str, request: object, timeout_s: float = CALL_S):
        """Call one of the node's services."""
        client = self._client(service_type, name)
        wait_for(client.service_is_ready, START_S, f"service {name}")
        future = client.call_async(request)
        wait_for(future.done, timeout_s, lambda: f"an answer of {name}\n{self.log}")
        return future.result()

    def signal(self, number: int) -> float:
        """Send a signal and wait for the end; seconds it took."""
        if number == signal.SIGKILL:
            return self._kill()
        start = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=20.0)
        return time.monotonic() - start

    def _kill(self) -> float:
        note_segments(self.process.pid)
        start = time.monotonic()
        self.process.kill()
        self.process.wait(timeout=20.0)
        return time.monotonic() - start

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=10.0)
            except subprocess.TimeoutExpired:
                self._kill()
        self._reader.join()
        self.process.stdout.close()

    def _client(self, service_type: type, name: str):
        if name not in self._clients:
            self._clients[name] = self._robot.node.create_client(service_type, f"policy/{name}")
        return self._clients[name]

    def _read(self) -> None:
        self._lines.extend(iter(self.process.stdout.readline, ""))


def _message(name: str, value):
    from rcl_interfaces.msg import Parameter as ParameterMessage

    return ParameterMessage(name=name, value=value)
