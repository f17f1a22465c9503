# SPDX-License-Identifier: Apache-2.0
"""A trained policy does the task on the simulated robot, closed loop over real DDS: see docs/simulation.md."""

from __future__ import annotations

import sys

from demonstrating.main import main

if __name__ == "__main__":
    sys.exit(main())
