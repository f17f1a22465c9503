# SPDX-License-Identifier: Apache-2.0
"""Another policy brought in beside the running one, and what of the node changes with it."""
