# SPDX-License-Identifier: Apache-2.0
"""Memory of dropped policies goes back to the system, that of the GPU too."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress

_M_TRIM_THRESHOLD = -1  # of mallopt(3)
_LARGEST_THRESHOLD = 64 * 2**20  # bytes; up to which glibc raises it by itself
_BLOCK = 2**18  # bytes; whoever frees as much makes glibc look at the top of the arena


def release_memory() -> None:
    """Give it back; called by the thread that loaded the policies.

    Where most objects were frozen (``gc.freeze``) this takes a few milliseconds, and the interpreter is free meanwhile.
    """
    torch = sys.modules.get("torch")  # importing it only for this would delay the end of a process that never did
    if torch is None:
        return
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        # The pinned copies of weights, which torch would keep for later; older versions have no way to say so.
        with suppress(AttributeError):
            torch.accelerator.empty_host_cache()
    with suppress(OSError, AttributeError):  # another C library than glibc
        _trim(ctypes.CDLL(None))


def _trim(libc: ctypes.CDLL) -> None:
    """Free all whole pages of the heap.

    ``malloc_trim`` leaves the top of a thread's arena alone, which can be the weights of the policy that was dropped.
    It goes when that thread frees something while the threshold is low.
    """
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes, libc.free.restype = [ctypes.c_void_p], None
    libc.mallopt(_M_TRIM_THRESHOLD, 0)
    libc.free(libc.malloc(_BLOCK))
    libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST_THRESHOLD)
    libc.malloc_trim(0)
