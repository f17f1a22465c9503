# SPDX-License-Identifier: Apache-2.0
"""Files in the form of ``torch.save`` that somebody else may have written."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from policy_ros.conversion.torch_files import checked_tensors, read_torch_file
from policy_ros.errors import CheckpointError


def repacked(path: Path, compression: int = zipfile.ZIP_STORED, **replaced: bytes) -> Path:
    """The archive written again, with other contents for the entries whose names end like this."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, replaced.get(Path(name).stem, data))
    return path


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.arange(4.0)}, path)
    return path


def read(path: Path) -> dict[str, torch.Tensor]:
    return checked_tensors(path, read_torch_file(path), "the state_dict of a component")


def test_an_archive_that_was_packed_again_is_read_alike(saved):
    assert torch.equal(read(repacked(saved))["weight"], torch.arange(4.0))


def test_a_compressed_archive_is_refused_instead_of_being_taken_for_numbers(saved):
    with pytest.raises(CheckpointError, match=r"one that compresses '.*'; pack it without"):
        read(repacked(saved, zipfile.ZIP_DEFLATED))


def test_zeros_that_the_file_does_not_hold_are_refused(saved):
    """``bytearray(2**31 - 1)``, in 43 bytes."""
    wanted = b"\x80\x02}X\x06\x00\x00\x00weightcbuiltins\nbytearray\nJ" + struct.pack("<i", 2**31 - 1) + b"\x85Rs."
    with pytest.raises(CheckpointError, match="holds a bytearray"):
        read(repacked(saved, data=wanted))
    saved.write_bytes(pickle.dumps(bytearray(3), protocol=2))
    with pytest.raises(CheckpointError, match="holds a bytearray"):
        read(saved)


def test_memory_that_the_file_does_not_fill_is_refused(saved):
    torch.save({"weight": torch.zeros(1).expand(2**32)}, saved)
    with pytest.raises(CheckpointError, match="'weight': expected tensors of about the file's size"):
        read(saved)


def test_tensors_with_two_names_are_read(saved):
    shared = torch.ones(2**16)
    torch.save({"left": shared, "right": shared}, saved)
    assert read(saved).keys() == {"left", "right"}


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(2).to_sparse(),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, device="meta"),
        torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)]),
    ],
    ids=["sparse", "complex", "meta", "nested"],
)
def test_tensors_that_safetensors_do_not_have_are_refused(saved, value):
    torch.save({"weight": value}, saved)
    with pytest.raises(CheckpointError, match="'weight': expected a dense tensor of numbers"):
        read(saved)


def test_an_empty_file_is_refused(saved):
    saved.write_bytes(b"")
    with pytest.raises(CheckpointError, match="expected a file of torch.save"):
        read(saved)
