# SPDX-License-Identifier: Apache-2.0
"""The policy node as a user without privileges for real-time scheduling runs it, whoever runs the tests."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_CAPBSET_DROP, _CAP_SYS_NICE = 24, 23  # prctl(2), capabilities(7)

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    # Takes effect with exec. Refused to users who do not have the capability anyway.
    ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_SYS_NICE, 0, 0, 0)
    os.execv(sys.executable, [sys.executable, "-m", "policy_ros.ros.policy_node", *sys.argv[1:]])
