# SPDX-License-Identifier: Apache-2.0
"""The older layout: statistics among the weights, no processor files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from policy_ros.errors import CheckpointError
from policy_ros.policies import load_policy


@pytest.fixture
def legacy(saved) -> Path:
    """The saved checkpoint, rewritten in the older layout."""
    statistics = load_file(saved / "policy_preprocessor_step_3_normalizer_processor.safetensors")
    weights = load_file(saved / "model.safetensors")
    for name in ("mean", "std"):
        weights[f"normalize_inputs.buffer_observation_state.{name}"] = statistics[f"observation.state.{name}"]
        for prefix in ("normalize_targets", "unnormalize_outputs"):
            weights[f"{prefix}.buffer_action.{name}"] = statistics[f"action.{name}"].clone()
    save_file(weights, saved / "model.safetensors")
    for file in saved.glob("policy_*"):
        file.unlink()
    return saved


def change(directory: Path, **tensors: torch.Tensor | None) -> None:
    path = directory / "model.safetensors"
    found = {**load_file(path), **tensors}
    save_file({name: value for name, value in found.items() if value is not None}, path)


def refuse(directory: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_policy(directory, device="cpu")
    assert "\n" not in str(caught.value)


def test_both_layouts_give_equal_numbers(build, legacy, observe):
    np.testing.assert_array_equal(load_policy(legacy, device="cpu").predict(observe(0)), build().predict(observe(0)))


def test_an_old_checkpoint_is_saved_in_the_new_layout(legacy, tmp_path, observe):
    policy = load_policy(legacy, device="cpu")
    policy.save_pretrained(tmp_path / "new")
    assert not any(
        name.startswith(("normalize", "unnormalize")) for name in load_file(tmp_path / "new/model.safetensors")
    )
    np.testing.assert_array_equal(
        load_policy(tmp_path / "new", device="cpu").predict(observe(0)), policy.predict(observe(0))
    )


def test_statistics_that_were_never_set_are_refused(legacy):
    change(legacy, **{"unnormalize_outputs.buffer_action.mean": torch.full((2,), torch.inf)})
    change(legacy, **{"normalize_targets.buffer_action.mean": torch.full((2,), torch.inf)})
    refuse(legacy, "statistics of 'action': 'mean' is not finite, so it was never set")


def test_statistics_of_a_feature_that_is_missing_are_asked_for(legacy):
    change(legacy, **{"normalize_inputs.buffer_observation_state.std": None})
    refuse(legacy, "'observation.state': MEAN_STD needs 'std', got mean")


def test_statistics_of_no_feature_are_named(legacy):
    change(legacy, **{"normalize_inputs.buffer_observation_stat.mean": torch.zeros(3)})
    refuse(legacy, "'normalize_inputs.buffer_observation_stat.mean' fits no feature.*did you mean 'observation_state'")


def test_features_that_differ_in_punctuation_only_are_refused(legacy):
    config = json.loads((legacy / "config.json").read_text())
    config["input_features"]["observation_state"] = {"type": "STATE", "shape": [3]}
    (legacy / "config.json").write_text(json.dumps(config))
    refuse(legacy, "'observation.state' and 'observation_state' share the statistics")


def test_targets_and_outputs_that_differ_are_refused(legacy):
    change(legacy, **{"normalize_targets.buffer_action.mean": torch.full((2,), 9.0)})
    refuse(legacy, "differs from the same statistic under another prefix")


def test_a_checkpoint_without_any_statistics_is_refused(saved):
    for file in saved.glob("policy_*"):
        file.unlink()
    refuse(saved, "no normalisation statistics: expected policy_preprocessor.json")


def test_statistics_in_both_places_are_refused(saved):
    change(saved, **{"unnormalize_outputs.buffer_action.mean": torch.zeros(2)})
    refuse(saved, "statistics both in model.safetensors and in processor files")
