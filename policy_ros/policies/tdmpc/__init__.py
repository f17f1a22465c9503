# SPDX-License-Identifier: Apache-2.0
"""TD-MPC, planning in a world model (Hansen et al. 2022, arXiv:2203.04955, and Feng et al. 2023, 2310.16029)."""
