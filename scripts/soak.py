# SPDX-License-Identifier: Apache-2.0
"""A long run of the simulated robot and the policy node with faults at random: see docs/soak.md."""

from __future__ import annotations

import sys

from soaking.main import main

if __name__ == "__main__":
    sys.exit(main())
