# SPDX-License-Identifier: Apache-2.0
"""Directories that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from policy_ros.durable import UNFINISHED
from policy_ros.errors import ConfigurationError
from policy_ros.policies.checkpoint import CONFIG_FILE
from policy_ros.policies.components.description import POLICY_FILE

_WEIGHTS = ".safetensors"
_OF_A_CHECKPOINT = (_WEIGHTS, ".json", ".yaml", ".yml")


def check_free(directory: Path, *, overwrite: bool) -> None:
    """Refuse to write over something.

    Raises:
        ConfigurationError: there is something, and ``overwrite`` is false or it is no checkpoint.
    """
    if not (directory.exists() or directory.is_symlink()):
        return
    if not overwrite:
        raise ConfigurationError(f"--out: {directory} exists; choose another or add --overwrite")
    if directory.is_symlink() or not directory.is_dir():
        raise ConfigurationError(f"--overwrite: expected a directory in {directory}, got something else; remove it")
    others = [path.name for path in directory.rglob("*") if not path.is_dir() and path.suffix not in _OF_A_CHECKPOINT]
    if others:
        raise ConfigurationError(
            f"--overwrite: {directory} holds {others[0]}, which is no part of a checkpoint; choose another directory"
        )
    _check_single(directory)


def _check_single(directory: Path) -> None:
    """Refuse a directory of parameter files, and one of several checkpoints: both hold nothing but such files."""
    inside = [path for path in directory.rglob("*") if not path.is_dir()]
    if inside and not any(path.parent == directory and _is_of_a_policy(path) for path in inside):
        raise ConfigurationError(
            f"--overwrite: expected a checkpoint with {CONFIG_FILE}, {POLICY_FILE} or weights in {directory}, got a "
            f"directory with {inside[0].name}; choose another directory"
        )
    further = [path for path in inside if path.parent != directory and path.name in (CONFIG_FILE, POLICY_FILE)]
    if further:
        raise ConfigurationError(
            f"--overwrite: {directory} holds a further checkpoint in {further[0].parent}; choose another directory"
        )


def _is_of_a_policy(path: Path) -> bool:
    return path.name in (CONFIG_FILE, POLICY_FILE) or path.suffix == _WEIGHTS


def write_directory(directory: Path, write: Callable[[Path], None], *, overwrite: bool = False) -> None:
    """Write beside ``directory``, then give it its name.

    Args:
        directory: of the result.
        write: writes the files below the directory it is given.
        overwrite: replace a checkpoint that is there.

    Raises:
        ConfigurationError: as :func:`check_free`, or nothing can be written there.
    """
    check_free(directory, overwrite=overwrite)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", suffix=UNFINISHED, dir=directory.parent))
    except OSError as error:
        raise ConfigurationError(f"--out: {directory} cannot be written: {error}") from error
    try:
        write(unfinished)
        unfinished.chmod(0o777 & ~_umask())  # mkdtemp makes what nobody else may read
        if directory.exists():
            old = unfinished.with_suffix(".old")
            os.replace(directory, old)
            os.replace(unfinished, directory)
            shutil.rmtree(old)
        else:
            os.replace(unfinished, directory)
    except OSError as error:
        raise ConfigurationError(f"--out: {directory} cannot be written: {error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
