# SPDX-License-Identifier: Apache-2.0
"""Benchmarks behind ``policy-ros bench``; they need no ROS."""
