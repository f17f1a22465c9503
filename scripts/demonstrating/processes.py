# SPDX-License-Identifier: Apache-2.0
"""Robot, policy node and recorder as processes, and what they have in the system."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from demonstrating.options import Options
from policy_ros.errors import PolicyRosError
from policy_ros.ros.children import Child, parameter_arguments
from policy_ros.ros.installation import share_directory
from policy_ros.ros.shared_memory import mapped_segments, segments_of

SPECTATOR_TOPIC = "spectator/image_raw/compressed"
SPECTATOR_HZ = 5.0
_EXTRA_TOPICS = ("policy/action_chunk", "policy/status", SPECTATOR_TOPIC)
_RECORDING = "recording into"  # what the recorder says when it is ready
_RECORDER_END_S = 60.0
_START_TIMEOUT_S = 120


class DemoError(PolicyRosError):
    """The demonstration did not come about."""


class Processes:
    """All children; each writes a log into the folder. A context manager that ends them.

    Args:
        options: what to demonstrate.
        stop: set by a signal.
    """

    def __init__(self, options: Options, stop: threading.Event) -> None:
        self._options = options
        self._stop = stop
        self._stack = ExitStack()
        self.bag = options.out / "bag"
        self.recorder: Child | None = None

    def __enter__(self) -> Processes:
        with self._stack:
            self.robot = self._start("simulated_robot", self._robot_arguments())
            self.node = self._start("policy_node", self._node_arguments())
            if self._options.bag:
                remove_bag(self.bag)
                self.recorder = self._start("policy-ros", (), words=self._recorder_words(), log="recorder")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def check(self) -> None:
        """Raises DemoError when somebody wants an end, or a process has ended that should run."""
        if self._stop.is_set():
            raise DemoError("interrupted")
        for child, log in ((self.robot, "simulated_robot"), (self.node, "policy_node"), (self.recorder, "recorder")):
            if child is not None and not child.running and child.exit_status != 0:
                raise DemoError(f"{log} ended with status {child.exit_status}; see {self._log(log)}")

    @property
    def recording(self) -> bool:
        """Whether everything that comes from now on will be in the bag; without a bag, always."""
        return self.recorder is None or _RECORDING in self._log("recorder").read_text()

    def finish_recording(self) -> dict[str, Any]:
        """Wait until the recorder has ended by itself, after the last episode; its summary."""
        if self.recorder is None:
            return {}
        waited = threading.Event()
        for _ in range(round(_RECORDER_END_S / 0.1)):
            if not self.recorder.running or self._stop.is_set():
                break
            waited.wait(0.1)
        status = self.recorder.stop()
        last = self._log("recorder").read_text().rstrip().rpartition("\n")[2]
        if status != 0 or not last.startswith("{"):
            raise DemoError(f"the recorder ended with status {status}; see {self._log('recorder')}")
        summary = json.loads(last)
        return {key: summary[key] for key in ("bag", "size_bytes", "dropped", "episodes", "problems")}

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in (self.robot, self.node, self.recorder) if child is not None]

    def _start(self, name: str, arguments: Sequence[str], *, words: Sequence[str] = (), log: str = "") -> Child:
        return self._stack.enter_context(running(name, arguments, words, self._log(log or name)))

    def _log(self, name: str) -> Path:
        return self._options.out / f"{name}.log"

    def _robot_arguments(self) -> list[str]:
        options = self._options
        height, width = options.image_size
        values = {
            "seed": options.seed,
            "seed_episodes": "true",
            "reset_arm": "true",
            "start_on_request": "true",
            "auto_reset": "false",
            "episodes": options.episodes,
            "episode_timeout_s": options.timeout_s,
            "image_height": height,
            "image_width": width,
            "spectator_hz": SPECTATOR_HZ,
        }
        if options.time_factor is not None:
            values |= {"publish_clock": "true", "time_factor": options.time_factor}
        return parameter_arguments(
            [share_directory() / "config" / "sim_robot.yaml"],
            [f"{name}:={value}" for name, value in values.items()],
            self._subfolder("robot"),
        )

    def _node_arguments(self) -> list[str]:
        options = self._options
        return parameter_arguments([options.configuration], options.node_values(), self._subfolder("node"))

    def _recorder_words(self) -> list[str]:
        options = self._options
        words = ["record", "--params-file", str(options.configuration), "--out", str(self.bag), "--json"]
        words += ["--follow-episodes", "--episodes", str(options.episodes), "--timeout", str(_START_TIMEOUT_S)]
        words += [word for value in options.clock_values() for word in ("-p", value)]
        return [*words, *(word for topic in _EXTRA_TOPICS for word in ("--extra-topic", topic))]

    def _subfolder(self, name: str) -> Path:
        folder = self._options.out / "parameters" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@contextmanager
def running(name: str, arguments: Sequence[str], words: Sequence[str], log: Path) -> Iterator[Child]:
    """One child, ended at the end; its output goes to ``log``."""
    with open(log, "w") as file:
        child = Child(name, arguments, environment=os.environ, output=file, words=words)
        try:
            yield child
        finally:
            child.stop()


def remove_bag(path: Path) -> None:
    """Remove the bag of an earlier demonstration; raises DemoError if it is something else."""
    if not path.exists():
        return
    if not path.is_dir() or any(file.suffix not in (".mcap", ".yaml") for file in path.iterdir()):
        raise DemoError(f"expected nothing or a bag at '{path}'; remove it, or choose another folder with --out")
    shutil.rmtree(path)


class Traces:
    """What processes have in the system, so that it can be told afterwards whether it is gone.

    Args:
        before: files of shared memory from before the demonstration: others may have been killed and left some.
        own: this process, whose middleware ends with the demonstration; it lives on.
        children: the others.
    """

    def __init__(self, before: set[Path], own: int, children: Sequence[int]) -> None:
        self._children = children
        self._segments = {segment for pid in (own, *children) for segment in segments_of(pid)} - before

    def left(self) -> dict[str, list[str]]:
        """Processes and shared-memory segments that still exist."""
        return {
            "processes": [str(pid) for pid in self._children if Path(f"/proc/{pid}").exists()],
            # What other processes of this machine have mapped is not ours to remove.
            "shared_memory_segments": sorted(path.name for path in self._segments - mapped_segments() if path.exists()),
        }
