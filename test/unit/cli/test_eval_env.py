# SPDX-License-Identifier: Apache-2.0
"""``policy-ros eval-env``: one table, or one JSON object."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from policy_ros.cli import eval_env
from policy_ros.errors import ConfigurationError, PolicyRosError
from policy_ros.policies import make_policy

CONFIG = Path(__file__).resolve().parents[3] / "config" / "sim.yaml"
TINY = ("--episodes", "2", "--time-limit", "0.3", "--device", "cpu")


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """A tiny flow policy that looks at joints and table."""
    torch.manual_seed(0)
    features = {
        "observation.state": {"type": "STATE", "shape": [4]},
        "observation.environment_state": {"type": "ENV", "shape": [4]},
    }
    options = {
        "input_features": features,
        "output_features": {"action": {"type": "ACTION", "shape": [4]}},
        "chunk_size": 10,
        "n_action_steps": 5,
        "dim_model": 16,
        "n_heads": 2,
        "dim_feedforward": 32,
        "n_encoder_layers": 1,
        "n_decoder_layers": 1,
        "num_inference_steps": 2,
    }
    unit = {"mean": torch.zeros(4), "std": torch.ones(4)}
    policy = make_policy("flow", options, statistics=dict.fromkeys((*features, "action"), unit), device="cpu")
    policy.save_pretrained(tmp_path / "flow")
    return str(tmp_path / "flow")


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command = eval_env.add_parser(parser.add_subparsers())
    command.add_argument("--json", action="store_true")
    return eval_env.execute(parser.parse_args(["eval-env", *arguments]))


def test_json_is_one_object_with_a_row_for_each_episode(checkpoint: str, capsys: pytest.CaptureFixture[str]):
    assert run("policy_ros/Pick-v0", "--policy", checkpoint, *TINY, "--seed", "5", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    (result,) = printed["results"]
    assert (printed["seed"], result["episodes"], result["mode"], result["rate_hz"]) == (5, 2, "", 50.0)
    assert [(row["seed"], row["success"], row["steps"], row["seconds"]) for row in result["rows"]] == [
        (5, False, 15, 0.3),
        (6, False, 15, 0.3),
    ]
    assert result["success_interval_95"] == pytest.approx([0.0, 0.657620], abs=1e-6)


def test_modes_and_delays_make_a_table(checkpoint: str, capsys: pytest.CaptureFixture[str]):
    modes = ("--mode", "sync,rtc", "--delay-ms", "0,40", "--params-file", str(CONFIG))
    assert run("policy_ros/Pick-v0", "--policy", checkpoint, *TINY, *modes, "--rows") == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [tuple(line.split()[:2]) for line in lines[2:] if not line.startswith(" ")]
    assert cells == [("sync", "0"), ("sync", "40"), ("rtc", "0"), ("rtc", "40")]
    assert sum(line.startswith("  seed") for line in lines) == 8
    assert "2 episodes, seeds 0 to 1, 50 Hz" in lines[0]


def test_single_parameters_override_the_file(checkpoint: str, capsys: pytest.CaptureFixture[str]):
    given = ("--params-file", str(CONFIG), "-p", "execution.rate_hz:=100.0")
    run("policy_ros/Pick-v0", "--policy", checkpoint, *TINY, *given, "--json")
    assert json.loads(capsys.readouterr().out)["results"][0]["rate_hz"] == 100.0


def test_nothing_is_run_where_one_of_the_modes_cannot_be(checkpoint: str, capsys: pytest.CaptureFixture[str]):
    too_long = ("--mode", "sync,overlap", "-p", "execution.execution_horizon:=10")
    with pytest.raises(ConfigurationError, match="expected at most 9, one row less"):
        run("policy_ros/Pick-v0", "--policy", checkpoint, *TINY, *too_long)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--delay-ms", "200"), "needs a mode of execution"),
        (("--mode", "sync", "--delay-ms", "1,x"), "expected milliseconds separated by commas, got '1,x'"),
        (("--mode", "sync,"), "expected modes separated by commas, got 'sync,'"),
        (("--image-size", "480"), "expected HxW"),
        (("--env-kwargs", "[1]"), "expected a JSON object"),
        (("--params-file", "nowhere.yaml"), "found nothing at 'nowhere.yaml'"),
        (("--policy", "nowhere/at/all"), "nowhere/at/all"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(checkpoint: str, arguments: tuple[str, ...], message: str):
    with pytest.raises(PolicyRosError, match=message):
        run("policy_ros/Pick-v0", "--policy", checkpoint, *TINY, *arguments)
