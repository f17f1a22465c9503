# SPDX-License-Identifier: Apache-2.0
"""Keeps checkpoint paths, which any peer can set as a parameter, inside directories the operator chose."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from policy_ros.errors import CheckpointError


def resolve_checkpoint(path: str | os.PathLike[str], roots: Sequence[str | os.PathLike[str]]) -> Path:
    """The real path of a checkpoint, after checking that it and its files lie inside one of the roots.

    Neither ``..`` nor a link leads out: the directory and each entry in it are resolved first.

    Args:
        path: checkpoint directory.
        roots: allowed directories; none means that every path is allowed.

    Raises:
        CheckpointError: it lies outside the roots, a file in it does, or it does not exist.
    """
    real = Path(path).expanduser().resolve()
    allowed = [Path(root).expanduser().resolve() for root in roots]
    # Outside the roots, a path that exists and one that does not look the same.
    _check_inside(real, allowed)
    if not real.exists():
        raise CheckpointError(f"{path}: expected a checkpoint directory, found nothing")
    if real.is_dir():
        for entry in real.iterdir():
            _check_inside(entry.resolve(), allowed)
    return real


def _check_inside(real: Path, roots: Sequence[Path]) -> None:
    if roots and not any(real.is_relative_to(root) for root in roots):
        listing = ", ".join(str(root) for root in roots)
        raise CheckpointError(
            f"checkpoint {real}: expected a path inside {listing}; links are followed before the check"
        )
