# SPDX-License-Identifier: Apache-2.0
"""Swaps of policies on the running simulated robot, measured: see docs/swapping.md."""

from __future__ import annotations

import sys

from swapping.main import main

if __name__ == "__main__":
    sys.exit(main())
