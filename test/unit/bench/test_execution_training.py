# SPDX-License-Identifier: Apache-2.0
"""The flow policy that the benchmark trains: the same every time, kept, and benchmarked like any checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from policy_ros.bench.execution.contenders import checkpoint_contender, flow_contender
from policy_ros.bench.execution.delay import DelayModel
from policy_ros.bench.execution.suite import Way, run_episode
from policy_ros.bench.execution.task import ForkedPath
from policy_ros.bench.execution.training import TrainingOptions, train, trained_policy
from policy_ros.errors import CheckpointError, ConfigurationError
from policy_ros.policies import make_policy

TINY = TrainingOptions(
    demonstrations=50, steps=4, batch_size=4, dim_model=16, dim_feedforward=16, num_inference_steps=2
)


def test_training_gives_the_same_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    (first, loss), (second, again) = train(TINY), train(TINY)
    assert torch.rand(1) == expected
    assert loss == again
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_training_lowers_the_loss():
    short, long = (TrainingOptions(demonstrations=500, steps=steps, dim_model=16, batch_size=16) for steps in (5, 60))
    assert train(long)[1] < 0.8 * train(short)[1]


def test_a_trained_policy_is_kept_and_read_for_the_same_options_only(tmp_path: Path):
    said: list[str] = []
    policy, training = trained_policy(TINY, tmp_path, said.append)
    assert not training.cached
    assert len(said) == 1
    again, read = trained_policy(TINY, tmp_path, said.append)
    assert read.cached
    assert read.loss == training.loss
    assert len(said) == 1
    for one, other in zip(policy.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [path.name for path in tmp_path.iterdir()] == [f"flow-{TINY.key}"]
    assert TrainingOptions(seed=1).key != TrainingOptions().key


def test_a_cache_without_its_report_is_refused_with_a_cure(tmp_path: Path):
    trained_policy(TINY, tmp_path, lambda line: None)
    (report,) = tmp_path.glob("*/training.json")
    report.unlink()
    with pytest.raises(CheckpointError, match="remove this directory to train again"):
        trained_policy(TINY, tmp_path, lambda line: None)


def test_the_flow_policy_runs_an_episode_with_guidance(tmp_path: Path):
    contender = flow_contender(tmp_path, lambda line: None, TINY)
    assert "4 steps of 4, seed 0" in contender.description
    path = ForkedPath()
    traces = [run_episode(path, contender, Way("rtc", "rtc"), DelayModel(700.0), 0, 0) for _ in range(2)]
    assert traces[0].status.chunks > 1
    assert (traces[0].positions == traces[1].positions).all()


def test_a_directory_is_benchmarked_and_one_for_another_task_refused(tmp_path: Path):
    trained_policy(TINY, tmp_path, lambda line: None)
    (directory,) = tmp_path.iterdir()
    contender = checkpoint_contender(directory)
    assert (contender.horizon, contender.supports_guidance) == (50, True)
    features = {
        "input_features": {"observation.state": {"type": "STATE", "shape": [6]}},
        "output_features": {"action": {"type": "ACTION", "shape": [6]}},
    }
    other = make_policy("flow", {**features, "dim_model": 16, "n_heads": 2}, device="cpu")
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="train it on this benchmark's task"):
        checkpoint_contender(tmp_path / "other")


def test_the_report_is_json_beside_the_weights(tmp_path: Path):
    trained_policy(TINY, tmp_path, lambda line: None)
    (report,) = tmp_path.glob("*/training.json")
    assert set(json.loads(report.read_text())) == {"loss", "seconds"}
