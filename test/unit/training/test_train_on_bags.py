# SPDX-License-Identifier: Apache-2.0
"""From bags to a checkpoint with ``policy-ros train``, as a person types it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("lightning", reason="needs the extra 'train'")

import torch
from support.demonstrations import JOINTS, demonstration, write

from policy_ros.cli import train as command
from policy_ros.errors import ConfigurationError, PolicyRosError
from policy_ros.policies import load_policy, make_policy
from policy_ros.training.bag_data import open_bag_data
from policy_ros.training.loading import Shard
from policy_ros.training.metrics import read_metrics
from policy_ros.training.options import make_options
from policy_ros.training.policy_options import policy_options

PARAMETERS = {
    "joints": {"names": list(JOINTS)},
    "cameras": {"top": {"topic": "camera/top/image_raw"}, "wrist": {"compressed": True}},
    "execution": {"rate_hz": 20.0},
    "outputs": {
        "arm": {"type": "joint_trajectory", "topic": "arm/joint_trajectory", "joints": list(JOINTS[:2])},
        "gripper": {"type": "position_array", "topic": "gripper/commands", "joints": ["gripper"]},
    },
}
SMALL = [
    *("chunk_size=5", "dim_model=16", "n_heads=2", "dim_feedforward=16", "n_encoder_layers=1", "n_decoder_layers=1"),
    *("backbone_norm=group_norm", "backbone_width=8", "backbone_stages=2"),
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with four bags and the node's parameter file."""
    folder = tmp_path_factory.mktemp("recorded")
    for i in range(4):
        write(folder / f"bag{i}", demonstration(seed=i, seconds=1.0, begin_s=50.0 * i, size=(24, 32)))
    (folder / "robot.yaml").write_text(yaml.safe_dump({"/**": {"ros__parameters": PARAMETERS}}))
    return folder


def arguments(recorded: Path) -> list[str]:
    bags = [str(recorded / f"bag{i}") for i in range(4)]
    options = ["--batch-size", "4", "--val-fraction", "0.25", "--threads", "1", "--accelerator", "cpu", "--lr", "1e-3"]
    return ["--bags", *bags, "--params-file", str(recorded / "robot.yaml"), "--policy", "flow", *options]


def run(*given: str) -> int:
    parser = command.add_parser(argparse.ArgumentParser().add_subparsers())
    parser.add_argument("--json", action="store_true")
    return command.execute(parser.parse_args(given))


def small() -> list[str]:
    return [word for option in SMALL for word in ("--set", option)]


