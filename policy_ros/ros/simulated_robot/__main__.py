# SPDX-License-Identifier: Apache-2.0
"""``python -m policy_ros.ros.simulated_robot``."""

from __future__ import annotations

import sys

from policy_ros.ros.simulated_robot.process import main

if __name__ == "__main__":
    sys.exit(main())
