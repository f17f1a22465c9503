# SPDX-License-Identifier: Apache-2.0
"""Pickled originals of policies to checkpoints that are safe to load."""
