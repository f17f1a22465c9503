# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that no node may take over."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def make_broken(good: Path, folder: Path, outside: Path) -> dict[str, Path]:
    """Kind of what is wrong to the directory.

    Args:
        good: a checkpoint that works.
        folder: for the others, inside the roots.
        outside: a directory outside the roots.
    """
    made = {"missing directory": folder / "missing"}
    breakers: dict[str, Callable[[Path], object]] = {
        "pickle": _pickle,
        "pickle under another name": lambda path: (path / WEIGHTS).write_bytes(pickle.dumps({"weights": [1.0]})),
        "wrong action size": _one_action_less,
        "truncated weights": _truncate,
        "unknown type": lambda path: _change(path, type="nonesuch"),
        "weights of another network": lambda path: _change(path, dim_feedforward=77),
    }
    for kind, spoil in breakers.items():
        path = folder / kind.replace(" ", "_")
        shutil.copytree(good, path)
        spoil(path)
        made[kind] = path
    shutil.copytree(good, outside / "good")
    made["path outside the roots"] = outside / "good"
    link = folder / "link"
    link.symlink_to(outside / "good")
    made["link out of the roots"] = link
    return made


def _pickle(path: Path) -> None:
    (path / WEIGHTS).unlink()
    (path / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": [1.0]}))


def _truncate(path: Path) -> None:
    with (path / WEIGHTS).open("r+b") as file:
        file.truncate(file.seek(0, 2) // 2)


def _one_action_less(path: Path) -> None:
    config = json.loads((path / CONFIG).read_text())
    config["output_features"]["action"]["shape"][0] -= 1
    (path / CONFIG).write_text(json.dumps(config))


def _change(path: Path, **changes: object) -> None:
    config = json.loads((path / CONFIG).read_text())
    (path / CONFIG).write_text(json.dumps({**config, **changes}))
