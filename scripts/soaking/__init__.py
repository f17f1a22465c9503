# SPDX-License-Identifier: Apache-2.0
"""A long run with faults at random: what ``make soak`` is made of. See docs/soak.md."""
