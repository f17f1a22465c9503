# SPDX-License-Identifier: Apache-2.0
"""Weights on their way from files into networks."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.component_policies import write_component_flow

from policy_ros.errors import CheckpointError
from policy_ros.policies import build_policy, load_policy
from policy_ros.policies.weights import Weights, _held, place


def pointers(network: torch.nn.Module) -> list[int]:
    return [tensor.data_ptr() for tensor in network.state_dict().values()]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}, path)
    return path


def test_a_tensor_that_is_gone_since_the_file_was_looked_at_is_said(file):
    weights = Weights.of(file, shared=True)
    assert set(weights.named(["bias"])) == {"bias"}
    with pytest.raises(CheckpointError, match="'scale' is not there any more"):
        weights.named(["bias", "scale"])


def test_policies_that_share_have_one_copy(saved, observe):
    first, second = (load_policy(saved, device="cpu", shared=True) for _ in range(2))
    alone = load_policy(saved, device="cpu")
    named = dict(first.named_parameters())
    assert [p.data_ptr() for p in named.values()] == [p.data_ptr() for p in second.parameters()]
    assert not set(pointers(first)) & set(pointers(alone))
    np.testing.assert_array_equal(first.predict(observe(0)), alone.predict(observe(0)))


def test_policies_of_components_share_too(tmp_path):
    path = write_component_flow(tmp_path)
    first, second = (build_policy(path, shared=True) for _ in range(2))
    assert pointers(first) == pointers(second)
    assert not set(pointers(build_policy(path))) & set(pointers(first))


def test_a_policy_that_shares_is_frozen_and_one_that_does_not_learns(saved):
    assert not any(p.requires_grad for p in load_policy(saved, device="cpu", shared=True).parameters())
    assert all(p.requires_grad for p in load_policy(saved, device="cpu").parameters())


def test_the_copy_goes_with_its_last_user(saved):
    gc.collect()
    before = len(_held)
    first, second = (load_policy(saved, device="cpu", shared=True) for _ in range(2))
    assert len(_held) == before + 1
    del first
    gc.collect()
    assert len(_held) == before + 1
    del second
    gc.collect()
    assert len(_held) == before


def test_a_file_that_was_written_anew_is_read_anew(file):
    first = Weights.of(file, shared=True)
    assert Weights.of(file, shared=True) is first
    save_file({"weight": torch.zeros(2, 3), "bias": torch.ones(2)}, file)
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert Weights.of(file, shared=True)["weight"].sum() == 0
    assert first["weight"].sum() == 15


def test_a_file_that_was_overwritten_in_place_with_its_time_kept_is_read_anew(file):
    """As ``cp -p`` and ``rsync --inplace`` do, of a file of the same size and time."""
    first = Weights.of(file, shared=True)
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    other = file.with_name("other.safetensors")
    save_file({"weight": torch.zeros(2, 3), "bias": torch.ones(2)}, other)
    with file.open("r+b") as stream:
        stream.write(other.read_bytes())
    os.utime(file, ns=times)
    assert Weights.of(file, shared=True)["weight"].sum() == 0
    assert first["weight"].sum() == 15


def test_a_tensor_of_another_shape_is_never_placed(file):
    weights = Weights.of(file, shared=True)
    with pytest.raises(CheckpointError, match=r"'weight': expected \(2, 4\), got \(2, 3\)"):
        place(torch.nn.Linear(4, 2), weights, torch.device("cpu"), keep=[weights])


def test_a_link_names_the_same_file(file, tmp_path):
    (tmp_path / "link").symlink_to(file)
    assert Weights.of(tmp_path / "link", shared=True) is Weights.of(file, shared=True)


def test_overwriting_a_checkpoint_does_not_change_a_running_policy(saved, observe):
    policy = load_policy(saved, device="cpu", shared=True)
    before = policy.predict(observe(0))
    weights = saved / "model.safetensors"
    size = weights.stat().st_size
    with weights.open("r+b") as stream:  # in place, as cp does
        stream.seek(size // 2)
        stream.write(b"\xff" * (size // 2))
        stream.truncate(size // 3)
    np.testing.assert_array_equal(policy.predict(observe(0)), before)


@pytest.mark.parametrize("shared", [True, False])
def test_weights_are_placed_in_the_networks_own_precision(file, shared):
    tensors = {name: value.to(torch.bfloat16) for name, value in load_file(file).items()}
    save_file(tensors, file)
    network = torch.nn.Linear(3, 2)
    weights = Weights.of(file, shared=shared)
    place(network, weights, torch.device("cpu"), keep=[weights] if shared else [])
    assert network.weight.dtype == torch.float32
    assert network.weight.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_tensor_with_two_names_stays_one(file):
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(3, 2))
    network[1].weight = network[0].weight
    weights = Weights.of(file, shared=True)
    place(network, {"0.weight": weights["weight"]}, torch.device("cpu"), keep=[weights])
    assert network[1].weight is network[0].weight
    assert network[1].weight.data_ptr() == weights["weight"].data_ptr()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_copy_on_the_cpu_is_pinned_and_the_one_on_the_gpu_is_not_it(saved, observe):
    policy = load_policy(saved, device="cuda", shared=True)
    assert Weights.of(saved / "model.safetensors", shared=True)["model.action_head.weight"].is_pinned()
    assert {tensor.device.type for tensor in policy.state_dict().values()} == {"cuda"}
    assert np.isfinite(policy.predict(observe(0))).all()
