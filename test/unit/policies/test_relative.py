# SPDX-License-Identifier: Apache-2.0
"""Actions that are offsets from the state, as LeRobot 0.6 writes them into the processor pipelines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policy_ros.errors import CheckpointError
from policy_ros.policies import load_policy, make_policy
from policy_ros.policies.relative import RelativeActions

H, A = 6, 3
NAMES = ("shoulder.pos", "elbow.pos", "Gripper.pos")


def statistics() -> dict[str, dict[str, torch.Tensor]]:
    return {
        "observation.state": {"mean": torch.tensor([1.0, 2.0, 3.0]), "std": torch.tensor([0.5, 0.6, 0.7])},
        "action": {"mean": torch.tensor([0.1, 0.2, 0.3]), "std": torch.tensor([2.0, 3.0, 4.0])},
    }


@pytest.fixture
def policy():
    torch.manual_seed(0)
    policy = make_policy(
        "flow",
        {
            "input_features": {"observation.state": {"type": "STATE", "shape": [A]}},
            "output_features": {"action": {"type": "ACTION", "shape": [A]}},
            "chunk_size": H,
            "n_action_steps": 2,
            "dim_model": 16,
            "n_heads": 2,
            "dim_feedforward": 32,
            "n_encoder_layers": 1,
            "n_decoder_layers": 1,
        },
        statistics=statistics(),
        device="cpu",
    )
    policy.relative = RelativeActions.excluding(("gripper",), NAMES, A)
    policy.freeze()
    return policy


def observation(*state: float) -> dict[str, np.ndarray]:
    return {"observation.state": np.array(state, np.float32)}


NOISE = np.random.default_rng(0).normal(size=(1, H, A)).astype(np.float32)


def test_names_exclude_joints_whatever_their_case() -> None:
    assert RelativeActions.excluding(("gripper",), NAMES, A).mask == (True, True, False)
    assert RelativeActions.excluding((), NAMES, A).mask == (True, True, True)
    assert RelativeActions.excluding(("gripper",), None, A).mask == (True, True, True)


def test_predictions_start_from_the_state(policy) -> None:
    absolute = policy.predict(observation(1.0, 2.0, 3.0), noise=NOISE)
    offsets = policy.normalization.unnormalize(
        "action", policy.predict_normalized(observation(1.0, 2.0, 3.0), noise=NOISE)
    ).numpy()
    np.testing.assert_allclose(absolute, offsets + np.array([1.0, 2.0, 0.0]), atol=1e-6)


def test_the_loss_learns_offsets(policy, monkeypatch) -> None:
    seen: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(policy, "loss", lambda batch: (seen.update(batch), ({}, {}))[1])
    state, action = torch.tensor([[1.0, 2.0, 3.0]]), torch.full((1, H, A), 5.0)
    policy({"observation.state": state, "action": action})
    expected = (torch.tensor([4.0, 3.0, 5.0]) - statistics()["action"]["mean"]) / statistics()["action"]["std"]
    torch.testing.assert_close(seen["action"][0, 0], expected)


def test_a_prefix_is_anchored_again_at_the_state_of_the_new_observation(policy, monkeypatch) -> None:
    """The rows are the same places on the table; their offsets change because the robot has moved."""
    prefix = np.full((4, A), 5.0, np.float32)
    seen: list[np.ndarray] = []
    infer = policy.infer_guided

    def note(batch: Any, noise: Any, target: Any) -> torch.Tensor:
        seen.append(policy.normalization.unnormalize("action", target.prefix)[0, 0].numpy())
        return infer(batch, noise, target)

    monkeypatch.setattr(policy, "infer_guided", note)
    for state in ((1.0, 2.0, 3.0), (1.5, 2.5, 3.5)):
        policy.guided_inference(observation(*state), prefix=prefix, delay=1, execution_horizon=2, noise=NOISE)
    np.testing.assert_allclose(seen, [[4.0, 3.0, 5.0], [3.5, 2.5, 5.0]], atol=1e-5)


def test_a_chunk_that_repeats_its_prefix_repeats_the_same_places(policy, monkeypatch) -> None:
    """There and back again: whatever the state, what comes out is what was to be continued."""
    prefix = np.random.default_rng(1).normal(size=(H, A)).astype(np.float32)
    monkeypatch.setattr(policy, "infer_guided", lambda batch, noise, target: target.prefix)
    for state in ((1.0, 2.0, 3.0), (-4.0, 2.5, 30.0)):
        chunk = policy.guided_inference(observation(*state), prefix=prefix, delay=1, execution_horizon=2)
        np.testing.assert_allclose(chunk, prefix, atol=1e-5)


def test_queued_rows_stay_anchored_where_their_chunk_was_predicted(policy) -> None:
    chunk = policy.predict(observation(1.0, 2.0, 3.0), noise=NOISE)
    policy.reset()
    first = policy.select_action(observation(1.0, 2.0, 3.0), noise=NOISE)
    second = policy.select_action(observation(9.0, 9.0, 9.0), noise=NOISE)
    np.testing.assert_allclose([first, second], chunk[:2], atol=1e-5)


def test_a_checkpoint_keeps_its_steps(policy, tmp_path: Path) -> None:
    policy.save_pretrained(tmp_path)
    steps = json.loads((tmp_path / "policy_preprocessor.json").read_text())["steps"]
    assert {"enabled": True, "exclude_joints": ["gripper"], "action_names": list(NAMES)} in [
        step["config"] for step in steps if step["registry_name"] == "relative_actions_processor"
    ]
    again = load_policy(tmp_path, device="cpu")
    assert again.relative == policy.relative
    state = observation(1.0, 2.0, 3.0)
    np.testing.assert_array_equal(again.predict(state, noise=NOISE), policy.predict(state, noise=NOISE))


def test_act_takes_them_too(saved, observe) -> None:
    """``saved`` has two actions and three values of state, of which the first two are the actions' joints."""
    expected = load_policy(saved, device="cpu").predict(observe(0))
    insert(saved, "preprocessor", 3, "relative_actions_processor", enabled=True)
    insert(saved, "postprocessor", 1, "absolute_actions_processor", enabled=True)
    relative = load_policy(saved, device="cpu")
    state = observe(0)["observation.state"]
    np.testing.assert_allclose(relative.predict(observe(0)), expected + state[:2], atol=1e-6)
    relative.reset()
    np.testing.assert_allclose(relative.select_action(observe(0)), expected[0] + state[:2], atol=1e-6)


