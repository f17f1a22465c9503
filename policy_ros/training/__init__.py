# SPDX-License-Identifier: Apache-2.0
"""From bags to samples to a checkpoint."""
