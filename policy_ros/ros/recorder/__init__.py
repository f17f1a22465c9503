# SPDX-License-Identifier: Apache-2.0
"""``policy-ros record``: the topics of a configuration as a rosbag2, with the boundaries of episodes."""
