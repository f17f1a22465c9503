# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that cannot or must not be loaded: one line says why, and the node can be configured again."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import pytest
from support.checkpoints import retype
from support.waiting import wait_for


class Payload:
    """What a malicious pickle would run."""

    def __init__(self, marker) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def missing(checkpoint, folder):
    return folder / "nothing_here"


def truncated(checkpoint, folder):
    shutil.copytree(checkpoint, folder / "truncated")
    weights = folder / "truncated" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return folder / "truncated"


def wrong_keys(checkpoint, folder):
    shutil.copytree(checkpoint, folder / "keys")
    file = folder / "keys" / "config.json"
    config = json.loads(file.read_text())
    config["dim_model"] = 64
    file.write_text(json.dumps(config))
    return folder / "keys"


def pickled(checkpoint, folder):
    (folder / "pickled").mkdir()
    with open(folder / "pickled" / "policy_best.ckpt", "wb") as file:
        pickle.dump(Payload(folder / "executed"), file)
    return folder / "pickled"


def pickled_under_a_safe_name(checkpoint, folder):
    shutil.copytree(checkpoint, folder / "disguised")
    with open(folder / "disguised" / "model.safetensors", "wb") as file:
        pickle.dump(Payload(folder / "executed"), file)
    return folder / "disguised"


def unknown_policy(checkpoint, folder):
    return retype(checkpoint, folder / "unknown", "diffusoin")


def a_module_as_policy(checkpoint, folder):
    return retype(checkpoint, folder / "module", "os:system")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (missing, "nothing_here"),
        (truncated, "model.safetensors"),
        (wrong_keys, "expected"),
        (pickled, "pickle"),
        (pickled_under_a_safe_name, "model.safetensors"),
        (unknown_policy, "did you mean 'diffusion'?"),
        (a_module_as_policy, "Available: act"),
    ],
    ids=[
        "test_fault_13_missing",
        "test_fault_13_truncated",
        "test_fault_13_wrong_shapes",
        "test_fault_14_pickle",
        "test_fault_14_pickle_under_a_safe_name",
        "test_fault_15_unknown_policy",
        "test_fault_15_module_name",
    ],
)
def test_faults_13_to_15_a_bad_checkpoint_is_refused_in_one_line_and_a_good_one_still_loads(
    start_node, checkpoint, tmp_path, make, expected
):
    node = start_node(policy__path=str(make(checkpoint, tmp_path)))
    assert not node.transition("configure")
    wait_for(lambda: "configure refused" in node.log, 3.0, "the reason")
    refusal = next(line for line in node.log.splitlines() if "configure refused" in line)
    assert expected in refusal
    assert "Traceback" not in node.log
    assert not (tmp_path / "executed").exists(), "the payload ran"
    assert node.state == "unconfigured"
    assert node.set_parameter("policy.path", str(checkpoint)) == ""
    assert node.transition("configure"), node.log


def test_a_checkpoint_outside_the_roots_is_refused_even_through_a_link(start_node, checkpoint, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(checkpoint)
    node = start_node(policy__path=str(root / "link"), policy__roots=[str(root)])
    assert not node.transition("configure")
    wait_for(lambda: "expected a path inside" in node.log, 3.0, "the reason")


def test_fresh_weights_need_permission(start_node):
    node = start_node(policy__path="", policy__type="act")
    assert not node.transition("configure")
    wait_for(lambda: "policy.allow_untrained" in node.log, 3.0, "the reason")
