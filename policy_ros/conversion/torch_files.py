# SPDX-License-Identifier: Apache-2.0
"""Files that ``torch.save`` wrote: tensors and plain values, never code."""

from __future__ import annotations

import mmap
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from policy_ros.errors import CheckpointError, ConfigurationError
from policy_ros.policies.files import check_size
from policy_ros.policies.limits import MAX_WEIGHTS_BYTES

# What may stand for a name in a pickle, and the name.
StandIn = tuple[Any, str]

_UNSUPPORTED = re.compile(r"(?:GLOBAL|function|class) ([\w.]+)")
_NAMED_IN_MESSAGE = 5
# The same numbers can have several names in a file, each of which gets memory of its own; in a hostile one, very many.
_MOST_NAMES_OF_A_TENSOR = 16
# The one thing that weights_only makes of a pickle's word alone: as many zeros as it says. No tensor needs it.
_ZEROS = b"bytearray\n"
_ADVICE = (
    "code is never run here; where you trust it, load it with the program that wrote it and save its tensors alone: "
    "torch.save(policy.state_dict(), file)"
)


def read_torch_file(path: Path, stand_ins: Sequence[StandIn] = ()) -> Any:
    """The content of a file by ``torch.load(weights_only=True)``, on the CPU.

    Args:
        path: of the file.
        stand_ins: harmless objects of ours in place of classes and functions that a pickle names.

    Raises:
        CheckpointError: missing, too large also when unpacked, corrupt, or holding what needs code; the message names
            it.
        ConfigurationError: torch is too old.
    """
    check_size(path, MAX_WEIGHTS_BYTES)
    packed = zipfile.is_zipfile(path)
    if packed:
        _check_packing(path)
    _check_zeros(path)
    try:
        with torch.serialization.safe_globals(list(stand_ins)):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=packed)
    except AttributeError as error:
        raise ConfigurationError(f"torch: expected version 2.6 or later to convert, got {torch.__version__}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {_what_it_wants(path, stand_ins, error)}; {_ADVICE}") from error
    except Exception as error:  # of a corrupt file; there is no saying which
        raise CheckpointError(
            f"{path}: expected a file of torch.save, got a corrupt or another one: {_one_line(error)}"
        ) from error


def checked_tensors(path: Path, values: object, what: str) -> dict[str, Tensor]:
    """A flat mapping of names to dense tensors, as a ``state_dict`` is.

    Args:
        path: of the file, for messages.
        values: what was read.
        what: what it should be, for messages.

    Raises:
        CheckpointError: it is something else, or a tensor is of a kind that safetensors do not have, or tensors would
            take much more memory than the file has numbers.
    """
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{path}: expected {what}, names to tensors, got {type(values).__name__}")
    tensors: dict[str, Tensor] = {}
    left = min(MAX_WEIGHTS_BYTES, _MOST_NAMES_OF_A_TENSOR * path.stat().st_size)
    for name, value in values.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            inside = (
                f"a mapping with {', '.join(map(str, list(value)[:_NAMED_IN_MESSAGE]))}"
                if isinstance(value, Mapping)
                else type(value).__name__
            )
            raise CheckpointError(f"{path}: expected {what}, names to tensors, but {name!r:.80} is {inside}")
        unusual = value.is_quantized or value.is_complex() or value.is_meta or value.is_nested
        if value.layout is not torch.strided or unusual:
            raise CheckpointError(f"{path}: '{name}': expected a dense tensor of numbers, got {value.layout}")
        left -= value.nbytes
        if left < 0:  # few numbers in the file can be many in a tensor
            raise CheckpointError(f"{path}: '{name}': expected tensors of about the file's size, got many times that")
        tensors[name] = value.detach()
    return tensors


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse what no robot should be led by.

    Raises:
        CheckpointError: a value is not finite; the message names its tensor.
    """
    for name, value in tensors.items():
        if not torch.isfinite(value.float()).all():  # not every precision can be asked
            raise CheckpointError(f"{path}: '{name}': expected finite numbers, got others; the training went wrong")


def _check_packing(path: Path) -> None:
    """Refuse an archive that was packed again: torch maps it as if nothing in it were compressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: expected a file of torch.save, got a corrupt one: {error}") from error
    data = [entry for entry in entries if entry.filename.endswith("/data.pkl") or "/data/" in entry.filename]
    compressed = [entry.filename for entry in data if entry.compress_type != zipfile.ZIP_STORED]
    if compressed:
        raise CheckpointError(
            f"{path}: expected an archive as torch.save writes it, got one that compresses '{compressed[0]:.80}'; "
            "pack it without compression (zip -0)"
        )
    if sum(entry.file_size for entry in data) > path.stat().st_size:
        raise CheckpointError(f"{path}: expected a file of torch.save, got one whose parts are larger than itself")


def _check_zeros(path: Path) -> None:
    """Refuse what can ask for memory that the file does not have."""
    if path.stat().st_size == 0:
        return  # corrupt; torch says so
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(_ZEROS) >= 0:
            raise CheckpointError(f"{path}: expected tensors and plain values, but it holds a bytearray; {_ADVICE}")


def _what_it_wants(path: Path, stand_ins: Sequence[StandIn], error: Exception) -> str:
    """The names that the pickle wants; found without running any of it."""
    known = {name for _, name in stand_ins}
    try:
        names = [n for n in torch.serialization.get_unsafe_globals_in_checkpoint(path) if n not in known]
    except Exception:  # not every file can be looked through
        names = _UNSUPPORTED.findall(str(error))
    if not names:
        return f"expected tensors and plain values, got {_one_line(error)[:300]}"
    shown = ", ".join(sorted(names)[:_NAMED_IN_MESSAGE])
    more = f" and {len(names) - _NAMED_IN_MESSAGE} more" if len(names) > _NAMED_IN_MESSAGE else ""
    return f"expected tensors and plain values, but it needs the code of {shown}{more}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