def test_steps_are_read_before_and_behind_the_move_to_the_device(policy, tmp_path: Path) -> None:
    policy.save_pretrained(tmp_path)
    path = tmp_path / "policy_preprocessor.json"
    content = json.loads(path.read_text())
    names = [step["registry_name"] for step in content["steps"]]
    assert names[2:4] == ["device_processor", "relative_actions_processor"]  # as LeRobot 0.6.2 writes them
    content["steps"].insert(2, content["steps"].pop(3))
    path.write_text(json.dumps(content))
    assert load_policy(tmp_path, device="cpu").relative == policy.relative


def insert(directory: Path, pipeline: str, index: int, name: str, **options: object) -> None:
    path = directory / f"policy_{pipeline}.json"
    content = json.loads(path.read_text())
    content["steps"].insert(index, {"registry_name": name, "config": options})
    path.write_text(json.dumps(content))


def test_offsets_from_a_state_that_has_fewer_joints_are_refused(build, tmp_path: Path) -> None:
    one = torch.ones(3)
    fresh = make_policy(
        "act",
        {**build().config.to_dict(), "output_features": {"action": {"type": "ACTION", "shape": [5]}}},
        statistics={
            "observation.state": {"mean": one, "std": one},
            "action": {"mean": torch.ones(5), "std": torch.ones(5)},
        },
        device="cpu",
    )
    fresh.save_pretrained(tmp_path)
    insert(tmp_path, "preprocessor", 3, "relative_actions_processor", enabled=True)
    insert(tmp_path, "postprocessor", 1, "absolute_actions_processor", enabled=True)
    with pytest.raises(CheckpointError, match="a value for each of the 5 actions.*got 3 values"):
        load_policy(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("pipeline", "index", "message"),
    [
        ("preprocessor", 0, "expected after 'rename_observations_processor'"),
        ("preprocessor", 4, "expected before 'normalizer_processor'"),
        ("postprocessor", 0, "expected after 'unnormalizer_processor'"),
    ],
)
def test_steps_in_an_order_that_cannot_work_are_refused(saved, pipeline: str, index: int, message: str) -> None:
    places = {"preprocessor": 3, "postprocessor": 1, pipeline: index}
    insert(saved, "preprocessor", places["preprocessor"], "relative_actions_processor", enabled=True)
    insert(saved, "postprocessor", places["postprocessor"], "absolute_actions_processor", enabled=True)
    with pytest.raises(CheckpointError, match=message):
        load_policy(saved, device="cpu")


def test_an_ensemble_of_offsets_is_refused(build, tmp_path: Path) -> None:
    """Each chunk starts from another state, so that its rows do not mean the same."""
    build(temporal_ensemble_coeff=0.1, n_action_steps=1).save_pretrained(tmp_path)
    insert(tmp_path, "preprocessor", 3, "relative_actions_processor", enabled=True)
    insert(tmp_path, "postprocessor", 1, "absolute_actions_processor", enabled=True)
    with pytest.raises(CheckpointError, match="cannot be ensembled"):
        load_policy(tmp_path, device="cpu")


def edit(directory: Path, pipeline: str, name: str, **changes: object) -> None:
    path = directory / f"policy_{pipeline}.json"
    content = json.loads(path.read_text())
    for step in content["steps"]:
        if step["registry_name"] == name:
            step["config"].update(changes)
    path.write_text(json.dumps(content))


def test_a_step_that_is_switched_off_means_absolute_actions(policy, tmp_path: Path) -> None:
    policy.save_pretrained(tmp_path)
    edit(tmp_path, "preprocessor", "relative_actions_processor", enabled=False)
    edit(tmp_path, "postprocessor", "absolute_actions_processor", enabled=False)
    assert load_policy(tmp_path, device="cpu").relative is None


@pytest.mark.parametrize(
    ("pipeline", "name", "changes", "message"),
    [
        ("postprocessor", "absolute_actions_processor", {"enabled": False}, "expected one 'relative_actions"),
        ("preprocessor", "relative_actions_processor", {"enabled": "yes"}, "enabled true or false"),
        ("preprocessor", "relative_actions_processor", {"exclude_joints": "gripper"}, "list of names"),
    ],
)
def test_steps_that_contradict_each_other_are_refused(policy, tmp_path, pipeline, name, changes, message) -> None:
    policy.save_pretrained(tmp_path)
    edit(tmp_path, pipeline, name, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_policy(tmp_path, device="cpu")
