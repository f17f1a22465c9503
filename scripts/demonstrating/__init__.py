# SPDX-License-Identifier: Apache-2.0
"""The demonstration: a trained policy and the simulated robot, episode by episode over ROS."""
