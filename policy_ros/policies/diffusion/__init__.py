# SPDX-License-Identifier: Apache-2.0
"""Diffusion Policy (Chi et al. 2023, arXiv:2303.04137)."""
