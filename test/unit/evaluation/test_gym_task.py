# SPDX-License-Identifier: Apache-2.0
"""Other people's environments, under the names that LeRobot gives what they observe."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from policy_ros.data import ACTION, FeatureSpec, FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.evaluation import EvaluationOptions, check, evaluate
from policy_ros.evaluation.fitting import make_task
from policy_ros.parameters.node import ExecutionParameters, GateParameters, NodeParameters

SLIDER = "policy_ros_test/Slider-v0"
STATE = {"observation.state": FeatureSpec(FeatureType.STATE, (2,))}
IMAGE = FeatureSpec(FeatureType.VISUAL, (3, 12, 16))


class Slider(gymnasium.Env[dict[str, Any], np.ndarray]):
    """Two sliders that go where they are told; success when the first one is at the end."""

    metadata = {"render_modes": [], "render_fps": 25}  # noqa: RUF012
    success_threshold = 0.9

    def __init__(self, cameras: tuple[str, ...] = (), tells: str = "is_success") -> None:
        picture = spaces.Box(0, 255, (12, 16, 3), dtype=np.uint8)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), dtype=np.float32)
        self.observation_space = spaces.Dict(
            {
                "agent_pos": spaces.Box(-1.0, 1.0, (2,), dtype=np.float64),
                "pixels": spaces.Dict(dict.fromkeys(cameras, picture)) if cameras else picture,
            }
        )
        self._cameras, self._tells = cameras, tells
        self._place = np.zeros(2)

    def _observe(self) -> dict[str, Any]:
        picture = np.zeros((12, 16, 3), np.uint8)
        picture[:, :, 0] = 200  # red
        pixels = dict.fromkeys(self._cameras, picture) if self._cameras else picture
        return {"agent_pos": self._place, "pixels": pixels}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._place[:] = self.np_random.uniform(-0.5, 0.0, 2)
        return self._observe(), {}

    def step(self, action):
        self._place[:] = action  # in place: what was observed before must have been copied
        done = bool(self._place[0] >= 0.9)
        info = {"is_success": done, "coverage": float(self._place[0])}
        return self._observe(), float(self._place[0]), done, False, {self._tells: info.get(self._tells, 0)}


@pytest.fixture(autouse=True)
def _registered():
    gymnasium.register(SLIDER, entry_point=Slider, max_episode_steps=30)
    yield
    del gymnasium.registry[SLIDER]


@pytest.fixture
def pusher(scripted):
    """Each row moves both sliders on by 0.1 from the place that was observed."""

    def make(**extra: FeatureSpec):
        policy = scripted(chunk_size=3, n_action_steps=3)
        for field, value in (
            ("input_features", {**STATE, **extra}),
            ("output_features", {ACTION: FeatureSpec(FeatureType.ACTION, (2,))}),
        ):
            object.__setattr__(policy.config, field, value)
        policy.images = []

        def on(batch, noise):
            policy.images += [value.numpy() for key, value in batch.items() if "image" in key]
            rows = [batch["observation.state"] + 0.1 * (i + 1) for i in range(3)]
            return rows[0].new_tensor(np.stack([row.numpy() for row in rows], axis=1))

        policy.infer = on
        policy.units.encode = lambda batch: batch
        return policy

    return make


def slider(**changes: Any) -> EvaluationOptions:
    return EvaluationOptions(**{"env_id": SLIDER, "episodes": 3, **changes})


@pytest.mark.parametrize("tells", ["is_success", "coverage"])
def test_success_is_what_the_environment_says(pusher, tells: str):
    result = evaluate(pusher(), slider(env_kwargs={"tells": tells}))
    assert result.success_rate == 1.0
    assert (result.rate_hz, result.time_limit_s) == (25.0, 30 / 25.0)
    assert all(episode.best_reward >= 0.9 for episode in result.episodes)


def test_an_environment_that_does_not_tell_cannot_be_scored(pusher):
    with pytest.raises(ConfigurationError, match="expected info\\['is_success'\\] after a step, got other"):
        evaluate(pusher(), slider(env_kwargs={"tells": "other"}))


@pytest.mark.parametrize(
    ("cameras", "key"), [((), "observation.image"), (("left",), "observation.images.left")], ids=["one", "named"]
)
def test_pictures_have_the_names_that_lerobot_gives_them(pusher, cameras, key: str):
    policy = pusher(**{key: IMAGE})
    evaluate(policy, slider(env_kwargs={"cameras": cameras}))
    assert policy.images[0].shape == (3, 3, 12, 16), "a batch of three environments"
    assert policy.images[0][:, 0].min() == 200 and policy.images[0][:, 1:].max() == 0, "channels first"


def test_what_was_observed_stays_although_the_environment_moves_on(pusher):
    task = make_task(pusher(), slider())
    task.reset(0)
    before = task.observe()["observation.state"]
    copy = before.copy()
    task.step(np.ones(2))
    np.testing.assert_array_equal(before, copy)


def test_modes_of_execution_work_at_the_environments_rate(pusher):
    base, late = (evaluate(pusher(), slider(mode="sync", delay_ms=delay)) for delay in (0.0, 80.0))
    assert base.success_rate == late.success_rate == 1.0
    assert late.mean_steps >= base.mean_steps + 2 * 4


def test_a_mode_of_execution_needs_a_place_to_stand_at(pusher, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Slider, "reset", lambda self, **_: ({**self._observe(), "agent_pos": np.zeros(3)}, {}))
    with pytest.raises(ConfigurationError, match="expected an agent_pos of the shape of an action"):
        check(pusher(), slider(mode="sync"))
    check(pusher(), slider())


def test_limits_from_a_description_need_one(pusher):
    described = NodeParameters(
        gate=GateParameters(use_robot_description=True), execution=ExecutionParameters(rate_hz=25.0)
    )
    with pytest.raises(ConfigurationError, match="policy_ros_test/Slider-v0 has no description"):
        check(pusher(), slider(mode="sync", parameters=described))


def test_another_rate_than_the_environments_is_refused(pusher):
    with pytest.raises(ConfigurationError, match="expected 25 Hz, the rate of policy_ros_test/Slider-v0, got 50 Hz"):
        evaluate(pusher(), slider(rate_hz=50.0))
    parameters = NodeParameters(execution=ExecutionParameters(rate_hz=10.0))
    with pytest.raises(ConfigurationError, match="expected 25 Hz.*got 10 Hz"):
        evaluate(pusher(), slider(parameters=parameters))


def test_a_time_limit_replaces_the_environments(pusher):
    assert [episode.steps for episode in evaluate(pusher(), slider(time_limit_s=0.2)).episodes] == [5, 5, 5]


def test_an_environment_without_a_time_limit_needs_one(pusher):
    del gymnasium.registry[SLIDER]
    gymnasium.register(SLIDER, entry_point=Slider)
    with pytest.raises(ConfigurationError, match="declares no max_episode_steps"):
        evaluate(pusher(), slider())


def test_an_environment_that_cannot_begin_says_why(pusher, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Slider, "reset", lambda self, **_: 1 / 0)
    with pytest.raises(ConfigurationError, match="Slider-v0: cannot begin an episode: division by zero"):
        evaluate(pusher(), slider())


def for_push_t(network, key: str, kind: str, shape: list[int]):
    """A network for two coordinates, and one thing to look at."""
    features = {"observation.state": {"type": "STATE", "shape": [2]}, key: {"type": kind, "shape": shape}}
    action = {"action": {"type": "ACTION", "shape": [2]}}
    return network("act", input_features=features, output_features=action)


def test_push_t_is_evaluated_with_pictures(network):
    pytest.importorskip("gym_pusht", reason="gym-pusht is not installed (extra `pusht`)")
    policy = for_push_t(network, "observation.image", "VISUAL", [3, 96, 96])
    options = EvaluationOptions(env_id="gym_pusht/PushT-v0", episodes=2, time_limit_s=1.0)
    result = evaluate(policy, options)
    assert (result.rate_hz, result.mean_steps) == (10.0, 10.0)
    again = evaluate(policy, dataclasses.replace(options, episodes=1, seed=1))
    assert again.episodes[0].best_reward == pytest.approx(result.episodes[1].best_reward, abs=1e-4)


def test_push_t_is_evaluated_with_its_state_and_a_delay(network):
    pytest.importorskip("gym_pusht", reason="gym-pusht is not installed (extra `pusht`)")
    policy = for_push_t(network, "observation.environment_state", "ENV", [16])
    options = EvaluationOptions(
        env_id="gym_pusht/PushT-v0", episodes=1, mode="overlap", delay_ms=100.0, time_limit_s=3.0
    )
    assert evaluate(policy, options).episodes[0].execution.delay_steps == 1.0


def test_aloha_is_evaluated_with_pictures(network):
    pytest.importorskip("gym_aloha", reason="gym-aloha is not installed")
    if not os.environ.get("MUJOCO_GL") and not os.environ.get("DISPLAY"):
        pytest.skip("MuJoCo draws nothing here: no display, and MUJOCO_GL is not set")
    features = {
        "observation.state": {"type": "STATE", "shape": [14]},
        "observation.images.top": {"type": "VISUAL", "shape": [3, 48, 64]},
    }
    action = {"action": {"type": "ACTION", "shape": [14]}}
    policy = network("act", input_features=features, output_features=action)
    options = EvaluationOptions(env_id="gym_aloha/AlohaTransferCube-v0", episodes=1, time_limit_s=0.4)
    for mode in ("", "overlap"):
        result = evaluate(policy, dataclasses.replace(options, mode=mode))
        assert (result.rate_hz, result.mean_steps, result.success_rate) == (50.0, 20.0, 0.0)
