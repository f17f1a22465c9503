# SPDX-License-Identifier: Apache-2.0
"""The ``policy-ros`` command: one file for each subcommand."""
