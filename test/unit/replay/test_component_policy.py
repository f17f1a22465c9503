# SPDX-License-Identifier: Apache-2.0
"""A policy that is put together from components, on a recording and in an environment."""

from __future__ import annotations

import numpy as np
from support.component_policies import write_component_flow
from support.replays import JOINTS, PARAMETERS, Witness, record

from policy_ros.evaluation.evaluate import evaluate
from policy_ros.evaluation.options import EvaluationOptions
from policy_ros.policies import load_policy
from policy_ros.replay.bag_replay import BagReplay
from policy_ros.replay.options import ReplayOptions


def test_it_is_replayed(tmp_path):
    policy = load_policy(write_component_flow(tmp_path / "policy", len(JOINTS), size=(12, 16)), device="cpu")
    witness = Witness()
    BagReplay(record(tmp_path / "bag"), policy, ReplayOptions(PARAMETERS)).run(witness)
    assert len(witness.chunks) > 5
    assert all(np.isfinite(chunk.actions).all() for chunk in witness.chunks)


def test_it_is_evaluated(tmp_path):
    policy = load_policy(write_component_flow(tmp_path / "policy", 4, "top"), device="cpu")
    result = evaluate(policy, EvaluationOptions(episodes=2, time_limit_s=0.3))
    assert [episode.success for episode in result.episodes] == [False, False]
