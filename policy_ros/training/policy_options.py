# SPDX-License-Identifier: Apache-2.0
"""The options of the policy that a training makes: those that were set, the features of the data, the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy_ros.data import ACTION, FeatureSpec
from policy_ros.errors import ConfigurationError
from policy_ros.policies.features import features_to_json
from policy_ros.policies.registry import POLICY_REGISTRY
from policy_ros.training.optimization import with_learning_rate
from policy_ros.training.options import TrainingOptions


def policy_options(options: TrainingOptions, features: Mapping[str, FeatureSpec]) -> dict[str, Any]:
    """All options of the policy that differ from its defaults, in the form that they have in ``config.json``.

    Args:
        options: of the training.
        features: inputs and ``action``.

    Raises:
        RegistryError: no such policy.
        ConfigurationError: a feature is set by hand, or the learning rate twice.
    """
    chosen = options.policy_overrides()
    for key in ("input_features", "output_features"):
        if key in chosen:
            raise ConfigurationError(
                f"overrides.{key}: expected none, since the data decide; cameras are in the parameter file"
            )
    kind = POLICY_REGISTRY.get(options.policy).config_class
    chosen = with_learning_rate(kind, chosen, options.lr)
    if "chunk_size" in chosen:  # what a shorter chunk has less of than the default one
        chosen.setdefault("n_action_steps", chosen["chunk_size"])
    inputs = {key: spec for key, spec in features.items() if key != ACTION}
    return {
        "input_features": features_to_json(inputs),
        "output_features": features_to_json({ACTION: features[ACTION]}),
        **chosen,
    }
