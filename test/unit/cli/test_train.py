# SPDX-License-Identifier: Apache-2.0
"""``policy-ros train`` from its command line on, with data that need no bags."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("lightning", reason="needs the extra 'train'")

from support.synthetic_data import TINY_ACT, SyntheticData, options

from policy_ros.cli import train
from policy_ros.errors import ConfigurationError
from policy_ros.parameters.schema import leaves
from policy_ros.training.options import TrainingOptions


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs ``policy-ros train ARGUMENTS``; the exit status."""
    pytest.importorskip("policy_ros.training.bag_data")
    monkeypatch.setattr("policy_ros.training.bag_data.open_bag_data", lambda chosen, say: SyntheticData(chosen.seed))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        parser = train.add_parser(argparse.ArgumentParser().add_subparsers())
        parser.add_argument("--json", action="store_true")
        return train.execute(parser.parse_args(arguments))

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file of a training of seconds."""
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump({**options().to_dict(), "overrides": TINY_ACT}))
    return path


def record(out: Path) -> dict:
    return json.loads((out / "training.json").read_text())


def test_the_command_line_overrides_the_file(command, file: Path, tmp_path: Path, capsys):
    status = command(
        *("--config", str(file), "--out", "out", "--steps", "3", "--val-every", "2", "--policy", "act"),
        *("--set", "optimizer_weight_decay=1e-3", "--set", "use_vae=false", "--set", "chunk_size=5"),
    )
    assert status == 0
    kept = record(tmp_path / "out")
    assert (kept["options"]["steps"], kept["options"]["val_every"], kept["options"]["batch_size"]) == (3, 2, 4)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["optimizer_weight_decay"], config["use_vae"], config["chunk_size"]) == (1e-3, False, 5)
    assert config["dim_model"] == TINY_ACT["dim_model"]
    said = capsys.readouterr()
    assert "weights, step 3 of 3" in said.out
    assert "step 2/3 (66 %)" in said.err


def test_json_is_one_object_and_nothing_else(command, file: Path, capsys):
    assert command("--config", str(file), "--out", "out", "--steps", "2", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["step"], told["policy"], told["best_checkpoint"]) == (2, "act", "out/best")
    assert told["last"]["loss"] == told["best"]["loss"] > 0


def test_resuming_needs_no_options_and_refuses_others(command, file: Path, capsys):
    assert command("--config", str(file), "--out", "out", "--steps", "2") == 0
    assert command("--resume", "--out", "out", "--json") == 0
    with pytest.raises(ConfigurationError, match="lr is 0.5, was 0.001"):
        command("--resume", "--out", "out", "--lr", "0.5")
    with pytest.raises(ConfigurationError, match="overrides.chunk_size is 9, was 4"):
        command("--resume", "--out", "out", "--set", "chunk_size=9")


def test_resuming_with_the_same_set_option_goes_on(command, file: Path):
    assert command("--config", str(file), "--out", "out", "--steps", "2", "--set", "chunk_size=5") == 0
    assert command("--resume", "--out", "out", "--set", "chunk_size=5") == 0


def test_a_training_can_be_done_again_from_its_record(command, file: Path, tmp_path: Path):
    assert command("--config", str(file), "--out", "one", "--steps", "3") == 0
    assert command("--config", "one/training.json", "--out", "two") == 0
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--resume", "--overwrite"), "exclude each other"),
        (("--set", "chunk_size"), "expected NAME=VALUE"),
        (("--set", "a=[1"), "--set a: expected YAML"),
        ((), "--bags is missing"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(command, arguments: tuple[str, ...], message: str):
    with pytest.raises(ConfigurationError, match=message):
        command("--out", "out", *arguments)


def test_without_the_extra_it_says_what_to_install(command, file: Path, monkeypatch: pytest.MonkeyPatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lightning" else found(name))
    with pytest.raises(ConfigurationError, match=r"training needs lightning: pip install 'policy_ros\[train\]'"):
        command("--config", str(file), "--out", "out")


def test_the_help_lists_every_option_with_its_default():
    text = train.add_parser(argparse.ArgumentParser().add_subparsers()).format_help()
    for leaf in leaves(TrainingOptions):
        assert f"--{leaf.name.replace('_', '-')}" in text
    assert "default 20000" in " ".join(text.split())
