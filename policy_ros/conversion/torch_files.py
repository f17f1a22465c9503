# SPDX-License-Identifier: Apache-2.0
"""Files that ``torch.save`` wrote: tensors and plain values, never code."""

from __future__ import annotations

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
        _check_unpacked_size(path)
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
        CheckpointError: it is something else, or a tensor is of a kind that safetensors do not have.
    """
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{path}: expected {what}, names to tensors, got {type(values).__name__}")
    tensors: dict[str, Tensor] = {}
    total = 0
    for name, value in values.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            inside = (
                f"a mapping with {', '.join(map(str, list(value)[:_NAMED_IN_MESSAGE]))}"
                if isinstance(value, Mapping)
                else type(value).__name__
            )
            raise CheckpointError(f"{path}: expected {what}, names to tensors, but {name!r:.80} is {inside}")
        if value.layout is not torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
            raise CheckpointError(f"{path}: '{name}': expected a dense tensor of numbers, got {value.layout}")
        total += value.numel() * value.element_size()
        if total > MAX_WEIGHTS_BYTES:  # few numbers in the file can be many in a tensor
            raise CheckpointError(f"{path}: '{name}': expected at most {MAX_WEIGHTS_BYTES} bytes of tensors, got more")
        tensors[name] = value.detach()
    return tensors


def _check_unpacked_size(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: expected a file of torch.save, got a corrupt one: {error}") from error
    if unpacked > MAX_WEIGHTS_BYTES:
        raise CheckpointError(f"{path}: expected at most {MAX_WEIGHTS_BYTES} bytes, got {unpacked} when unpacked")


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
