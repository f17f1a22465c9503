# SPDX-License-Identifier: Apache-2.0
"""The ROS side: nodes, messages, parameters, diagnostics. The only room that imports rclpy and messages."""
