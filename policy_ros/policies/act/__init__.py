# SPDX-License-Identifier: Apache-2.0
"""ACT, the action chunking transformer (Zhao et al. 2023, arXiv:2304.13705)."""
