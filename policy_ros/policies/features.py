# SPDX-License-Identifier: Apache-2.0
"""Features of a policy, from and to the form they have in ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies.limits import MAX_FEATURES, MAX_IMAGE_SIDE, MAX_VECTOR_LENGTH

IMAGE_CHANNELS = 3


def features_from_json(where: str, value: object) -> dict[str, FeatureSpec]:
    """``{key: {"type": "STATE", "shape": [7]}}`` to specs, in the order of the file; specs pass through.

    Raises:
        ConfigurationError: not such a mapping, an unknown type, or a shape that does not fit the type or the bounds.
    """
    if not isinstance(value, Mapping) or len(value) > MAX_FEATURES:
        raise ConfigurationError(
            f"{where}: expected at most {MAX_FEATURES} features as {{key: {{type, shape}}}}, got {value!r:.80}"
        )
    return {str(key): _feature(f"{where}[{key!r:.80}]", spec) for key, spec in value.items()}


def features_to_json(features: Mapping[str, FeatureSpec]) -> dict[str, dict[str, Any]]:
    """Inverse of :func:`features_from_json`."""
    return {key: {"type": spec.type.value, "shape": list(spec.shape)} for key, spec in features.items()}


def feature_type(where: str, value: object) -> FeatureType:
    """A feature type by its name.

    Raises:
        ConfigurationError: no such type.
    """
    try:
        return FeatureType(value)
    except ValueError:
        known = ", ".join(kind.value for kind in FeatureType)
        raise ConfigurationError(f"{where}: expected one of {known}, got {value!r:.80}") from None


def _feature(where: str, value: object) -> FeatureSpec:
    if isinstance(value, FeatureSpec):
        kind, raw = value.type, value.shape
    elif isinstance(value, Mapping) and set(value) == {"type", "shape"}:
        kind, raw = feature_type(f"{where}.type", value["type"]), value["shape"]
    else:
        raise ConfigurationError(f"{where}: expected {{type, shape}}, got {value!r:.80}")
    if not isinstance(raw, list | tuple) or any(type(size) is not int for size in raw):
        raise ConfigurationError(f"{where}.shape: expected a list of integers, got {raw!r:.80}")
    shape = tuple(raw)
    if kind is FeatureType.VISUAL:
        fits = len(shape) == 3 and shape[0] == IMAGE_CHANNELS and all(1 <= side <= MAX_IMAGE_SIDE for side in shape[1:])
        wanted = f"({IMAGE_CHANNELS}, height, width) with sides up to {MAX_IMAGE_SIDE}"
    else:
        fits = len(shape) == 1 and 1 <= shape[0] <= MAX_VECTOR_LENGTH
        wanted = f"(n,) with n up to {MAX_VECTOR_LENGTH}"
    if not fits:
        raise ConfigurationError(f"{where}.shape: expected {wanted} for {kind.value}, got {raw!r:.80}")
    return FeatureSpec(kind, shape)
