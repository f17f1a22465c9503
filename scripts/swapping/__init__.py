# SPDX-License-Identifier: Apache-2.0
"""Swaps policies on the running simulated robot, many times, and measures what it takes; docs/swapping.md."""
