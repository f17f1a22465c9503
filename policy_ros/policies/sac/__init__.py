# SPDX-License-Identifier: Apache-2.0
"""The actor of soft actor-critic, a squashed Gaussian (Haarnoja et al. 2018, arXiv:1801.01290)."""
