# SPDX-License-Identifier: Apache-2.0
"""``simulated_robot``: a gymnasium environment as a robot on ROS topics, in real time."""
