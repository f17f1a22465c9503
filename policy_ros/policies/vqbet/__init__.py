# SPDX-License-Identifier: Apache-2.0
"""VQ-BeT, behaviour generation with latent actions (Lee et al. 2024, arXiv:2403.03181)."""
