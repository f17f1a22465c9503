# SPDX-License-Identifier: Apache-2.0
"""Errors of policy_ros.

Every message says what was expected, what came and what to do about it, in one line, so that a node can log it
and a command line can print it as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PolicyRosError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigurationError(PolicyRosError):
    """A parameter, a YAML file or a combination of them cannot work."""


class RegistryError(PolicyRosError):
    """A name is not registered, is registered twice, or names something of the wrong kind."""


class CheckpointError(PolicyRosError):
    """A checkpoint is missing, corrupt, of an unsafe format, or does not fit its configuration."""


class ObservationError(PolicyRosError):
    """An observation does not have the features, shapes or types that the policy was trained on."""


class DecodeError(PolicyRosError):
    """An image message cannot be decoded: unknown encoding, inconsistent sizes, corrupt data."""


class ActionError(PolicyRosError):
    """A policy returned actions of the wrong shape or with values that are not finite."""


class TrainingError(PolicyRosError):
    """A training cannot begin, go on or resume."""


_LISTED = 12


def closest(name: str, valid: Iterable[str]) -> str:
    """Text that suggests the closest valid name and lists them: ``"did you mean 'act'? Available: act, flow"``.

    A long list is left out where there is a close match.
    """
    names = sorted(valid)
    match = difflib.get_close_matches(name, names, n=1)
    listing = "Available: " + (", ".join(names) if names else "none")
    if not match:
        return listing
    suggestion = f"did you mean '{match[0]}'?"
    return suggestion if len(names) > _LISTED else f"{suggestion} {listing}"
