# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from policy_ros.errors import CheckpointError, ConfigurationError, PolicyRosError, RegistryError
from policy_ros.policies import checkpoint, load_policy, make_policy
from policy_ros.policies.act.policy import ACTPolicy
from policy_ros.policies.base import Policy


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(directory: Path, change) -> None:
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors")


def refuse(directory: Path, message: str, kind: type[PolicyRosError] = CheckpointError) -> None:
    """Loading fails with one line that matches."""
    with pytest.raises(kind, match=message) as caught:
        load_policy(directory, device="cpu")
    assert "\n" not in str(caught.value)


class Payload:
    """Unpickling it creates a file, as an attack would run a command."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch '{self.trace}'",)


def test_a_saved_policy_loads_with_equal_numbers(build, saved, observe):
    original, loaded = build(), load_policy(saved, device="cpu")
    assert isinstance(loaded, ACTPolicy) and not loaded.training
    assert loaded.config == original.config
    np.testing.assert_array_equal(loaded.predict(observe(0)), original.predict(observe(0)))


def test_whoever_may_read_the_configuration_may_read_the_weights(saved):
    modes = {path.name: path.stat().st_mode for path in saved.iterdir()}
    assert len(set(modes.values())) == 1, modes


def test_an_interrupted_save_is_no_checkpoint(build, saved, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_processors", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build().save_pretrained(saved)
    refuse(saved, "with config.json, which is missing")


def test_from_pretrained_checks_the_kind(saved):
    class Other(Policy):
        name = "other"

    assert isinstance(ACTPolicy.from_pretrained(saved, device="cpu"), ACTPolicy)
    assert isinstance(Policy.from_pretrained(saved, device="cpu"), ACTPolicy)
    with pytest.raises(CheckpointError, match="expected a checkpoint of Other, got one of 'act'"):
        Other.from_pretrained(saved, device="cpu")


def test_a_policy_that_saw_no_data_saves_and_loads(options, tmp_path, observe):
    torch.manual_seed(0)
    fresh = make_policy("act", options(), device="cpu")
    fresh.save_pretrained(tmp_path)
    np.testing.assert_array_equal(load_policy(tmp_path, device="cpu").predict(observe(0)), fresh.predict(observe(0)))


def test_fresh_weights_are_repeatable(build, observe):
    np.testing.assert_array_equal(build().predict(observe(0)), build().predict(observe(0)))


def test_fresh_weights_never_pretend_to_be_pretrained(options):
    with pytest.raises(ConfigurationError, match="pretrained_backbone_weights: expected null"):
        make_policy("act", options(pretrained_backbone_weights="ResNet18_Weights.IMAGENET1K_V1"), device="cpu")


def test_missing_features_are_asked_for():
    with pytest.raises(ConfigurationError, match="input_features is missing: expected"):
        make_policy("act")


def test_weights_of_lower_precision_are_widened(saved, observe):
    expected = load_policy(saved, device="cpu").predict(observe(0))
    change_weights(saved, lambda tensors: tensors.update({k: v.to(torch.bfloat16) for k, v in tensors.items()}))
    loaded = load_policy(saved, device="cpu")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    np.testing.assert_allclose(loaded.predict(observe(0)), expected, atol=0.5)


def test_a_buffer_that_the_network_computes_may_be_missing(saved, observe):
    expected = load_policy(saved, device="cpu").predict(observe(0))
    change_weights(saved, lambda tensors: tensors.pop("model.vae_encoder_pos_enc"))
    np.testing.assert_array_equal(load_policy(saved, device="cpu").predict(observe(0)), expected)


def test_the_device_of_training_plays_no_part(saved):
    change_json(saved / "config.json", device="cuda:7")
    assert load_policy(saved, device="cpu").device.type == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without CUDA is needed")
def test_a_device_that_is_not_there_is_never_replaced(saved):
    with pytest.raises(ConfigurationError, match="expected one of cpu and 0 CUDA devices, got 'cuda'"):
        load_policy(saved, device="cuda")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "mps"])
def test_an_unknown_device_is_refused(saved, device):
    with pytest.raises(ConfigurationError, match="device: expected cpu, cuda"):
        load_policy(saved, device=device)


def test_fault_13_a_missing_directory_is_one_line(tmp_path):
    refuse(tmp_path / "nowhere", "expected a checkpoint directory, found nothing")


def test_fault_13_a_file_instead_of_a_directory_is_one_line(saved):
    refuse(saved / "model.safetensors", "expected a checkpoint directory, got a file; give the directory")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_fault_13_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    refuse(saved, f"with {name}, which is missing")


def test_fault_13_an_empty_directory_is_one_line(tmp_path):
    refuse(tmp_path, "with config.json, which is missing")


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_fault_13_truncated_weights_are_refused(saved, size):
    content = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(content[:size])
    refuse(saved, "expected safetensors, got a corrupt or truncated file")


def test_fault_13_corrupt_weights_are_refused(saved):
    (saved / "model.safetensors").write_bytes(b"\xff" * 1000)
    refuse(saved, "expected safetensors, got a corrupt or truncated file")


@pytest.mark.parametrize("text", ["", "{", "[1]", '"act"', "[" * 100_000])
def test_fault_13_a_broken_configuration_is_one_line(saved, text):
    (saved / "config.json").write_text(text)
    refuse(saved, "config.json: expected (JSON|a JSON object), got")


def test_fault_13_an_oversized_configuration_is_not_read(saved):
    with (saved / "config.json").open("r+b") as file:
        file.truncate(2**30)  # sparse
    refuse(saved, "config.json: expected at most 4194304 bytes, got 1073741824")


def test_fault_13_missing_and_unexpected_tensors_are_named(saved):
    def rename(tensors):
        tensors["model.action_hat.weight"] = tensors.pop("model.action_head.weight")

    change_weights(saved, rename)
    refuse(saved, r"missing 'model.action_head.weight' \(2, 16\); unexpected 'model.action_hat.weight' \(2, 16\)")


def test_fault_13_a_tensor_of_another_shape_is_named(saved):
    change_weights(saved, lambda tensors: tensors.update({"model.action_head.bias": torch.zeros(3)}))
    refuse(saved, r"'model.action_head.bias' expected \(2,\), got \(3,\)$")


def test_fault_13_a_tensor_of_integers_is_named(saved):
    change_weights(saved, lambda tensors: tensors.update({"model.action_head.bias": torch.zeros(2, dtype=torch.int32)}))
    refuse(saved, "'model.action_head.bias' expected torch.float32")


def test_fault_13_many_problems_are_counted(saved):
    change_weights(saved, lambda tensors: [tensors.pop(name) for name in list(tensors)[:10]])
    refuse(saved, r"and \d+ more$")


LOAD_WITH_LITTLE_MEMORY = """
import resource, sys
from policy_ros.errors import CheckpointError
from policy_ros.policies import load_policy
import policy_ros.policies.act.policy
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
try:
    load_policy(sys.argv[1], device="cpu")
