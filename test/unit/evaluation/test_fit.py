# SPDX-License-Identifier: Apache-2.0
"""Policy and environment: what goes together, and a clear word where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.evaluation import EvaluationOptions, evaluate
from policy_ros.evaluation.fitting import make_task
from policy_ros.parameters.node import CameraParameters, JointParameters, NodeParameters
from policy_ros.simulation import scene
from policy_ros.simulation.env import PickEnv

SHORT = EvaluationOptions(episodes=1, time_limit_s=0.3)


def test_pictures_are_drawn_only_where_an_inference_starts(network, monkeypatch: pytest.MonkeyPatch):
    drawn: list[tuple[str, tuple[int, int]]] = []
    original = scene.render
    monkeypatch.setattr(
        "policy_ros.evaluation.pick_task.render",
        lambda shown, camera, size: drawn.append((camera, size)) or original(shown, camera, size),
    )
    evaluate(network("act", cameras=("wrist",)), SHORT)  # 15 steps in chunks of 10
    assert drawn == [("wrist", (32, 32))] * 2


def test_pictures_are_those_of_the_environment_with_the_sensors_noise(network):
    policy = network("act", side=96)
    task = make_task(policy, EvaluationOptions(image_noise=0.0))
    task.reset(4)
    env = PickEnv(obs_type="pixels_agent_pos", image_size=(96, 96))
    expected, _ = env.reset(seed=4)
    seen = task.observe()
    for camera in ("top", "wrist"):
        np.testing.assert_array_equal(
            seen[f"observation.images.{camera}"], expected["pixels"][camera].transpose(2, 0, 1)
        )
    np.testing.assert_array_equal(seen["observation.state"], expected["agent_pos"])
    noisy = make_task(policy, EvaluationOptions())
    noisy.reset(4)
    difference = noisy.observe()["observation.images.top"].astype(int) - seen["observation.images.top"]
    assert 1.0 < difference.std() < 2.0


def test_cameras_may_deliver_another_size_than_the_policy_takes(network):
    task = make_task(network("act"), EvaluationOptions(image_size=(48, 64)))
    task.reset(0)
    assert task.observe()["observation.images.top"].shape == (3, 48, 64)
    evaluate(network("act"), EvaluationOptions(episodes=1, time_limit_s=0.1, image_size=(48, 64)))


def test_a_camera_feeds_the_feature_that_the_parameters_say(network):
    cameras = {"top": CameraParameters(feature="observation.images.front")}
    task = make_task(network("act", cameras=("front",)), EvaluationOptions(parameters=NodeParameters(cameras=cameras)))
    task.reset(0)
    assert task.observe()["observation.images.front"].shape == (3, 32, 32)


def test_keys_that_the_checkpoint_renames_are_offered_under_their_own_names(network):
    policy = network("act", cameras=("front", "wrist"))
    policy.rename_map = {"observation.images.top": "observation.images.front"}
    assert evaluate(policy, SHORT).episodes[0].steps == 15


def test_a_policy_with_history_sees_the_newest_steps_and_the_first_one_repeated(scripted):
    policy = scripted(n_obs_steps=3, chunk_size=2, n_action_steps=2)
    seen = []

    def echo(batch, noise):
        seen.append(batch["observation.state"].numpy()[0])
        still = batch["observation.state"][:, -1:, :].expand(-1, 2, -1)
        return still + 0.1

    policy.infer = echo
    evaluate(policy, EvaluationOptions(episodes=1, time_limit_s=0.08))
    first, second = seen
    assert first.shape == (3, 4)
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(second[0], first[2])
    assert not np.array_equal(second[1], second[2])


def test_a_feature_that_the_environment_does_not_have_is_named(network):
    with pytest.raises(ConfigurationError, match="cannot feed the policy's 'observation.images.tip'.*images.top"):
        evaluate(network("act", cameras=("tip",)), SHORT)


def test_a_state_of_another_size_is_refused(network):
    features = {
        "observation.state": {"type": "STATE", "shape": [6]},
        "observation.images.top": {"type": "VISUAL", "shape": [3, 32, 32]},
    }
    policy = network("act", input_features=features)
    with pytest.raises(ConfigurationError, match="expected 'observation.state' \\(6,\\).*observation.state \\(4,\\)"):
        evaluate(policy, SHORT)


def test_actions_of_another_size_are_refused(scripted):
    policy = scripted()
    object.__setattr__(policy.config, "output_features", {"action": type(policy.config.state_feature)("ACTION", (7,))})
    with pytest.raises(ConfigurationError, match="expected actions of shape \\(4,\\), the policy's have 7 values"):
        evaluate(policy, SHORT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env_id": "policy_ros/Pluck-v0"}, "cannot be made"),
        ({"env_id": "antigravity:policy_ros/Pick-v0"}, "without a module"),
        ({"env_id": "CartPole-v1", "image_size": (96, 96)}, "image_size: expected none"),
        ({"env_id": "CartPole-v1"}, "expected a dict observation"),
        ({"rate_hz": 33.0}, "expected a whole fraction of 200 Hz"),
        ({"env_kwargs": {"obs_type": "pixels"}}, "expected no obs_type"),
        ({"env_kwargs": {"goal": 1}}, "cannot be made"),
        ({"parameters": NodeParameters(joints=JointParameters(names=("a", "b", "c", "d")))}, "expected those of"),
    ],
)
def test_an_evaluation_that_cannot_be_run_says_why(scripted, changes, message: str):
    with pytest.raises(ConfigurationError, match=message):
        evaluate(scripted(), EvaluationOptions(episodes=1, time_limit_s=0.1, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "episodes: expected at least 1, got 0"),
        ({"seed": -1}, "seed: expected at least 0"),
        ({"delay_ms": 200.0}, "needs a mode of execution"),
        ({"mode": "overlab"}, "did you mean 'overlap'"),
        ({"mode": "sync", "delay_ms": -1.0}, "expected 0 to 10000"),
        ({"time_limit_s": float("nan")}, "time_limit_s: expected 0 or more"),
    ],
)
def test_options_out_of_range_are_refused(changes, message: str):
    with pytest.raises(ConfigurationError, match=message):
        EvaluationOptions(**changes)
