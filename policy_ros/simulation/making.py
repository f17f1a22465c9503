# SPDX-License-Identifier: Apache-2.0
"""Environments by id, without ever importing what an id says."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import gymnasium

from policy_ros.errors import ConfigurationError, PolicyRosError

# An environment is registered by importing its package. An id can come from anybody in the ROS domain, so it
# never names a module: its namespace is looked up here, and among the installed entry points of the group.
_REGISTERING_MODULES = {"gym_aloha": "gym_aloha", "gym_pusht": "gym_pusht"}
_INSTALLING = {"gym_aloha": "pip install gym-aloha", "gym_pusht": "pip install 'policy_ros[pusht]'"}
ENTRY_POINT_GROUP = "policy_ros.environments"


def make_environment(env_id: str, arguments: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """``gymnasium.make`` for episodes that end when the caller says so, not after a number of steps.

    Args:
        env_id: a registered id; ids with a module to import (``module:id``) are refused.
        arguments: of the environment.

    Raises:
        ConfigurationError: the id is unknown, or the environment does not take these arguments.
    """
    if ":" in env_id:
        raise ConfigurationError(
            f"env_id '{env_id}': expected a registered id without a module; "
            f"an installed package can offer its namespace through the entry point group {ENTRY_POINT_GROUP}"
        )
    try:
        _register(env_id.partition("/")[0])
        return gymnasium.make(env_id, max_episode_steps=-1, disable_env_checker=True, **arguments)
    except PolicyRosError:
        raise
    except Exception as error:  # somebody else's constructor may raise anything
        raise ConfigurationError(f"env_id {env_id}: cannot be made: {error}") from error


def _register(namespace: str) -> None:
    """Import what registers the environments of a namespace, if we know it."""
    if namespace in _REGISTERING_MODULES:
        try:
            importlib.import_module(_REGISTERING_MODULES[namespace])
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"env_id {namespace}/…: expected {namespace} installed, found no module {error.name}: "
                f"{_INSTALLING[namespace]}"
            ) from None
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP, name=namespace):
        entry_point.load()
