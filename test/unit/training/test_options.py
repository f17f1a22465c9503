# SPDX-License-Identifier: Apache-2.0
"""Options: from the command line, from a file, from the record of another training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.training.options import TrainingOptions, check_same, make_options, normalized, read_options_file

LEAST = {"bags": ["demo"], "params_file": "sim.yaml", "policy": "act"}


@pytest.mark.parametrize(
    ("name", "expected"), [("bags", "--bags is missing"), ("params_file", "--params-file"), ("policy", "--policy is")]
)
def test_what_a_training_needs_is_asked_for_by_name(name: str, expected: str):
    with pytest.raises(ConfigurationError, match=expected):
        make_options({key: value for key, value in LEAST.items() if key != name})


def test_an_unknown_option_suggests_a_known_one():
    with pytest.raises(ConfigurationError, match="did you mean 'batch_size'"):
        make_options({**LEAST, "batchsize": 8})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps: expected at least 1"),
        ({"batch_size": "8"}, "batch_size: expected int"),
        ({"ema": 1.0}, "expected a decay between 0 and 1, or none, got '1.0'"),
        ({"ema": "often"}, "got 'often'"),
        ({"devices": "0"}, "devices: expected a number from 1, or auto"),
        ({"precision": "64"}, "precision: '64' is not a choice"),
        ({"rollouts": 5}, "rollout_env: expected"),
        ({"relative_exclude": ["gripper"]}, "expected relative too"),
        ({"image_size": [96]}, "expected height and width"),
        ({"overrides": "[1]"}, "overrides: expected a JSON object"),
    ],
)
def test_a_value_that_cannot_work_is_refused(changes, message: str):
    with pytest.raises(ConfigurationError, match=message):
        make_options({**LEAST, **changes})


def test_paths_are_kept_as_they_are_seen_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    options = make_options(LEAST)
    assert options.bags == (str(tmp_path / "demo"),)
    assert options.params_file == (str(tmp_path / "sim.yaml"),)


def test_a_file_gives_options_as_yaml_has_them(tmp_path: Path):
    file = tmp_path / "train.yaml"
    file.write_text(
        "bags: [a, b]\nparams-file: sim.yaml\npolicy: flow\nema: 0.99\ndevices: 2\noverrides: {chunk_size: 8}\n"
    )
    options = make_options(read_options_file(file))
    assert options.average_decay(denoises=True) == 0.99
    assert options.devices == "2"
    assert options.policy_overrides() == {"chunk_size": 8}


def test_the_record_of_a_training_is_such_a_file(tmp_path: Path):
    options = make_options({**LEAST, "overrides": {"chunk_size": 8}, "lr": 1e-4})
    file = tmp_path / "training.json"
    file.write_text(json.dumps({"options": options.to_dict(), "dataset": {}}))
    assert make_options(read_options_file(file)) == options


@pytest.mark.parametrize(
    ("text", "message"), [("- a\n", "expected options by name, got list"), ("a: [", "expected YAML")]
)
def test_another_file_is_refused(text: str, message: str, tmp_path: Path):
    file = tmp_path / "train.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_options_file(file)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"nothing.yaml: cannot be read"):
        read_options_file(tmp_path / "nothing.yaml")


def test_policies_that_denoise_are_averaged_unless_told_otherwise():
    assert make_options(LEAST).average_decay(denoises=True) == 0.999
    assert make_options(LEAST).average_decay(denoises=False) is None
    assert make_options({**LEAST, "ema": "none"}).average_decay(denoises=True) is None
    assert make_options({**LEAST, "ema": "0.9"}).average_decay(denoises=False) == 0.9


def test_the_same_options_in_other_words_are_the_same():
    kept = make_options({**LEAST, "overrides": {"dim_model": 8, "chunk_size": 4}})
    check_same(kept, normalized({"bags": "demo", "overrides": '{"chunk_size": 4, "dim_model": 8}'}))


def test_every_difference_is_named_with_both_values():
    kept: TrainingOptions = make_options(LEAST)
    with pytest.raises(ConfigurationError, match=r"steps is 5, was 20000; precision is 'bf16-mixed', was '32'"):
        check_same(kept, {"steps": 5, "precision": "bf16-mixed"})
