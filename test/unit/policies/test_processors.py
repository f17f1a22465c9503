# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from policy_ros.errors import CheckpointError, ObservationError
from policy_ros.policies import load_policy

NORMALIZER_STATE = "policy_preprocessor_step_3_normalizer_processor.safetensors"
UNNORMALIZER_STATE = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"


@pytest.fixture
def change(saved):
    """Changes a pipeline of the saved checkpoint through a function that gets its list of steps."""

    def apply(pipeline: str, edit) -> Path:
        path = saved / f"policy_{pipeline}.json"
        content = json.loads(path.read_text())
        edit(content["steps"])
        path.write_text(json.dumps(content))
        return saved

    return apply


def step(name: str, **options: Any) -> dict[str, Any]:
    return {"registry_name": name, "config": options}


def refuse(directory: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_policy(directory, device="cpu")
    assert "\n" not in str(caught.value)


def test_the_files_are_laid_out_as_lerobot_does(saved):
    pre = json.loads((saved / "policy_preprocessor.json").read_text())
    post = json.loads((saved / "policy_postprocessor.json").read_text())
    assert [s["registry_name"] for s in pre["steps"]] == [
        "rename_observations_processor",
        "to_batch_processor",
        "device_processor",
        "normalizer_processor",
    ]
    assert [s["registry_name"] for s in post["steps"]] == ["unnormalizer_processor", "device_processor"]
    assert pre["steps"][3]["state_file"] == NORMALIZER_STATE
    assert set(load_file(saved / UNNORMALIZER_STATE)) >= {"action.mean", "action.std"}


def test_a_rename_map_is_honoured_and_kept(change, observe, tmp_path):
    renamed = {"observation.joints": "observation.state"}
    directory = change("preprocessor", lambda steps: steps[0]["config"].update(rename_map=renamed))
    policy = load_policy(directory, device="cpu")
    expected = policy.predict(observe(0))
    source = observe(0)
    source["observation.joints"] = source.pop("observation.state")
    np.testing.assert_array_equal(policy.predict(source), expected)
    policy.save_pretrained(tmp_path / "copy")
    assert load_policy(tmp_path / "copy", device="cpu").rename_map == renamed
    with pytest.raises(ObservationError, match="given twice"):
        policy.predict({**source, **observe(0)})


def test_the_pipelines_mode_wins_over_the_configuration(change, observe):
    for pipeline in ("preprocessor", "postprocessor"):
        directory = change(pipeline, lambda steps: [_set_mode(s, "IDENTITY") for s in steps])
    policy = load_policy(directory, device="cpu")
    torch.testing.assert_close(
        torch.from_numpy(policy.predict(observe(0))), policy.predict_normalized(observe(0)).detach()
    )
    assert set(policy.config.to_dict()["normalization_mapping"].values()) == {"IDENTITY"}


def test_eps_is_honoured(change, observe):
    for pipeline in ("preprocessor", "postprocessor"):
        directory = change(pipeline, lambda steps: [s["config"].update(eps=0.5) for s in steps if "eps" in s["config"]])
    policy = load_policy(directory, device="cpu")
    value = policy.normalization.normalize("observation.state", torch.tensor([0.1, -0.2, 2.8]))
    torch.testing.assert_close(value, torch.tensor([0.0, 0.0, 1.0]))


@pytest.mark.parametrize(
    ("pipeline", "added", "message"),
    [
        ("preprocessor", step("tokenizer_processor"), "step 4 is 'tokenizer_processor': expected one of rename_obs"),
        ("postprocessor", step("tokenizer_processor"), "step 2 is 'tokenizer_processor'"),
        ("preprocessor", {"class": "os.system", "config": {}}, "step 4 is 'os.system': expected one of"),
        ("preprocessor", step("to_batch_processor", size=3), "'to_batch_processor'.*not implemented: ..size"),
        (
            "preprocessor",
            step("device_processor", device="cpu", float_dtype="float16"),
            "float_dtype null, got 'float16'",
        ),
        ("preprocessor", step("normalizer_processor"), "exactly one 'normalizer_processor' step, got 2"),
        ("preprocessor", step("rename_observations_processor"), "exactly one 'rename_observations_processor'"),
        ("postprocessor", "unnormalizer_processor", "expected {registry_name, config}"),
    ],
)
def test_an_unknown_step_or_option_is_named(change, pipeline, added, message):
    refuse(change(pipeline, lambda steps: steps.append(added)), message)


def test_an_option_of_the_normaliser_that_is_not_implemented_is_named(change):
    edit = {"normalize_observation_keys": ["observation.state"]}
    refuse(change("preprocessor", lambda steps: steps[3]["config"].update(edit)), "not implemented: ..normalize_observ")


def test_a_pipeline_without_normaliser_is_refused(change):
    refuse(change("preprocessor", lambda steps: steps.pop(3)), "exactly one 'normalizer_processor' step, got 0")


def test_renaming_after_normalising_is_refused(change):
    refuse(change("preprocessor", lambda steps: steps.append(steps.pop(0))), "expected before 'normalizer_processor'")


@pytest.mark.parametrize("pipeline", ["preprocessor", "postprocessor"])
def test_half_a_pair_is_refused(saved, pipeline):
    (saved / f"policy_{pipeline}.json").unlink()
    refuse(saved, f"policy_{pipeline}.json: expected a file, found nothing")


def test_statistics_that_are_missing_are_never_skipped(change):
    refuse(
        change("preprocessor", lambda steps: steps[3].pop("state_file")), "'observation.state': MEAN_STD needs 'mean'"
    )


def test_a_feature_that_the_normaliser_lacks_is_named(change):
    refuse(
        change("preprocessor", lambda steps: steps[3]["config"]["features"].pop("observation.state")),
        "feature 'observation.state' is .* in config.json, here None",
    )


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "sub/x.safetensors", "stats.pt", 3])
def test_a_state_file_stays_inside_the_directory(change, name):
    refuse(
        change("preprocessor", lambda steps: steps[3].update(state_file=name)), "state_file to name a safetensors file"
    )


def test_a_truncated_state_file_is_refused(saved):
    content = (saved / NORMALIZER_STATE).read_bytes()
    (saved / NORMALIZER_STATE).write_bytes(content[:-1])
    refuse(saved, f"{NORMALIZER_STATE}: expected safetensors, got a corrupt or truncated file")


def test_two_normalisations_of_the_action_are_refused(saved):
    statistics = load_file(saved / UNNORMALIZER_STATE)
    save_file({**statistics, "action.mean": statistics["action.mean"] + 1}, saved / UNNORMALIZER_STATE)
    refuse(saved, "normalisation of 'action' differs between")


def test_further_statistics_of_a_data_set_are_read_past(saved, observe):
    expected = load_policy(saved, device="cpu").predict(observe(0))
    statistics = load_file(saved / NORMALIZER_STATE)
    more = {"timestamp.mean": torch.zeros(1), "action.count": torch.ones(1, dtype=torch.int64)}
    save_file({**statistics, **more}, saved / NORMALIZER_STATE)
    np.testing.assert_array_equal(load_policy(saved, device="cpu").predict(observe(0)), expected)


def _set_mode(entry: dict[str, Any], mode: str) -> None:
    if "norm_map" in entry["config"]:
        entry["config"]["norm_map"] = {"STATE": mode, "ENV": mode, "ACTION": mode}
