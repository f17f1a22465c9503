# SPDX-License-Identifier: Apache-2.0
"""Policies that plan, and policies that answer with a single row, replayed like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints import write_sac, write_tdmpc
from support.replays import PARAMETERS, Witness, record, with_execution

from policy_ros.errors import ConfigurationError
from policy_ros.policies import load_policy
from policy_ros.replay.bag_replay import BagReplay
from policy_ros.replay.jobs import PolicySource
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.run import ReplayRequest, replay

WRITERS = {"tdmpc": (write_tdmpc, "overlap", 6), "gaussian_actor": (write_sac, "sync", 1)}


@pytest.mark.parametrize("name", WRITERS)
def test_chunks_repeat_themselves_under_one_seed_and_differ_under_another(name: str, tmp_path: Path):
    write, mode, rows = WRITERS[name]
    bag = record(tmp_path / "bag")
    policy = load_policy(write(tmp_path / name, joints=2), device="cpu")
    policy.freeze()

    def run(seed: int) -> list[np.ndarray]:
        witness = Witness()
        BagReplay(bag, policy, ReplayOptions(with_execution(mode=mode, execution_horizon=0), seed=seed)).run(witness)
        assert witness.traces[0].holds == ()
        return [chunk.actions for chunk in witness.chunks]

    first, second, other = run(3), run(3), run(4)
    assert len(first) == len(second) > 5
    assert first[0].shape == (rows, 2)
    np.testing.assert_array_equal(first, second)
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize("name", WRITERS)
def test_all_metrics_are_there(name: str, tmp_path: Path):
    write, mode, _ = WRITERS[name]
    record(tmp_path / "bag")
    request = ReplayRequest(
        bags=(str(tmp_path / "bag"),),
        policy=PolicySource(str(write(tmp_path / name, joints=2)), device="cpu"),
        options=ReplayOptions(with_execution(mode=mode, execution_horizon=0)),
        out=tmp_path / "out",
        messages="none",
        report=False,
    )
    replay(request)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert written["status"] == "complete"
    assert written["summary"]["metrics"]["chunks"]["value"] > 5


def test_single_rows_in_another_mode_than_sync_are_refused(tmp_path: Path):
    policy = load_policy(write_sac(tmp_path / "sac", joints=2), device="cpu")
    with pytest.raises(ConfigurationError, match="at least 2 rows, got 1; use mode sync"):
        BagReplay(record(tmp_path / "bag"), policy, ReplayOptions(PARAMETERS)).run(Witness())
