# SPDX-License-Identifier: Apache-2.0
"""Policies of an installed LeRobot, with its own network code and its own processors."""
