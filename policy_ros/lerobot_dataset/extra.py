# SPDX-License-Identifier: Apache-2.0
"""The libraries of the extra ``dataset``, imported when they are needed and not before."""

from __future__ import annotations

from typing import Any

from policy_ros.lerobot_dataset.errors import LeRobotError


def pyarrow() -> Any:
    """The module ``pyarrow``, with ``pyarrow.parquet`` imported.

    Raises:
        LeRobotError: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise _missing(error, "pyarrow", "parquet files") from None
    return pyarrow


def av() -> Any:
    """The module ``av`` (PyAV), which brings FFmpeg.

    Raises:
        LeRobotError: it is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise _missing(error, "av", "videos") from None
    return av


def _missing(error: ModuleNotFoundError, package: str, purpose: str) -> Exception:
    """What to raise instead; the error itself where the package is there and lacks something."""
    if error.name is None or error.name.partition(".")[0] != package:
        return error
    return LeRobotError(
        f"{purpose}: expected the package '{package}', it is not installed; pip install 'policy_ros[dataset]' "
        f"or {package} alone"
    )
