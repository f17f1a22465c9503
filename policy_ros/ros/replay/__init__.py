# SPDX-License-Identifier: Apache-2.0
"""A recording played to the real node, and what the node published about it as the values of a replay."""
