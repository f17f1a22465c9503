# SPDX-License-Identifier: Apache-2.0
"""Policies put together from components: a YAML file, a network per component, weights beside them."""
