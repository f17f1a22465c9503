# SPDX-License-Identifier: Apache-2.0
"""Whether the metrics tell a good policy from a bad one, and what is wrong with a robot's configuration."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.pick_demonstrations import CHECKPOINT, PARAMETERS_FILE, record_pick
from support.replays import Witness

from policy_ros.parameters.files import read_parameters
from policy_ros.policies import load_policy
from policy_ros.replay.bag_replay import BagReplay
from policy_ros.replay.metrics import measure, summarize
from policy_ros.replay.options import ReplayOptions

SEEDS = (700_000, 700_001, 700_002, 700_003)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return record_pick(tmp_path_factory.mktemp("bags") / "pick", SEEDS)


@pytest.fixture(scope="module")
def policy():
    policy = load_policy(CHECKPOINT, device="cpu")
    policy.freeze()
    return policy


PARAMETERS = read_parameters(PARAMETERS_FILE)


def values(bag, policy, parameters=PARAMETERS):
    """The metrics of a replay by name."""
    witness = Witness()
    BagReplay(bag, policy, ReplayOptions(parameters)).run(witness)
    assert len(witness.traces) == len(SEEDS)
    summary = summarize([measure(trace) for trace in witness.traces])
    return {name: value.value for name, value in summary.values().items()}


@pytest.fixture(scope="module")
def sound(bag, policy):
    """Of the policy on demonstrations of its own task, as configured for the robot."""
    return values(bag, policy)


def test_a_policy_scores_well_on_its_own_demonstrations(sound):
    assert sound["mae"] < 0.05
    assert sound["coverage"] > 0.9 and sound["holds"] == 0
    assert abs(sound["lag"]) <= 0.1


def test_shuffled_weights_score_clearly_worse(bag, policy, sound):
    generator = torch.Generator().manual_seed(0)
    shuffled = load_policy(CHECKPOINT, device="cpu")
    with torch.no_grad():
        for weights in shuffled.parameters():
            weights.copy_(weights.flatten()[torch.randperm(weights.numel(), generator=generator)].view_as(weights))
    shuffled.freeze()
    bad = values(bag, shuffled)
    assert bad["mae"] > 2.0 * sound["mae"] and bad["mae@1"] > 2.0 * sound["mae@1"]


def test_a_swapped_joint_order_shows(bag, policy, sound):
    first, second, third, gripper = PARAMETERS.joints.names
    joints = replace(PARAMETERS.joints, names=(third, second, first, gripper))
    swapped = values(bag, policy, replace(PARAMETERS, joints=joints))
    assert swapped["mae"] > 2.0 * sound["mae"]


def test_a_swapped_camera_shows(bag, policy, sound):
    top, wrist = PARAMETERS.cameras["top"], PARAMETERS.cameras["wrist"]
    cameras = {
        "top": replace(top, topic=wrist.topic),
        "wrist": replace(wrist, topic=top.topic),
    }
    swapped = values(bag, policy, replace(PARAMETERS, cameras=cameras))
    assert sound["camera_order_gain"] == 0.0 and swapped["camera_order_gain"] > 0.5
    assert swapped["picture_shift"] > 2.0 * sound["picture_shift"]


def test_a_lag_of_one_second_shows(tmp_path, policy, sound):
    late = values(record_pick(tmp_path / "late", SEEDS, commands_late_s=1.0), policy)
    assert late["lag"] == pytest.approx(-1.0, abs=0.1) and late["lag_gain"] > 0.5
    assert late["mae"] > 2.0 * sound["mae"]