except CheckpointError as error:
    print(error)
"""


def test_fault_13_a_huge_network_is_refused_before_it_is_allocated(saved):
    # Allocated, this would take terabytes; the process that tries may have one GiB.
    change_json(saved / "config.json", dim_model=16384, dim_feedforward=16384, n_encoder_layers=128)
    child = subprocess.run(
        [sys.executable, "-c", LOAD_WITH_LITTLE_MEMORY, str(saved)], capture_output=True, text=True, timeout=120.0
    )
    assert "does not fit config.json: " in child.stdout, child.stderr


def test_fault_13_wrong_options_name_the_file(saved):
    change_json(saved / "config.json", chunk_size=-1)
    refuse(saved, "config.json: chunk_size: expected a value from 1")


def test_fault_13_sharded_weights_are_refused(saved):
    (saved / "model.safetensors").rename(saved / "model-00001-of-00002.safetensors")
    (saved / "model.safetensors.index.json").write_text("{}")
    refuse(saved, "expected one model.safetensors, got sharded weights")


@pytest.mark.parametrize("save", [lambda v, p: torch.save(v, p), lambda v, p: p.write_bytes(pickle.dumps(v))])
def test_fault_14_a_pickle_in_disguise_is_refused_and_never_runs(saved, tmp_path, save):
    trace = tmp_path / "trace"
    save(Payload(trace), saved / "model.safetensors")
    refuse(saved, "model.safetensors: expected safetensors, got a pickle; .*policy-ros convert")
    assert not trace.exists()


def test_a_header_that_would_take_seconds_to_look_through_is_refused(saved):
    names = ",".join(f'"{index:032}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for index in range(100_000))
    header = f"{{{names}}}".encode()
    (saved / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    refuse(saved, "expected a header of at most 8388608 bytes, got 8400001")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt", "policy.pkl"])
def test_fault_14_a_directory_with_pickles_only_is_refused_and_they_never_run(saved, tmp_path, name):
    trace = tmp_path / "trace"
    (saved / "model.safetensors").unlink()
    torch.save(Payload(trace), saved / name)
    refuse(saved, f"expected model.safetensors, got {name}; pickles can run code")
    refuse(saved / name, "got a file; pickles can run code")
    assert not trace.exists()


def test_fault_14_the_payload_would_have_run(tmp_path):
    trace = tmp_path / "trace"
    pickle.loads(pickle.dumps(Payload(trace)))  # the control: otherwise the tests above could not fail
    assert trace.exists()


@pytest.mark.parametrize("kind", ["os:system", "policy_ros.policies.act.policy.ACTPolicy", "akt"])
def test_fault_15_a_configuration_that_names_a_module_is_refused(saved, kind):
    change_json(saved / "config.json", type=kind)
    refuse(saved, f"config.json: policy '{kind}' is not registered .*Available: .*act", RegistryError)


@pytest.mark.parametrize("kind", [None, 3, ["act"]])
def test_fault_15_a_configuration_without_a_name_lists_the_policies(saved, kind):
    change_json(saved / "config.json", type=kind)
    refuse(saved, "expected 'type' to name the policy, got .*available: .*act")
