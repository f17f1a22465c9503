# SPDX-License-Identifier: Apache-2.0
"""The robot and the node as processes that are started, ended, killed and started again."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO

import yaml

from policy_ros.ros.children import Child
from policy_ros.ros.installation import share_directory
from policy_ros.ros.shared_memory import all_segments, mapped_segments, remove_segments, segments_of
from soaking.configuration import IMAGE_HEIGHT, IMAGE_WIDTH, Configuration
from soaking.orders import ORDER_FILE, Order, give_order

# Below the ports of the domains: taken by whoever comes first, of any domain, and kept for whoever comes next.
SHARED_PORT = re.compile(r"fastrtps_port7[0-3]\d\d(?!\d)")
NODE_PROGRAM = Path(__file__).with_name("unreliable_node.py")


class Processes:
    """Both processes, with their logs in a folder, and what they have in shared memory.

    Args:
        folder: for logs and the order file, with the policies' checkpoints.
        configuration: of the node.
        policy: that the node is to configure first.
        seed: of the robot.
    """

    def __init__(self, folder: Path, configuration: Configuration, policy: str, seed: int) -> None:
        self._folder = folder
        self._configuration = configuration
        self._policy = policy
        self._seed = seed
        self._before = all_segments()
        self._segments: set[Path] = set()
        self._killed: set[Path] = set()
        self._pids: list[int] = []
        self._order_file = folder / "order"
        self.order(Order())
        self._logs: list[IO[str]] = []
        self.robot = self._start_robot()
        self.node = self._start_node()

    def checkpoint(self, policy: str) -> Path:
        """Directory of one of the policies, see :func:`soaking.checkpoints.write_checkpoints`."""
        return self._folder.resolve() / policy

    def order(self, order: Order) -> None:
        """What the policy does from its next inference on."""
        give_order(self._order_file, order)

    def stop_robot(self, *, kill: bool) -> int | None:
        """End the robot's process; its exit status."""
        self.note_segments()
        if kill:
            self._killed |= segments_of(self.robot.pid)
            self.robot.kill()
        else:
            self.robot.stop()
        return self.robot.exit_status

    def restart_robot(self) -> None:
        """A new process after the old one has ended."""
        self.robot = self._start_robot()

    def stop_node(self) -> int | None:
        """End the node's process in order; its exit status."""
        self.note_segments()
        self.node.stop()
        return self.node.exit_status

    def restart_node(self) -> None:
        """A new process after the old one has ended."""
        self.node = self._start_node()

    def note_segments(self) -> None:
        """Remember what is mapped now, so that it can be told afterwards whether it is gone."""
        for pid in (os.getpid(), self.robot.pid, self.node.pid):
            if Path(f"/proc/{pid}").exists():
                self._segments |= segments_of(pid) - self._before

    def close(self) -> list[str]:
        """End what still runs, remove what killed processes left; what remains in the system, one line each."""
        for child in (self.node, self.robot):
            child.stop()
        for log in self._logs:
            log.close()
        remove_segments(self._killed)
        left = [f"process {pid}" for pid in self._pids if Path(f"/proc/{pid}").exists()]
        unused = self._segments - mapped_segments(besides=os.getpid())
        return left + [str(path) for path in sorted(unused) if path.exists() and not SHARED_PORT.search(path.name)]

    def _start_robot(self) -> Child:
        config = share_directory() / "config" / "sim_robot.yaml"
        values = {"image_width": IMAGE_WIDTH, "image_height": IMAGE_HEIGHT, "seed": self._seed}
        arguments = ["--params-file", str(config)]
        for name, value in values.items():
            arguments += ["-p", f"{name}:={value}"]
        return self._start("simulated_robot", arguments)

    def _start_node(self) -> Child:
        policy = {"policy.path": str(self.checkpoint(self._policy)), "policy.type": "", "policy.overrides": ""}
        file = self._folder / "policy_node.yaml"
        # One file: of a parameter in three files, rcl does not take the last one.
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": {**self._configuration.values, **policy}}}))
        arguments = ["--params-file", str(file)]
        return self._start("policy_node", arguments, program=NODE_PROGRAM)

    def _start(self, name: str, arguments: list[str], program: Path | None = None) -> Child:
        log = open(self._folder / f"{name}.log", "a")  # noqa: SIM115 - closed in close()
        self._logs.append(log)
        environment = {**os.environ, ORDER_FILE: str(self._order_file), "OMP_NUM_THREADS": "1"}
        child = Child(name, arguments, environment=environment, output=log, program=program)
        self._pids.append(child.pid)
        return child
