# SPDX-License-Identifier: Apache-2.0
"""Reading the files of a checkpoint: JSON and safetensors, bounded in size, and nothing else ever."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from policy_ros.errors import CheckpointError
from policy_ros.policies.limits import MAX_HEADER_BYTES, MAX_JSON_BYTES

PICKLE_SUFFIXES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
PICKLE_ADVICE = "pickles can run code and are never loaded; convert it on a trusted machine with 'policy-ros convert'"

_ZIP_MAGIC = b"PK\x03\x04"  # what torch.save writes
_PICKLE_MAGIC = b"\x80"  # then the protocol
_PICKLE_PROTOCOLS = range(2, 6)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CheckpointError: missing, too large, not JSON, or not an object.
    """
    check_size(path, MAX_JSON_BYTES)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected JSON, got {_one_line(error)}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """A JSON object, indented for people."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def tensor_shapes(path: Path, limit_bytes: int) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Name to (shape, is floating point) of the tensors in a safetensors file, without reading their values.

    Raises:
        CheckpointError: missing, too large, truncated, a pickle, or otherwise no safetensors file.
    """
    with _open(path, limit_bytes) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        return {n: (tuple(s.get_shape()), s.get_dtype().startswith(("F", "BF"))) for n, s in slices.items()}


def read_tensors(path: Path, limit_bytes: int, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """Tensors of a safetensors file, on the CPU: those named, or all.

    Raises:
        CheckpointError: as for :func:`tensor_shapes`.
    """
    with _open(path, limit_bytes) as file:
        return {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file; every tensor gets its own memory, which the format demands."""
    own = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    path.touch()
    mode = path.stat().st_mode
    save_file(own, path, metadata={"format": "pt"})
    path.chmod(mode)  # save_file makes a file that nobody else may read, such as a node that runs as another user


@contextmanager
def _open(path: Path, limit_bytes: int) -> Iterator[Any]:
    check_size(path, limit_bytes)
    _check_head(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path}: expected safetensors, got a corrupt or truncated file: {_one_line(error)}"
        ) from error


def _check_head(path: Path) -> None:
    """Refuse what starts as ``torch.save`` or ``pickle`` would start it, and headers that take seconds to look through.

    Safetensors start with the length of their header in 8 bytes, then comes its opening brace.
    """
    with path.open("rb") as raw:
        head = raw.read(9)
    # The length can look like a pickle's first two bytes.
    pickled = len(head) == 9 and head[:1] == _PICKLE_MAGIC and head[1] in _PICKLE_PROTOCOLS and head[8:] != b"{"
    if pickled or head.startswith(_ZIP_MAGIC):
        raise CheckpointError(f"{path}: expected safetensors, got a pickle; {PICKLE_ADVICE}")
    length = int.from_bytes(head[:8], "little")
    if head[8:] == b"{" and length > MAX_HEADER_BYTES:
        raise CheckpointError(f"{path}: expected a header of at most {MAX_HEADER_BYTES} bytes, got {length}")


def check_size(path: Path, limit_bytes: int) -> None:
    """Refuse what is no file or too large.

    Raises:
        CheckpointError: either.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a file, found {'a directory' if path.is_dir() else 'nothing'}")
    size = path.stat().st_size
    if size > limit_bytes:
        raise CheckpointError(f"{path}: expected at most {limit_bytes} bytes, got {size}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
