# SPDX-License-Identifier: Apache-2.0
"""A flow-matching policy: the observation encoder of ACT and a decoder that denoises chunks."""
