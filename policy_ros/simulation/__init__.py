# SPDX-License-Identifier: Apache-2.0
"""A robot to try things on: the gymnasium environment ``policy_ros/Pick-v0``, registered by importing this package."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

ENVIRONMENT_ID = "policy_ros/Pick-v0"


def register_environments() -> None:
    """Make ``policy_ros/Pick-v0`` known to ``gymnasium.make``; does nothing the second time."""
    if ENVIRONMENT_ID not in registry:
        # 400 steps are 20 s at the default control rate of 20 Hz.
        register(ENVIRONMENT_ID, entry_point="policy_ros.simulation.env:PickEnv", max_episode_steps=400)


register_environments()