def test_a_policy_comes_out_that_takes_what_the_robot_sees(recorded: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert run(*arguments(recorded), "--out", str(out), *small(), "--steps", "4", "--relative", "--json") == 0
    assert json.loads(capsys.readouterr().out)["step"] == 4
    policy = load_policy(out, device="cpu")
    assert set(policy.config.input_features) == {
        "observation.state",
        "observation.images.top",
        "observation.images.wrist",
    }
    assert policy.config.input_features["observation.images.top"].shape == (3, 24, 32)
    observation = {
        "observation.state": np.zeros(3, np.float32),
        "observation.images.top": np.zeros((3, 24, 32), np.uint8),
        "observation.images.wrist": np.zeros((3, 24, 32), np.uint8),
    }
    assert policy.predict(observation).shape == (5, 3)
    assert policy.relative.action_names == JOINTS
    kept = json.loads((out / "training.json").read_text())["dataset"]
    assert (kept["training"]["episodes"], kept["validation"]["episodes"]) == (3, 1)
    assert not set(kept["training"]["bags"]) & set(kept["validation"]["bags"])


def test_a_policy_that_learns_the_past_as_well_trains_on_bags(recorded: Path, tmp_path: Path, capsys):
    one_camera = {**PARAMETERS, "cameras": {"top": PARAMETERS["cameras"]["top"]}}
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump({"/**": {"ros__parameters": one_camera}}))
    sizes = ["n_vqvae_training_steps=2", "gpt_hidden_dim=16", "gpt_n_layer=1", "gpt_block_size=20", "crop_shape=null"]
    options = [*(word for size in sizes for word in ("--set", size)), "--policy", "vqbet", "--steps", "4"]
    given = [*arguments(recorded), "--params-file", str(tmp_path / "robot.yaml"), *options]
    assert run(*given, "--out", str(tmp_path / "out"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["step"] == 4
    policy = load_policy(tmp_path / "out", device="cpu")
    assert policy.training_phase == 1
    data = open_bag_data(make_options(json.loads((tmp_path / "out" / "training.json").read_text())["options"]), print)
    sample = next(iter(data.validation(policy.config, samples=1, shard=Shard())))
    assert sample["observation.state"].shape == (5, 3)
    assert sample["action"].shape == (len(policy.config.target_rows), 3) == (11, 3)


def test_a_diffusion_policy_trains_on_bags_from_the_oldest_observation_on(recorded: Path, tmp_path: Path, capsys):
    sizes = ["n_obs_steps=3", "horizon=8", "n_action_steps=4", "down_dims=[8,16]", "spatial_softmax_num_keypoints=4"]
    options = [*(word for size in sizes for word in ("--set", size)), "--policy", "diffusion", "--steps", "4"]
    assert run(*arguments(recorded), *options, "--out", str(tmp_path / "out"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["step"] == 4
    policy = load_policy(tmp_path / "out", device="cpu")
    data = open_bag_data(make_options(json.loads((tmp_path / "out" / "training.json").read_text())["options"]), print)
    sample = next(iter(data.validation(policy.config, samples=1, shard=Shard())))
    assert sample["observation.state"].shape == (3, 3)
    assert sample["action"].shape == (8, 3) and policy.config.chunk_size == 6


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_training_on_bags_resumes_with_the_next_sample(recorded: Path, tmp_path: Path, workers: str, capsys):
    options = [*small(), "--steps", "14", "--val-every", "2", "--save-every", "3", "--log-every", "1"]
    options += ["--workers", workers]
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    assert run(*arguments(recorded), "--out", str(whole), *options) == 0
    assert run(*arguments(recorded), "--out", str(halved), *options) == 0
    states = sorted((halved / "training").glob("state-*.ckpt"))
    states[-1].unlink()  # as if it had been killed behind step 12; an epoch has 13 batches
    assert run("--resume", "--out", str(halved)) == 0
    assert f"from step {int(states[0].stem.split('-')[1])}" in capsys.readouterr().out
    expected, found = (read_metrics(out / "training" / "metrics.jsonl") for out in (whole, halved))
    assert found == expected
    weights = [load_policy(out, device="cpu").state_dict() for out in (whole, halved)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("policy", "overrides", "message"),
    [
        ("tdmpc", {}, "policy 'tdmpc' cannot learn from bags: it needs a reward for each step"),
        ("sac", {"num_discrete_actions": 3}, "policy 'sac' cannot learn from bags: it needs rewards"),
        ("vqbet", {}, "exactly one image.*for training: cameras names one"),
        ("lerobot", {}, "policy 'lerobot' cannot learn from bags: it needs LeRobot's own training"),
    ],
)
def test_what_cannot_be_trained_on_bags_is_refused_before_they_are_read(
    recorded: Path, tmp_path: Path, policy: str, overrides: dict, message: str
):
    """Even where the features would not fit the policy either: nothing that one could change about them helps."""
    given = {"bags": [str(tmp_path / "none")], "params_file": str(recorded / "robot.yaml"), "policy": policy}
    with pytest.raises(ConfigurationError, match=message):
        open_bag_data(make_options({**given, "overrides": overrides, "image_size": [48, 64]}), lambda line: None)


def test_a_training_too_short_for_its_first_phase_is_refused_before_bags_are_read(recorded: Path, tmp_path: Path):
    given = {"bags": [str(tmp_path / "none")], "params_file": str(recorded / "robot.yaml"), "policy": "vqbet"}
    options = make_options({**given, "cameras": ["top"], "steps": 100})
    with pytest.raises(ConfigurationError, match="steps: expected more than the 20000 of the first phase"):
        open_bag_data(options, lambda line: None)


@pytest.mark.parametrize(("policy", "overrides"), [("flow", {}), ("diffusion", {"n_obs_steps": 8})])
def test_many_cameras_and_a_long_history_are_no_reason_to_refuse_sizes_that_are_not_known_yet(
    tmp_path: Path, policy: str, overrides: dict
):
    file = tmp_path / "robot.yaml"
    cameras = {f"camera{i}": {"topic": f"camera{i}"} for i in range(6)}
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": {**PARAMETERS, "cameras": cameras}}}))
    given = {"bags": [str(tmp_path / "none")], "params_file": str(file), "policy": policy, "overrides": overrides}
    with pytest.raises(PolicyRosError, match="none: "):  # got as far as the bag, which is not there
        open_bag_data(make_options(given), lambda line: None)


def test_a_policy_sees_the_cameras_that_are_chosen(recorded: Path):
    options = make_options(
        {
            "bags": [str(recorded / "bag0")],
            "params_file": str(recorded / "robot.yaml"),
            "policy": "flow",
            "overrides": {"chunk_size": 5},
            "cameras": ["wrist"],
            "val_fraction": 0.0,
        }
    )
    data = open_bag_data(options, lambda line: None)
    assert list(data.features) == ["observation.state", "observation.images.wrist", "action"]
    config = make_policy("flow", policy_options(options, data.features), device="cpu").config
    sample = next(iter(data.training(config, epoch=0, skip=0, shard=Shard())))
    assert "observation.images.wrist" in sample and "observation.images.top" not in sample
    with pytest.raises(ConfigurationError, match="cameras: 'wirst' is no camera of the parameter file; did you mean"):
        open_bag_data(dataclasses.replace(options, cameras=("wirst",)), lambda line: None)


def test_the_gaussian_actor_learns_from_bags(recorded: Path, tmp_path: Path):
    """One row at a time, of the same samples as any other policy."""
    given = [word if word != "flow" else "sac" for word in arguments(recorded)]
    sizes = ["latent_dim=8", "image_encoder_hidden_dim=4", 'actor_network_kwargs={"hidden_dims": [16]}']
    options = [word for option in sizes for word in ("--set", option)]
    assert run(*given, "--out", str(tmp_path / "out"), *options, "--image-size", "48", "64", "--steps", "4") == 0
    policy = load_policy(tmp_path / "out", device="cpu")
    assert policy.name == "gaussian_actor"
    seen = {f"observation.images.{name}": np.zeros((3, 24, 32), np.uint8) for name in ("top", "wrist")}
    assert policy.predict({"observation.state": np.zeros(3, np.float32), **seen}).shape == (1, 3)


def test_devices_share_the_validation_samples_of_every_episode(recorded: Path):
    options = make_options(
        {
            "bags": [str(recorded / f"bag{i}") for i in range(4)],
            "params_file": str(recorded / "robot.yaml"),
            "policy": "flow",
            "overrides": {"chunk_size": 5},
            "val_fraction": 0.5,
        }
    )
    data = open_bag_data(options, lambda line: None)

    def drawn(samples: int, shards: int) -> Counter[bytes]:
        streams = [data.validation(None, samples=samples, shard=Shard(part, shards)) for part in range(shards)]
        return Counter(sample["observation.images.top"].numpy().tobytes() for stream in streams for sample in stream)

    everything = drawn(10_000, 1)
    assert drawn(10_000, 3) == everything
    some = drawn(8, 1)
    assert 4 <= sum(some.values()) <= 8
    assert not some - everything
    assert drawn(8, 2) == some


def test_bags_that_cannot_be_trained_on_are_named_and_leave_nothing(recorded: Path, tmp_path: Path):
    with pytest.raises(PolicyRosError, match="nowhere"):
        run("--bags", str(tmp_path / "nowhere"), *arguments(recorded)[5:], "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
