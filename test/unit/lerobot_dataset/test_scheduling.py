# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("av", reason="the extra `dataset` is not installed")

# In a process of its own: what an encoder does to its threads lasts.
ENCODE = """
import os
import sys
from pathlib import Path

import numpy as np

from policy_ros.lerobot_dataset.video import VideoFileWriter, find_codec

before = os.sched_getscheduler(0)
writer = VideoFileWriter(Path(sys.argv[1]), 30, (64, 96), find_codec("av1"))
for level in range(40):
    writer.add(np.full((3, 64, 96), level, dtype=np.uint8))
writer.close()
threads = [int(task) for task in os.listdir("/proc/self/task")]
assert len(threads) > 1, threads
assert {os.sched_getscheduler(thread) for thread in threads} == {before}, threads
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="scheduling policies are Linux's")
def test_encoding_a_video_leaves_all_threads_at_ordinary_priority(tmp_path):
    subprocess.run([sys.executable, "-c", ENCODE, str(tmp_path / "x.mp4")], check=True, timeout=120)
