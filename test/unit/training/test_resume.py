# SPDX-License-Identifier: Apache-2.0
"""A training that is killed goes on as if it had not been: the same samples, the same losses to the last bit."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra 'train'")

import torch
from support.synthetic_data import SyntheticData, options

from policy_ros.errors import ConfigurationError, TrainingError
from policy_ros.policies import load_policy
from policy_ros.training.metrics import read_metrics
from policy_ros.training.run import train

DEADLINE_S = 180.0


def run(out: Path, chosen=None, *, data=None, **arguments):
    """Train, or resume, in this process."""
    return train(chosen, out, lambda each: data or SyntheticData(each.seed), **arguments)


def losses(out: Path, kind: str = "validation") -> dict[int, float]:
    rows = read_metrics(out / "training" / "metrics.jsonl", kind)
    assert len({row["step"] for row in rows}) == len(rows), "a step was recorded twice"
    return {row["step"]: row["loss"] for row in rows}


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_policy(directory, device="cpu").state_dict()


def assert_same(one: Path, other: Path) -> None:
    """Everything that two trainings leave, but for times."""
    assert losses(one) == losses(other)
    assert losses(one, "training") == losses(other, "training")
    for directory in ("", "best"):
        expected, found = weights(one / directory), weights(other / directory)
        assert all(torch.equal(expected[name], found[name]) for name in expected)


class Killed:
    """A training in a process of its own, killed when it has said a step."""

    def __init__(self, out: Path, argument: str) -> None:
        path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, path))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.synthetic_data", str(out), argument],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=out.parent,
        )

    def after(self, step: int) -> None:
        """SIGKILL somewhere in what follows this step."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if int(line) >= step:
                break
        self._process.kill()
        _, errors = self._process.communicate(timeout=DEADLINE_S)
        assert self._process.returncode == -9, errors


@pytest.mark.parametrize(
    ("policy", "workers"), [("act", 0), ("flow", 2)], ids=["act", "flow with an average and reading processes"]
)
def test_a_training_that_was_killed_ends_as_one_that_was_not(policy: str, workers: int, tmp_path: Path):
    chosen = options(policy=policy, workers=workers, steps=24, save_every=3)
    run(tmp_path / "whole", chosen)
    moment = random.SystemRandom().randrange(1, 23)
    Killed(tmp_path / "killed", json.dumps(chosen.to_dict())).after(moment)
    result = run(tmp_path / "killed")
    assert result.first_step >= moment - moment % 3
    assert result.step == 24, f"killed after step {moment}"
    assert_same(tmp_path / "whole", tmp_path / "killed")


class PowerCut(BaseException):
    """Nothing that follows is written."""


def test_a_training_that_ended_between_any_two_files_goes_on_as_if_it_had_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    chosen = options(steps=6, save_every=2, val_every=2)
    run(tmp_path / "whole", chosen)
    replace, ended = os.replace, 0

    def failing(source, target) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise PowerCut
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    for files in range(3, 60, 6):  # 3: when it has begun
        out, left = tmp_path / str(files), files
        try:
            run(out, chosen)
        except PowerCut:
            ended += 1
        left = 1_000_000
        if (out / "config.json").exists():
            load_policy(out, device="cpu")
        assert run(out).step == 6
        assert_same(tmp_path / "whole", out)
    assert ended > 5


def test_every_sample_of_an_epoch_is_trained_on_once_whatever_happens_in_between(tmp_path: Path):
    drawn = []
    chosen = options(steps=14, batch_size=4)
    stops = [5, 9, 14]
    for stop in stops:
        data = SyntheticData(chosen.seed)
        first = None if drawn else chosen
        begun = len(drawn)
        run(tmp_path / "out", first, data=data, watch=_stop_after(stop))
        # one batch more is read than trained on, but in the end
        drawn += data.drawn[: stop * 4 - begun]
    epochs = [[index for epoch, index in drawn if epoch == number] for number in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(24))
    assert epochs[0] != epochs[1]


def test_a_half_written_state_is_never_resumed_from(tmp_path: Path):
    out = tmp_path / "out"
    run(out, options(), watch=_stop_after(7))
    whole = out / "training" / "state-00000007.ckpt"
    (out / "training" / "state-00000009.ckpt.unfinished").write_bytes(whole.read_bytes()[:1000])
    result = run(out)
    assert result.first_step == 7
    assert not list(out.rglob("*.unfinished"))


def test_a_damaged_state_is_an_error_that_names_the_file(tmp_path: Path):
    out = tmp_path / "out"
    run(out, options(), watch=_stop_after(7))
    state = out / "training" / "state-00000007.ckpt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"state-00000007.ckpt: expected the state of step 7.*remove it"):
        run(out)
    state.unlink()
    assert run(out).first_step == 5


def test_a_state_is_loaded_without_running_code(tmp_path: Path):
    out = tmp_path / "out"
    run(out, options(), watch=_stop_after(7))
    torch.save({"format": 1, "step": 8, "policy": Path("x")}, out / "training" / "state-00000008.ckpt")
    with pytest.raises(TrainingError, match="state-00000008.ckpt"):
        run(out)


def test_resuming_with_other_options_is_refused_by_name(tmp_path: Path):
    out = tmp_path / "out"
    run(out, options(), watch=_stop_after(3))
    with pytest.raises(ConfigurationError, match=r"batch_size is 8, was 4; seed is 1, was 0"):
        run(out, given={"batch_size": 8, "seed": 1})
    assert run(out, given={"batch_size": 4}).step == 12


def test_resuming_with_other_data_is_refused(tmp_path: Path):
    out = tmp_path / "out"
    run(out, options(), watch=_stop_after(3))
    with pytest.raises(TrainingError, match=r"the data have changed.*\(samples\)"):
        run(out, data=SyntheticData(0, training=25))


def test_there_must_be_a_training_to_resume(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"expected a training that began in .*nowhere"):
        run(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_finished_training_resumes_to_nothing(tmp_path: Path):
    run(tmp_path / "out", options(steps=4))
    before = losses(tmp_path / "out")
    result = run(tmp_path / "out")
    assert (result.first_step, result.step) == (4, 4)
    assert result.best is not None
    assert losses(tmp_path / "out") == before


def test_a_training_that_ended_before_its_first_state_begins_again(tmp_path: Path):
    def end(report) -> None:
        if report.step == 4:
            raise PowerCut

    chosen = options(save_every=10)
    with pytest.raises(PowerCut):
        run(tmp_path / "ended", chosen, watch=end)
    assert run(tmp_path / "ended").first_step == 0
    run(tmp_path / "whole", chosen)
    assert_same(tmp_path / "whole", tmp_path / "ended")


def test_two_processes_never_train_into_one_directory(tmp_path: Path):
    from policy_ros.training.checkpoints import TrainingDirectory

    run(tmp_path / "out", options(), watch=_stop_after(3))
    with TrainingDirectory(tmp_path / "out").locked(), pytest.raises(TrainingError, match="another process"):
        run(tmp_path / "out")


def _stop_after(step: int):
    """As Ctrl-C after this step would."""
    import signal

    def watch(report) -> None:
        if report.step == step - 1:
            signal.raise_signal(signal.SIGINT)

    return watch
