# SPDX-License-Identifier: Apache-2.0
"""What a training leaves in its directory, and where.

DIR/config.json, model.safetensors, …   the policy of the last saved step, in LeRobot's layout
DIR/best/                               the policy that scored best, likewise
DIR/training.json                       options, versions, data: what is needed to do it again
DIR/training/state-00001000.ckpt        everything needed to go on from step 1000
DIR/training/metrics.jsonl              losses and scores by step
DIR/training/statistics.safetensors     of the training's data
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from policy_ros.durable import UNFINISHED, move_durably, write_durably
from policy_ros.errors import CheckpointError, ConfigurationError, TrainingError
from policy_ros.policies.base import Policy
from policy_ros.policies.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from policy_ros.policies.files import read_json, read_tensors, write_json, write_tensors
from policy_ros.policies.limits import MAX_STATISTICS_BYTES
from policy_ros.policies.normalization import Statistics
from policy_ros.policies.processors import POSTPROCESSOR, PREPROCESSOR

RECORD = "training.json"
_STATE = re.compile(r"state-(\d{8,})\.ckpt")
_KEPT_STATES = 2
_FORMAT = 1


class TrainingDirectory:
    """The directory of one training.

    Args:
        out: where the policy goes.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.best = out / "best"
        self.record = out / RECORD
        self.inner = out / "training"
        self.metrics = self.inner / "metrics.jsonl"
        self._statistics = self.inner / "statistics.safetensors"

    def check_free(self, *, overwrite: bool) -> None:
        """Whether a new training may go here; changes nothing.

        Raises:
            ConfigurationError: there is something in it that ``overwrite`` does not say to remove, or is no training.
        """
        if self.out.exists() and not self.out.is_dir():
            raise ConfigurationError(f"--out {self.out}: expected a directory, found a file")
        found = {path.name for path in self.out.iterdir()} if self.out.is_dir() else set()
        if found and not overwrite:
            raise ConfigurationError(
                f"--out {self.out}: expected a new or empty directory; --resume goes on with the training in it, "
                "--overwrite removes that training first"
            )
        if found and RECORD not in found and found != {self.inner.name}:
            raise ConfigurationError(
                f"--overwrite {self.out}: expected a training ({RECORD}), found other things; remove them yourself"
            )

    def begin(self, *, overwrite: bool) -> None:
        """Make the directory for a new training, and remove an old one; raises as :meth:`check_free`."""
        self.check_free(overwrite=overwrite)
        with self.locked():
            self._remove_training()

    def write_record(self, record: Mapping[str, Any], statistics: Statistics) -> None:
        """Write what belongs to the training from its beginning; ``training.json`` last: it tells that all is there."""
        flat = {f"{key}/{name}": value for key, values in statistics.items() for name, value in values.items()}
        write_durably(self._statistics, lambda path: write_tensors(path, flat))
        write_durably(self.record, lambda path: write_json(path, record))

    def read_record(self) -> dict[str, Any]:
        """The content of ``training.json``.

        Raises:
            ConfigurationError: there is none.
            CheckpointError: it cannot be read.
        """
        if not self.record.is_file():
            raise ConfigurationError(f"--resume: expected a training that began in {self.out}, found no {RECORD}")
        return read_json(self.record)

    def read_statistics(self) -> Statistics:
        """As given to :meth:`write_record`."""
        statistics: dict[str, dict[str, Tensor]] = {}
        for flat, value in read_tensors(self._statistics, MAX_STATISTICS_BYTES).items():
            key, _, name = flat.rpartition("/")
            statistics.setdefault(key, {})[name] = value
        return statistics

    def save_state(self, step: int, state: Mapping[str, Any]) -> None:
        """Keep all that is needed to go on from this step; older states but one go when it is on the disk."""
        path = self.inner / f"state-{step:08d}.ckpt"
        write_durably(path, lambda file: torch.save({"format": _FORMAT, "step": step, **state}, file))
        for _, old in self._states()[:-_KEPT_STATES]:
            old.unlink()

    def load_state(self) -> dict[str, Any] | None:
        """The newest state, on the CPU; None where none was saved yet.

        Raises:
            TrainingError: the newest cannot be read.
        """
        states = self._states()
        if not states:
            return None
        step, path = states[-1]
        try:
            # weights_only: tensors, numbers and containers, never code
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise TrainingError(
                f"{path}: expected the state of step {step}, got {type(error).__name__}; the disk has damaged it: "
                "remove it to resume from the one before"
            ) from error
        if state.get("format") != _FORMAT:
            raise TrainingError(f"{path}: expected format {_FORMAT}, got {state.get('format')!r}; train anew")
        return state

    def export(self, policy: Policy, directory: Path) -> None:
        """Write the policy as a checkpoint into ``directory``, over an earlier one of this training.

        Files take their names one by one. That is safe: of one training only the weights change.
        """
        unfinished = self.inner / f"export{UNFINISHED}"
        shutil.rmtree(unfinished, ignore_errors=True)
        policy.save_pretrained(unfinished)
        directory.mkdir(exist_ok=True)
        # config.json last: what has none is no checkpoint yet.
        move_durably(sorted(unfinished.iterdir(), key=lambda file: file.name == CONFIG_FILE), directory)
        unfinished.rmdir()

    @contextmanager
    def locked(self, needed: bool = True) -> Iterator[None]:
        """Keep a second process from training into the same directory; those of further devices need not.

        Raises:
            TrainingError: one does.
        """
        if not needed:
            yield
            return
        self.inner.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.inner, os.O_RDONLY)  # released by the system, also when this process is killed
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise TrainingError(f"{self.out}: another process is training into this directory") from None
        try:
            self._remove_unfinished()
            yield
        finally:
            os.close(descriptor)

    def _remove_unfinished(self) -> None:
        """What a killed process was writing."""
        for path in [*self.inner.glob(f"*{UNFINISHED}"), *self.out.glob(f"*{UNFINISHED}")]:
            _remove(path)

    def _states(self) -> list[tuple[int, Path]]:
        found = ((_STATE.fullmatch(path.name), path) for path in self.inner.iterdir())
        return sorted((int(match[1]), path) for match, path in found if match)

    def _remove_training(self) -> None:
        self.record.unlink(missing_ok=True)  # first: what is left of it is no training any more
        shutil.rmtree(self.best, ignore_errors=True)
        for pattern in (CONFIG_FILE, WEIGHTS_FILE, f"{PREPROCESSOR}*", f"{POSTPROCESSOR}*"):
            for path in self.out.glob(pattern):
                path.unlink()
        for path in self.inner.iterdir():
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def restore_weights(policy: Policy, state: Mapping[str, Any]) -> None:
    """Load the raw weights of a state.

    Raises:
        CheckpointError: they are those of another policy.
    """
    try:
        policy.load_state_dict(state["policy"])
    except RuntimeError as error:
        raise CheckpointError(f"training state: {' '.join(str(error).split())}") from error
