# SPDX-License-Identifier: Apache-2.0
"""Memory of a dropped policy goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# In a process of its own, whose heap nobody else has used.
PROGRAM = """
import ctypes
import threading
from pathlib import Path

import torch

from policy_ros.ros.memory import release_memory

libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]


def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def filled(size):
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    return block


def load_and_drop():
    libc.free(filled(24_000_000))  # a large block that was freed makes glibc keep up to twice as much
    before = resident_mb()
    weights = [filled(1_000_000) for _ in range(30)]
    for block in weights:  # nothing lies above them: they become the top of this thread's arena
        libc.free(block)
    dropped = resident_mb()
    release_memory()
    print(dropped - before, resident_mb() - before)


thread = threading.Thread(target=load_and_drop)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc's allocator")
def test_the_thread_that_loaded_and_dropped_weights_gives_their_memory_back(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,  # python -c would import policy_ros from here otherwise
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    dropped_mb, kept_mb = map(float, done.stdout.split())
    assert dropped_mb > 25, "glibc has given it back by itself: this shows nothing"
    assert kept_mb < 5
