# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a dataset in LeRobot's layout."""

from __future__ import annotations

from policy_ros.errors import PolicyRosError


class LeRobotError(PolicyRosError):
    """A dataset cannot be read or written, or does not fit the parameters."""
