# SPDX-License-Identifier: Apache-2.0
"""Policies that a YAML file puts together from components."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.component_policies import (
    HISTORY,
    ROWS,
    STATE,
    ComponentFlow,
    flow_files,
    write_component_flow,
    write_files,
)

from policy_ros.errors import CheckpointError, ConfigurationError, ObservationError, RegistryError
from policy_ros.policies import POLICY_REGISTRY, build_policy, load_policy, make_policy
from policy_ros.policies.components.component import Component, ComponentOptions
from policy_ros.policies.components.registry import COMPONENT_REGISTRY
from policy_ros.policies.relative import RelativeActions
from policy_ros.policies.roots import resolve_checkpoint

Files = dict[str, dict[str, Any]]


@pytest.fixture
def saved(tmp_path) -> Path:
    """The YAML file of a policy with its weights beside it."""
    return write_component_flow(tmp_path / "policy")


@pytest.fixture
def named() -> dict[str, np.ndarray]:
    """An observation under the names of the YAML file."""
    random = np.random.RandomState(0)
    return {
        "proprio": random.standard_normal((HISTORY, STATE)).astype(np.float32),
        "head": random.randint(0, 256, (1, 3, 48, 64), np.uint8),
    }


@pytest.fixture
def features(named) -> dict[str, np.ndarray]:
    """The same observation as features, with an older image that the policy does not look at."""
    return {
        "observation.state": named["proprio"],
        "observation.images.front": np.concatenate([255 - named["head"], named["head"]]),
    }


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.RandomState(1).standard_normal((1, ROWS, STATE)).astype(np.float32)


def rebuilt(tmp_path: Path, change: Callable[[Files], None]) -> Path:
    """YAML files with a change."""
    files = copy.deepcopy(flow_files())
    change(files)
    return write_files(tmp_path / "changed", files)


def section(name: str, **options: Any) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files["policy.yaml"][name] = {**files["policy.yaml"].get(name, {}), **options}

    return change


def test_it_answers_with_a_chunk_for_inputs_under_their_names(saved, named, noise):
    chunk = build_policy(saved).predict(named, noise=noise)
    assert (chunk.shape, chunk.dtype) == ((ROWS, STATE), np.float32)


def test_names_and_features_say_the_same(saved, named, features, noise):
    policy = build_policy(saved)
    np.testing.assert_array_equal(policy.predict(named, noise=noise), policy.predict(features, noise=noise))


def test_the_network_gets_as_many_steps_as_declared(saved, named, monkeypatch):
    policy = build_policy(saved)
    seen = {}
    monkeypatch.setattr(policy, "_seen", lambda batch: seen.update(policy.inputs(batch)) or torch.zeros(1, 10))
    policy.predict(named)
    assert {name: tuple(value.shape) for name, value in seen.items()} == {
        "proprio": (1, HISTORY, STATE),
        "head": (1, 1, 3, 48, 64),
    }
    np.testing.assert_allclose(seen["head"][0].numpy(), named["head"] / np.float32(255))


def test_inputs_are_normalised_and_actions_are_not(tmp_path, named, noise):
    file = write_component_flow(tmp_path / "policy")
    policy = build_policy(file)
    direct = policy.predict_normalized(
        {
            "observation.state": named["proprio"],
            "observation.images.front": named["head"].repeat(2, axis=0),
        },
        noise=noise,
    )
    np.testing.assert_allclose(policy.predict(named, noise=noise), direct.detach().numpy() * 0.02, rtol=1e-6)


def test_guided_inference_takes_prefix_and_delay_from_the_observation(saved, named, features, noise):
    policy = build_policy(saved)
    previous = np.full((ROWS, STATE), 0.05, np.float32)
    guided = policy.guided_inference({**named, "prev_action": previous, "est_delay": 2}, None, 3, ROWS, noise=noise)
    same = policy.guided_inference(features, prefix=previous, delay=2, execution_horizon=3, noise=noise)
    assert (guided.shape, guided.dtype) == ((ROWS, STATE), np.float32)
    np.testing.assert_array_equal(guided, same)
    free = policy.predict(named, noise=noise)
    assert np.abs(guided[:2] - previous[:2]).max() < np.abs(free[:2] - previous[:2]).max()


def test_rows_behind_the_last_one_that_is_not_executed_say_nothing(saved, named, noise):
    policy = build_policy(saved)
    previous = np.full((ROWS, STATE), 0.05, np.float32)
    other = previous.copy()
    other[ROWS - 3 :] = 7.0

    def guided(rows: np.ndarray) -> np.ndarray:
        return policy.guided_inference({**named, "prev_action": rows, "est_delay": 1}, None, 3, noise=noise)

    np.testing.assert_array_equal(guided(previous), guided(other))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda o: o.pop("head"), "missing head"),
        (lambda o: o.update(proprio=o["proprio"][:1]), r"'proprio': expected \(2, 3\), got \(1, 3\)"),
        (lambda o: o.update(proprio=o["proprio"][0]), r"'proprio': expected \(2, 3\), got \(3,\)"),
        (lambda o: o.update(head=o["head"][0]), r"'head': expected \(1, 3, H, W\), got \(3, 48, 64\)"),
        (lambda o: o.update(head=o["head"].astype(np.float32)), "images.front.*uint8"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(saved, named, change, match):
    change(named)
    with pytest.raises(ObservationError, match=match):
        build_policy(saved).predict(named)


@pytest.mark.parametrize(
    ("observed", "arguments", "match"),
    [
        ({"est_delay": 1}, (None, 3), "'prefix' or 'prev_action', got neither"),
        ({"prev_action": np.zeros((8, 3)), "est_delay": 1}, (None,), "'min_num_actions_executed', got neither"),
        ({"prev_action": np.zeros((8, 3)), "est_delay": 1}, (None, 3, 9), "action_chunk_size: expected 8"),
        ({"prev_action": np.zeros((8, 2)), "est_delay": 1}, (None, 3), r"prefix: expected \(N, 3\)"),
        ({"prev_action": np.zeros((8, 3)), "est_delay": 1}, (object(), 3), "statistics"),
        ({"prev_action": np.zeros((8, 3)), "est_delay": 1.5}, (None, 3), "est_delay: expected a whole number of steps"),
        ({"prev_action": np.zeros((8, 3)), "est_delay": 1}, (None, "3"), "min_num_actions_executed: expected a whole"),
    ],
)
def test_a_guidance_that_does_not_fit_is_refused(saved, named, observed, arguments, match):
    with pytest.raises(ConfigurationError, match=match):
        build_policy(saved).guided_inference({**named, **observed}, *arguments)


def test_it_keeps_a_history_of_its_own_for_select_action(saved, named):
    policy = build_policy(saved)
    now = {"observation.state": named["proprio"][0], "observation.images.front": named["head"][0]}
    policy.reset()
    assert policy.select_action(now).shape == (STATE,)


def test_what_was_saved_answers_the_same(saved, named, noise, tmp_path):
    policy = build_policy(saved)
    policy.relative = RelativeActions.excluding(("grip",), ("a", "b", "grip"), STATE)
    policy.rename_map = {"observation.images.webcam": "observation.images.front"}
    policy.save_pretrained(tmp_path / "again")
    again = load_policy(tmp_path / "again", device="cpu")
    np.testing.assert_array_equal(policy.predict(named, noise=noise), again.predict(named, noise=noise))
    assert (again.config, again.relative, again.rename_map) == (policy.config, policy.relative, policy.rename_map)
    assert again.naming == policy.naming


def test_tensors_in_no_component_are_saved_too(tmp_path, monkeypatch, named, noise):
    def init(self, *args, **kwargs):
        super(ComponentFlow, self).__init__(*args, **kwargs)
        self.extra = torch.nn.Parameter(torch.zeros(2))

    monkeypatch.setattr(ComponentFlow, "__init__", init)
    file = write_files(tmp_path / "policy", flow_files())
    policy = build_policy(file, trained=False)
    with torch.no_grad():
        policy.extra.fill_(3.0)
    policy.save_pretrained(file.parent)
    assert (file.parent / "policy.safetensors").exists()
    assert build_policy(file).extra.tolist() == [3.0, 3.0]


def test_loading_recognises_it_by_what_is_there(saved):
    for path in (saved, saved.parent):
        assert isinstance(load_policy(path, device="cpu"), ComponentFlow)
    assert isinstance(ComponentFlow.from_pretrained(saved.parent, device="cpu"), ComponentFlow)


def test_two_kinds_of_checkpoint_in_one_directory_are_refused(saved):
    (saved.parent / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="both config.json and policy.yaml"):
        load_policy(saved.parent)


def test_a_yaml_file_lies_inside_the_roots_or_is_refused(saved, tmp_path):
    assert resolve_checkpoint(saved, [tmp_path]) == saved
    with pytest.raises(CheckpointError, match="inside"):
        resolve_checkpoint(saved, [tmp_path / "other"])


def test_the_directory_of_weights_can_be_another(saved):
    (saved.parent / "step_5").mkdir()
    for file in saved.parent.glob("[eh]*.safetensors"):
        file.rename(saved.parent / "step_5" / file.name)
    saved.write_text(saved.read_text() + "checkpoint_path: step_5\n")
    assert isinstance(build_policy(saved), ComponentFlow)


def test_it_learns(saved, features):
    policy = build_policy(saved).train()
    batch = {key: torch.tensor(value)[None] for key, value in features.items()}
    batch["action"] = torch.zeros(1, ROWS, STATE)
    loss, parts = policy.forward(batch)
    loss.backward()
    assert parts["flow"] == pytest.approx(loss.item())
    assert all(parameter.grad is not None for parameter in policy.parameters())


def test_it_freezes_by_either_name(saved):
    policy = build_policy(saved)
    assert any(parameter.requires_grad for parameter in policy.parameters())
    policy.freeze_all_model_params()
    assert not any(parameter.requires_grad for parameter in policy.parameters())
    policy.warmup()


def test_a_prompt_reaches_the_network_as_bytes(tmp_path, named, monkeypatch):
    policy = build_policy(rebuilt(tmp_path, section("features", prompt={"bytes": 6})), trained=False)
    seen = {}
    monkeypatch.setattr(policy, "_seen", lambda batch: seen.update(policy.inputs(batch)) or torch.zeros(1, 10))
    policy.predict({**named, "prompt": "push"})
    assert seen["prompt"].tolist() == [[113, 118, 116, 105, 0, 0]]
    policy.warmup()
    assert seen["prompt"].tolist() == [[0] * 6]
    with pytest.raises(ObservationError, match="expected 'task'"):
        policy.predict(named)
    with pytest.raises(ObservationError, match="at most 6 bytes, got 7"):
        policy.predict({**named, "prompt": "push it"})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (section("model", component_config_paths={"eyes": "../eyes.yaml"}), r"without '\.\.'"),
        (section("model", component_config_paths={"eyes": "/etc/passwd"}), "a path below"),
        (section("model", component_config_paths={"eyes": "components/none.yaml"}), "found nothing"),
        (section("model", component_config_paths={"eyes": 3}), "relative path, got 3"),
        (section("model", component_config_paths={}), "expected 1 to 64, got 0"),
        (section("model", component_config_paths={"keys": "components/eyes.yaml"}), "names like 'encoder'"),
        (section("model", component_config_paths={"a/b": "components/eyes.yaml"}), "names like 'encoder'"),
        (section("model", component_config_paths={"policy": "components/eyes.yaml"}), "names like 'encoder'"),
        (section("model", component_config_paths={"eyes": "components/eyes.yaml"}), "missing head, got eyes"),
        (section("model", weights="here"), "model: 'weights' is no option"),
        (section("modell"), "'modell' is no section: did you mean 'model'"),
        (lambda files: files["policy.yaml"].pop("features"), "features: expected a section"),
        (lambda files: files["policy.yaml"].pop("model"), "model: expected a section"),
        (lambda files: files["policy.yaml"]["features"].pop("action"), "features: expected 'action'"),
        (section("features", proprio={"shape": [0]}), "up to 4096"),
        (section("features", proprio={"shape": [3], "steps": 0}), "steps: expected a value from 1"),
        (section("features", proprio={"shape": [3], "every": 2}), "'every' is no option"),
        (section("features", torque={"shape": [3]}), "got the vector 'torque'"),
        (section("features", right={"shape": [3, 48, 64], "from": "observation.images.front"}), "each feature once"),
        (section("features", prompt={"bytes": 10**9}), "prompt.bytes: expected a value from 1"),
        (section("normalization", modes={"STATE": "SQUASH"}), "expected one of IDENTITY"),
        (section("normalization", statistics="../s.json"), r"without '\.\.'"),
        (section("normalization", statistics=None), "MEAN_STD needs 'mean'"),
        (lambda files: files["statistics.json"].update(action={"mean": "0"}), "expected {feature: {statistic"),
        (lambda files: files["statistics.json"]["action"].update(mean=[0.0]), "expected 'mean' of shape"),
        (section("policy", flow_step=3), "did you mean 'flow_steps'"),
        (section("policy", flow_steps="3"), "flow_steps: expected int, got str"),
        (section("policy", n_obs_steps=4), "follows from the sections"),
        (section("policy", type=["act"]), "policy.type: expected the name"),
        (section("policy", type="act"), "not put together from components"),
        (section("relative_actions", exclude_joints="grip"), "exclude_joints: expected texts"),
        (lambda files: files["components/eyes.yaml"].pop("type"), "expected 'type'"),
        (lambda files: files["components/eyes.yaml"].pop("output_dim"), "output_dim: expected a value, got none"),
        (lambda files: files["components/eyes.yaml"].update(outputs=3), "'outputs' is no option of ResNetOptions"),
        (lambda files: files["components/eyes.yaml"].update(width=9), "multiple of 8"),
        (lambda files: files["components/head.yaml"].update(hidden_dims=[10**9]), "hidden_dims: expected a value"),
    ],
)
def test_a_description_that_cannot_be_is_refused(tmp_path, change, match):
    with pytest.raises((CheckpointError, ConfigurationError), match=match):
        build_policy(rebuilt(tmp_path, change), trained=False)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (section("policy", type="os.system"), "policy 'os.system' is not registered"),
        (lambda files: files["components/eyes.yaml"].update(type="torch.nn:Linear"), "never imported"),
    ],
)
def test_a_name_never_becomes_an_import(tmp_path, change, match):
    with pytest.raises(RegistryError, match=match):
        build_policy(rebuilt(tmp_path, change), trained=False)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("policy: !!python/object/apply:os.mkdir [made]\n", "expected YAML, got could not determine a constructor"),
        ("features: &all {a: 1}\nmodel: *all\n", "alias"),
        ("model: {}\nmodel: {}\n", "a key twice"),
        ("1: 2\n", "a key that is no text"),
        ("- 1\n", "a YAML mapping, got list"),
        ("model: {", "expected YAML"),
        ("[" * 5000, "expected YAML"),
        ("a: !!bool maybe\n", "expected YAML"),
        ("a: !!timestamp now\n", "expected YAML"),
        ('a: !!int ""\n', "expected YAML"),
        ("a: 0x" + "f" * 5000, "an integer of more than 64 bits in line 1"),
        ("a: " + "x" * 300_000, "at most"),
    ],
)
def test_a_file_that_is_no_plain_yaml_is_refused(tmp_path, monkeypatch, text, match):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=match):
        build_policy("policy.yaml")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("linked", ["components/eyes.yaml", "statistics.safetensors", "eyes.safetensors", "components"])
def test_a_link_does_not_lead_out_of_the_directory(saved, tmp_path, linked):
    here, outside = saved.parent / linked, tmp_path / "outside"
    here.rename(outside)
    here.symlink_to(outside)
    with pytest.raises(CheckpointError, match="links to"):
        build_policy(saved)


def test_a_link_within_the_directory_is_followed(saved):
    (saved.parent / "eyes.safetensors").rename(saved.parent / "eyes_5.safetensors")
    (saved.parent / "eyes.safetensors").symlink_to("eyes_5.safetensors")
    assert isinstance(build_policy(saved), ComponentFlow)


def test_missing_weights_are_refused_and_never_made_up(saved):
    (saved.parent / "head.safetensors").unlink()
    with pytest.raises(CheckpointError, match="weights of 'head'.*found nothing"):
        build_policy(saved)


def test_pickled_weights_are_refused(saved):
    (saved.parent / "head.safetensors").unlink()
    (saved.parent / "head.pt").write_bytes(pickle.dumps({}))
    with pytest.raises(CheckpointError, match="got head.pt; .*policy-ros convert"):
        build_policy(saved)
    (saved.parent / "head.pt").rename(saved.parent / "head.safetensors")
    with pytest.raises(CheckpointError, match="truncated|pickle"):
        build_policy(saved)


def test_weights_of_another_network_are_refused(saved):
    (saved.parent / "components/head.yaml").write_text(
        (saved.parent / "components/head.yaml").read_text().replace("- 32", "- 33")
    )
    with pytest.raises(CheckpointError, match=r"does not fit head.yaml: .*'layers.0.weight' expected \(33, 35\)"):
        build_policy(saved)


def test_only_a_yaml_file_makes_it(saved):
    with pytest.raises(ConfigurationError, match="build_policy"):
        make_policy("component_flow", {})
    saved.unlink()
    (saved.parent / "config.json").write_text('{"type": "component_flow"}')
    (saved.parent / "model.safetensors").write_bytes((saved.parent / "head.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="expected a policy.yaml"):
        load_policy(saved.parent)


def test_a_component_that_no_yaml_can_describe_is_not_saved(saved, tmp_path):
    policy = build_policy(saved)
    policy.components["eyes"] = torch.nn.Linear(1, 1)
    with pytest.raises(ConfigurationError, match="component 'eyes': expected a Component"):
        policy.save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again").exists()


SIZES: dict[str, tuple[dict[str, Any], tuple[tuple[int, ...], ...], tuple[int, ...]]] = {
    "mlp": (
        {"input_dim": 3, "output_dim": 2, "hidden_dims": [4], "layer_norm": True},
        ((5, 3),),
        (5, 2),
    ),
    "resnet": ({"output_dim": 6, "width": 8, "stages": 3, "pool": "none"}, ((2, 3, 32, 48),), (2, 6, 6)),
    "keypoint_encoder": ({"image_size": [64, 96], "crop": [48, 64], "keypoints": 5}, ((2, 3, 64, 96),), (2, 10)),
    "transformer_encoder": ({"dim": 8, "layers": 2, "heads": 2}, ((2, 5, 8),), (2, 5, 8)),
    "transformer_decoder": ({"dim": 8, "layers": 2, "heads": 2}, ((2, 4, 8), (2, 5, 8)), (2, 4, 8)),
    "embedding": ({"rows": 7, "dim": 3}, (), (7, 3)),
}


@pytest.mark.parametrize("name", COMPONENT_REGISTRY.names())
def test_every_component_type_computes_and_can_be_written_down(name):
    options, inputs, output = SIZES[name]
    cls = COMPONENT_REGISTRY.get(name)
    component = cls(cls.options_class.from_dict(options))
    assert tuple(component(*(torch.zeros(shape) for shape in inputs)).shape) == output
    assert cls.name == name
    assert cls.options_class.from_dict(component.options.to_dict()) == component.options
    with torch.device("meta"):
        skeleton = cls(component.options).state_dict()
    assert {k: v.shape for k, v in skeleton.items()} == {k: v.shape for k, v in component.state_dict().items()}


def test_a_registered_component_type_must_be_one():
    with pytest.raises(RegistryError, match="expected a subclass of Component"):
        COMPONENT_REGISTRY.register("linear")(torch.nn.Linear)


def test_a_component_that_breaks_is_named(tmp_path, monkeypatch):
    class Broken(Component):
        name = "broken"
        options_class = ComponentOptions

        def __init__(self, options: ComponentOptions) -> None:
            raise TypeError("no such thing")

    monkeypatch.setitem(COMPONENT_REGISTRY._classes, "broken", Broken)
    with pytest.raises(CheckpointError, match=r"component 'eyes' \(broken\) cannot be built: TypeError: no such thing"):
        build_policy(
            rebuilt(tmp_path, lambda files: files.update({"components/eyes.yaml": {"type": "broken"}})), trained=False
        )


def test_it_is_a_policy_by_name():
    assert POLICY_REGISTRY.get("component_flow") is ComponentFlow
