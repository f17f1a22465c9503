# SPDX-License-Identifier: Apache-2.0
"""A policy of my own: one camera and the joints in, a chunk of actions out."""
