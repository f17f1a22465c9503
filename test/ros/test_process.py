# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import threading
from policy_ros.ros.process import leave
if {hanging}:
    threading.Thread(target=threading.Event().wait).start()
print("last words", end="")
leave(7)
"""


@pytest.mark.parametrize("hanging", [True, False])
def test_the_end_of_a_process_keeps_its_status_and_output_and_waits_for_no_thread(tmp_path, hanging):
    code = CODE.format(hanging=hanging)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60.0)
    assert (done.returncode, done.stdout) == (7, "last words"), done.stderr
