# SPDX-License-Identifier: Apache-2.0
"""Weights on their way from files into networks, with one copy on the CPU for all policies of a process.

Shared weights are read into memory of their own instead of being mapped: whoever overwrites a mapped checkpoint would
change the weights of a running policy, or end its process with SIGBUS.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from policy_ros.errors import CheckpointError
from policy_ros.policies.files import read_tensors
from policy_ros.policies.limits import MAX_WEIGHTS_BYTES


class _Identity(NamedTuple):
    """Of a file's content, as far as that can be told without reading it."""

    path: str
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int  # who copies a file in place may keep the other time

    @classmethod
    def of(cls, path: Path) -> _Identity:
        real = path.resolve()
        stat = os.stat(real)
        return cls(str(real), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


class Weights(Mapping[str, Tensor]):
    """The tensors of one safetensors file on the CPU, by name.

    Args:
        tensors: by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    @classmethod
    def of(cls, path: Path, *, shared: bool) -> Weights:
        """The weights of a file.

        Args:
            path: of the file.
            shared: the same object for all who ask for the same file while somebody holds it, not to be written to;
                pinned where there is a GPU, so that a copy there neither blocks nor takes a detour. Otherwise a
                mapping of the file, to copy from at once.

        Raises:
            CheckpointError: it cannot be read, or changed meanwhile.
        """
        if not shared:
            return cls(read_tensors(path, MAX_WEIGHTS_BYTES))
        with _lock:
            before = _Identity.of(path)
            known = _held.get(before)
            if known is None:
                known = cls({name: _own(value) for name, value in read_tensors(path, MAX_WEIGHTS_BYTES).items()})
                if _Identity.of(path) != before:
                    raise CheckpointError(f"{path}: changed while it was read; load it again")
                _held[before] = known
            return known

    def named(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Those of these names, which were in the file when it was looked at.

        Raises:
            CheckpointError: one is not there any more.
        """
        try:
            return {name: self._tensors[name] for name in names}
        except KeyError as error:
            raise CheckpointError(f"{error} is not there any more: the file changed meanwhile; load it again") from None

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def place(network: nn.Module, tensors: Mapping[str, Tensor], device: torch.device, *, keep: Sequence[Weights]) -> None:
    """Give a network its weights, and put it on ``device``.

    Args:
        network: on the CPU.
        tensors: by their names in the network, of its shapes; other precisions are converted.
        device: of the network afterwards.
        keep: shared weights that ``tensors`` are from: the network holds on to them, and where it stays on the CPU its
            tensors are these. Otherwise they are copied.

    Raises:
        CheckpointError: a shape is another one, since the file changed after it was looked at.
    """
    own = network.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, value in tensors.items():
            if value.shape != own[name].shape:
                raise CheckpointError(f"'{name}': expected {tuple(own[name].shape)}, got {tuple(value.shape)}")
            # The parameter stays the same object, so that one with two names stays one.
            own[name].data = value.to(device=device, dtype=own[name].dtype, non_blocking=True, copy=not keep)
    network.to(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    if keep:
        _users[network] = tuple(keep)


def _own(value: Tensor) -> Tensor:
    return value.pin_memory() if torch.cuda.is_available() else value.clone()


_lock = threading.Lock()
_held: weakref.WeakValueDictionary[_Identity, Weights] = weakref.WeakValueDictionary()
_users: weakref.WeakKeyDictionary[nn.Module, tuple[Weights, ...]] = weakref.WeakKeyDictionary()
