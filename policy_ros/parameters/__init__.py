# SPDX-License-Identifier: Apache-2.0
"""Parameters as one schema: what the node declares, what a bag replay reads, what the documentation lists."""
