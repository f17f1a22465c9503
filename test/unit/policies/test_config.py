# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies.act.config import ACTConfig
from policy_ros.policies.modes import NormalizationMode


def test_a_configuration_survives_the_round_trip(options):
    config = ACTConfig.from_dict(options(normalization_mapping={"STATE": "QUANTILES", "ACTION": "MIN_MAX"}))
    assert ACTConfig.from_dict(config.to_dict()) == config
    assert config.mode(FeatureType.STATE) is NormalizationMode.QUANTILES


def test_a_type_that_is_not_mapped_is_not_normalised(options):
    assert ACTConfig.from_dict(options()).mode(FeatureType.ENV) is NormalizationMode.IDENTITY


def test_features_can_be_given_as_specs(options):
    action = FeatureSpec(FeatureType.ACTION, (7,))
    assert ACTConfig.from_dict(options(output_features={"action": action})).action_dim == 7


def test_images_keep_the_order_of_the_file(options):
    image = {"type": "VISUAL", "shape": [3, 32, 32]}
    features = {f"observation.images.{name}": image for name in ("wrist", "top", "a")}
    assert list(ACTConfig.from_dict(options(input_features=features)).image_features) == list(features)


def test_vectors_that_the_network_does_not_read_need_not_be_observed(options):
    features = {**options()["input_features"], "observation.effort": {"type": "STATE", "shape": [3]}}
    config = ACTConfig.from_dict(options(input_features=features))
    assert set(config.observed_features) == {"observation.state", "observation.environment_state"}


def test_bookkeeping_of_training_is_read_past(options):
    ACTConfig.from_dict(options(type="act", device="cuda", use_amp=True, push_to_hub=True, repo_id="a/b", tags=None))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chunk_sise": 10}, "'chunk_sise' is no option.*did you mean 'chunk_size'"),
        ({"two\nlines": 1}, r"'two\\nlines' is no option"),
        ({"use_peft": True}, "use_peft: expected false"),
        ({"chunk_size": "10"}, "chunk_size: expected int, got str"),
        ({"chunk_size": 10.0}, "chunk_size: expected int, got float"),
        ({"chunk_size": True}, "chunk_size: expected int, got bool"),
        ({"use_vae": "yes"}, "use_vae: expected bool, got str"),
        ({"dropout": float("nan")}, "dropout: expected float, got float nan"),
        ({"dropout": 10**400}, "dropout: expected float, got int 1000"),
        ({"dropout": 1.5}, "dropout: expected a value from 0.0 to 1.0"),
        ({"chunk_size": 10**9}, "chunk_size: expected a value from 1 to 4096"),
        ({"chunk_size": 0}, "chunk_size"),
        ({"dim_model": 10**6}, "dim_model"),
        ({"n_encoder_layers": 10**6}, "n_encoder_layers"),
        ({"n_action_steps": 7}, "n_action_steps: expected a value from 1 to 6, got 7"),
        ({"n_obs_steps": 2}, "n_obs_steps .*got 2"),
        ({"n_heads": 3}, "dim_model: expected a multiple of n_heads=3"),
        ({"vision_backbone": "vgg16"}, "vision_backbone: expected one of resnet18, resnet34, resnet50"),
        ({"feedforward_activation": "glu"}, "glu halves the width"),
        ({"replace_final_stride_with_dilation": True}, "expected vision_backbone resnet50, got resnet18"),
        ({"backbone_stages": 5}, "backbone_stages: expected a value from 1 to 4, got 5"),
        ({"backbone_norm": "batch_norm"}, "backbone_norm: expected one of frozen_batch_norm, group_norm"),
        ({"backbone_norm": "group_norm", "backbone_width": 20}, "backbone_width: expected a multiple of 8"),
        ({"temporal_ensemble_coeff": 0.01}, "n_action_steps: expected 1 with temporal_ensemble_coeff"),
        ({"normalization_mapping": {"STATE": "ZSCORE"}}, "expected one of IDENTITY, MEAN_STD"),
        ({"normalization_mapping": {"TOUCH": "MEAN_STD"}}, "expected one of STATE, VISUAL"),
        ({"input_features": {}}, "input_features: expected at least one"),
        ({"input_features": {"observation.state": {"type": "STATE", "shape": [3]}}}, "at least one image or"),
        ({"input_features": {"observation.state": {"type": "STATE", "shape": [10**9]}}}, "n up to 4096"),
        ({"input_features": {"a": {"type": "VISUAL", "shape": [3, 10**6, 10]}}}, "sides up to 4096"),
        ({"input_features": {"a": {"type": "VISUAL", "shape": [480, 640, 3]}}}, r"expected \(3, height, width\)"),
        ({"input_features": {"a": {"type": "STATE", "shape": [2.5]}}}, "list of integers"),
        ({"input_features": {"a": {"type": "STATE"}}}, r"expected \{type, shape\}"),
        (
            {"input_features": {f"c{n}": {"type": "VISUAL", "shape": [3, 4096, 4096]} for n in range(3)}},
            r"values in an observation \(.*\): expected a value from 0 to 134217728, got 150994944",
        ),
        ({"input_features": [1]}, "input_features: expected at most 64 features"),
        ({"output_features": {"torque": {"type": "ACTION", "shape": [2]}}}, "expected 'action' of type ACTION"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        ACTConfig.from_dict(options(**changes))


def test_missing_features_are_asked_for():
    with pytest.raises(ConfigurationError, match="input_features is missing"):
        ACTConfig.from_dict({})


def test_what_lerobot_does_not_know_is_written_only_where_it_matters(options):
    plain = ACTConfig.from_dict(options())
    assert not any(key.startswith("backbone_") for key in plain.to_dict())
    small = ACTConfig.from_dict(options(backbone_width=16, backbone_norm="group_norm"))
    assert small.to_dict()["backbone_width"] == 16
    assert ACTConfig.from_dict(small.to_dict()) == small
