# SPDX-License-Identifier: Apache-2.0
"""A policy that is being brought in, with everything of the node that changes with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policy_ros.observation import ObservationAssembler, ObservationConfig
from policy_ros.parameters.node import CameraParameters, PolicyParameters

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy

CHOICE = ("path", "type", "revision")  # of policy.*: which policy runs


@dataclass(frozen=True, eq=False)
class Newcomer:
    """Ready to take over.

    Attributes:
        policy: loaded and warmed up.
        wanted: how it was asked for.
        cameras: its own that are not configured included.
        observed: what its observations consist of.
        assembler: makes them; that of the running policy where both observe the same.
    """

    policy: Policy
    wanted: PolicyParameters
    cameras: Mapping[str, CameraParameters]
    observed: ObservationConfig
    assembler: ObservationAssembler


def choice(parameters: PolicyParameters) -> dict[str, str]:
    """Which policy is meant: full parameter names to values."""
    return {f"policy.{name}": getattr(parameters, name) for name in CHOICE}


def with_choice(parameters: PolicyParameters, chosen: PolicyParameters) -> PolicyParameters:
    """``parameters``, but for which policy runs."""
    return dataclasses.replace(parameters, **{name: getattr(chosen, name) for name in CHOICE})


def describe(parameters: PolicyParameters) -> str:
    """Which policy is meant, in words."""
    return parameters.path or f"fresh weights of '{parameters.type}'"
