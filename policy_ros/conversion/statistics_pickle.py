# SPDX-License-Identifier: Apache-2.0
"""A pickled dictionary of NumPy arrays of numbers, read without running anything of the pickle or of NumPy's own."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import CheckpointError
from policy_ros.policies.files import check_size
from policy_ros.policies.limits import MAX_STATISTICS_BYTES

_NUMBER = re.compile(r"[<>|=]?[biuf][1248]")
_INTEGER_BITS = 64
_ADVICE = "code is never run here; where you trust it, load it in Python and pickle a dict of plain numpy arrays"


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Names to arrays of numbers; single numbers become arrays without axes.

    Raises:
        CheckpointError: missing, too large, corrupt, or holding anything else; the message names it.
    """
    check_size(path, MAX_STATISTICS_BYTES)
    data = path.read_bytes()
    _check_memo(path, data)
    try:
        values = _ArraysOnly(data).load()
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}; {_ADVICE}") from error
    except Exception as error:  # of a corrupt file; there is no saying which
        raise CheckpointError(f"{path}: expected a pickled dict of arrays, got a corrupt file: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a pickled dict of arrays, got {type(values).__name__}")
    if not all(isinstance(name, str) for name in values):
        raise CheckpointError(f"{path}: expected a pickled dict of arrays by name, got one by something else")
    return {name: _numbers(path, name, value) for name, value in values.items()}


class _Array:
    """What a pickle says of an array, to be filled in by ``__setstate__``."""

    array: NDArray[Any] | None = None

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise CheckpointError("an array of an unknown form")
        _, shape, dtype, by_columns, data = state
        if isinstance(data, list):
            raise CheckpointError("an array of objects instead of numbers")
        self.array = _made(shape, dtype, bool(by_columns), data)


class _Dtype:
    """A kind of number."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _NUMBER.fullmatch(code):
            raise CheckpointError(f"an array of {code!r:.40} instead of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _scalar(dtype: object, data: object) -> NDArray[Any]:
    return _made((), dtype, False, data)


def _frombuffer(data: object, dtype: object, shape: object, order: object) -> NDArray[Any]:
    return _made(shape, dtype, order == "F", data)


def _encode(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise CheckpointError(f"text in the encoding {encoding!r:.40}")
    return text.encode("latin1")


def _made(shape: object, dtype: object, by_columns: bool, data: object) -> NDArray[Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray) or not isinstance(shape, tuple):
        raise CheckpointError("an array of an unknown form")
    sizes = [size for size in shape if type(size) is int and size >= 0]
    if len(sizes) != len(shape) or math.prod(sizes) * dtype.dtype.itemsize != len(data):
        raise CheckpointError(f"an array of shape {shape} with {len(data)} bytes")
    return np.frombuffer(data, dtype.dtype).reshape(sizes, order="F" if by_columns else "C")


_STAND_INS = {
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _ArraysOnly(pickle.Unpickler):
    """Knows NumPy's arrays and nothing else, and builds them itself."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in of ours."""
        if (module, name) not in _STAND_INS:
            raise CheckpointError(f"expected numpy arrays of numbers, but it needs the code of {module}.{name}")
        return _STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Nothing lies outside."""
        raise CheckpointError(f"expected numpy arrays of numbers, but it refers to {pid!r:.80}")


def _check_memo(path: Path, data: bytes) -> None:
    """A pickle can ask for a table of as many entries as it likes."""
    try:
        for code, argument, _ in pickletools.genops(data):
            if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
                raise CheckpointError(f"{path}: expected a pickled dict of arrays, got a corrupt file")
    except (ValueError, TypeError, IndexError, UnicodeError) as error:
        raise CheckpointError(f"{path}: expected a pickle, got a corrupt or another file: {error}") from error


def _numbers(path: Path, name: str, value: object) -> NDArray[Any]:
    if isinstance(value, _Array):
        value = value.array
    # An integer of a pickle can be longer than any number of NumPy's.
    if isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() < _INTEGER_BITS):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray):
        raise CheckpointError(f"{path}: '{name:.80}': expected numbers, got {type(value).__name__}")
    return value
