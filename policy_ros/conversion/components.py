# SPDX-License-Identifier: Apache-2.0
"""``{component}.pt``, the pickled weights of components, to ``{component}.safetensors``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from policy_ros.conversion.directories import check_free, write_directory
from policy_ros.conversion.result import Conversion
from policy_ros.conversion.torch_files import check_finite, checked_tensors, read_torch_file
from policy_ros.errors import CheckpointError
from policy_ros.policies.components.description import POLICY_FILE
from policy_ros.policies.files import PICKLE_SUFFIXES, check_size, tensor_shapes, write_tensors
from policy_ros.policies.limits import MAX_STATISTICS_BYTES, MAX_WEIGHTS_BYTES

_DESCRIPTIONS = (".json", ".yaml", ".yml")
_SAFE = ".safetensors"


def convert_components(source: Path, out: Path, *, overwrite: bool = False) -> Conversion:
    """Convert each ``{component}.pt``; YAML, JSON and safetensors files, of statistics for example, are taken along.

    Args:
        source: a directory with such files, or one such file.
        out: directory of the result.
        overwrite: replace a checkpoint that is there.

    Raises:
        CheckpointError: a file is corrupt, needs code, or is no ``state_dict``.
        ConfigurationError: ``out`` exists.
    """
    check_free(out, overwrite=overwrite)
    directory = source if source.is_dir() else source.parent
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    inside = [file for file in files if out.resolve() not in file.resolve().parents]
    pickles = [file for file in inside if file.suffix in PICKLE_SUFFIXES and file.is_file()]
    if not pickles:
        raise CheckpointError(f"{source}: expected files like encoder.pt, found none of {', '.join(PICKLE_SUFFIXES)}")
    converted = {_safe_name(file.relative_to(directory)): _tensors(file) for file in pickles}
    along = [file for file in inside if file.suffix in (*_DESCRIPTIONS, _SAFE) and file.is_file()]
    safe = {file.relative_to(directory) for file in along if file.suffix == _SAFE}
    if len(converted) != len(pickles) or safe & converted.keys():
        raise CheckpointError(f"{source}: expected one file for each component, got two that differ in their ending")

    def write(target: Path) -> None:
        _copy(along, directory, target)
        for name, tensors in converted.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            write_tensors(target / name, tensors)

    write_directory(out, write, overwrite=overwrite)
    notes = () if (out / POLICY_FILE).exists() else (f"a {POLICY_FILE} is still to be written: docs/components.md",)
    return Conversion(out, ", ".join(name.stem for name in converted), sum(map(len, converted.values())), notes=notes)


def _safe_name(file: Path) -> Path:
    return file.with_suffix(_SAFE)


def _tensors(file: Path) -> dict[str, Tensor]:
    tensors = checked_tensors(file, read_torch_file(file), "the state_dict of a component")
    check_finite(file, tensors)
    return tensors


def _copy(files: Sequence[Path], directory: Path, target: Path) -> None:
    for file in files:
        if file.suffix == _SAFE:
            tensor_shapes(file, MAX_WEIGHTS_BYTES)
        else:
            check_size(file, MAX_STATISTICS_BYTES)
        copy = target / file.relative_to(directory)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
