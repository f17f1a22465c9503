# SPDX-License-Identifier: Apache-2.0
"""Where this package is installed, and the middleware profile that comes with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from policy_ros.errors import ConfigurationError

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def share_directory() -> Path:
    """Where launch files, configuration and the middleware profile of *this* installation are.

    Found from this file, because the ament index knows an installation only after its environment was sourced.

    Raises:
        ConfigurationError: policy_ros runs from its source folder.
    """
    for prefix in Path(__file__).resolve().parents:
        share = prefix / "share" / "policy_ros"
        if (share / "package.xml").is_file():
            return share
    raise ConfigurationError(
        f"expected an installed policy_ros, got the source folder {Path(__file__).parents[1]}; "
        "install it (make setup, or colcon build) and run it from there"
    )


def executable_directory() -> Path:
    """Where ``policy_node`` and ``simulated_robot`` of this installation are."""
    return share_directory().parents[1] / "lib" / "policy_ros"


def with_middleware_profile(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the shipped Fast DDS profile, unless the user chose one.

    Default shared-memory segments are smaller than a camera image; most best-effort images would be lost.
    """
    result = dict(environment)
    if not any(variable in result for variable in PROFILE_VARIABLES):
        profile = str(share_directory() / "config" / "fastdds.xml")
        result.update(dict.fromkeys(PROFILE_VARIABLES, profile))
    return result
