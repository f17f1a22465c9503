# SPDX-License-Identifier: Apache-2.0
"""ACT on a robot, or with ``sim:=true`` on the simulated one; takes the arguments of policy.launch.py.

ros2 launch policy_ros act.launch.py sim:=true
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource


def generate_launch_description() -> LaunchDescription:
    """policy.launch.py with the policy's type set."""
    source = PythonLaunchDescriptionSource(str(Path(__file__).with_name("policy.launch.py")))
    return LaunchDescription([IncludeLaunchDescription(source, launch_arguments={"type": "act"}.items())])
