# SPDX-License-Identifier: Apache-2.0
"""Two processes, which stand for two GPUs, train one policy on samples of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra 'train'")

from support.synthetic_data import options

from policy_ros.training.metrics import read_metrics

DEADLINE_S = 240.0


def program(out: Path, argument: str) -> None:
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, path))}
    environment |= {"GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-m", "support.synthetic_data", str(out), argument],
        capture_output=True,
        text=True,
        env=environment,
        cwd=out.parent,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr


def test_each_sample_is_seen_by_one_device_and_a_resumed_training_ends_the_same(tmp_path: Path):
    # 24 samples, 2 devices with batches of 4: an epoch is 3 steps. One device has no sample to validate on.
    chosen = options(devices="2", strategy="ddp", steps=9, val_every=3, save_every=3, batch_size=4, val_samples=1)
    program(tmp_path / "whole", json.dumps(chosen.to_dict()))
    drawn = [json.loads((tmp_path / f"whole.drawn-{rank}.json").read_text()) for rank in (0, 1)]
    for epoch in range(3):
        of_rank = [[index for number, index in each if number == epoch] for each in drawn]
        assert len(of_rank[0]) == len(of_rank[1]) == 12
        assert sorted(of_rank[0] + of_rank[1]) == list(range(24))

    again = shutil.copytree(tmp_path / "whole", tmp_path / "again")
    (again / "training" / "state-00000009.ckpt").unlink()  # as if it had been killed after step 6
    program(again, "--resume")
    expected, found = (read_metrics(out / "training" / "metrics.jsonl") for out in (tmp_path / "whole", again))
    assert [row["step"] for row in found if row["kind"] == "validation"] == [3, 6, 9]
    assert found == expected
    for rank in (0, 1):
        assert json.loads((tmp_path / f"again.drawn-{rank}.json").read_text())[0][0] == 2, "not from the third epoch on"
