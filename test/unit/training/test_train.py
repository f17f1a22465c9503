# SPDX-License-Identifier: Apache-2.0
"""A training, and what it leaves in its directory."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning", reason="needs the extra 'train'")

import torch
from support.synthetic_data import JOINTS, TINY_ACT, SyntheticData, options

from policy_ros.data import FeatureType
from policy_ros.errors import ConfigurationError, TrainingError
from policy_ros.policies import load_policy
from policy_ros.training.checkpoints import TrainingDirectory
from policy_ros.training.loading import Shard
from policy_ros.training.metrics import read_metrics
from policy_ros.training.preparation import backbone_advice
from policy_ros.training.run import train
from policy_ros.training.supervision import Score


def run(out: Path, data: SyntheticData | None = None, **changes):
    if isinstance(changes.get("overrides"), dict):
        changes["overrides"] = {**TINY_ACT, **changes["overrides"]}
    return train(options(**changes), out, lambda each: data or SyntheticData(each.seed))


def rows(out: Path, kind: str) -> list[dict]:
    return read_metrics(out / "training" / "metrics.jsonl", kind)


def state(out: Path) -> dict:
    return TrainingDirectory(out).load_state()


def record(out: Path) -> dict:
    return json.loads((out / "training.json").read_text())


@pytest.mark.parametrize("policy", ["act", "flow"])
def test_a_policy_learns_the_rule_and_acts_by_it(policy: str, tmp_path: Path):
    data = SyntheticData(0, training=300)
    run(
        tmp_path / "out",
        data,
        policy=policy,
        steps=200,
        batch_size=16,
        lr=5e-3,
        ema="0.9",
        val_every=50,
        save_every=100,
    )
    losses = [row["loss"] for row in rows(tmp_path / "out", "validation")]
    assert losses[-1] < 0.6 * losses[0]
    trained = load_policy(tmp_path / "out", device="cpu")
    errors, spread = [], []
    for sample in SyntheticData(0).validation(trained.config, samples=9, shard=Shard()):
        observation = {key: value.numpy() for key, value in sample.items() if key.startswith("observation")}
        errors.append(np.abs(trained.predict(observation) - sample["action"].numpy()).mean())
        spread.append(sample["action"].abs().mean())
    assert np.mean(errors) < 0.5 * np.mean(spread)


def test_all_parts_of_the_loss_are_recorded_with_the_learning_rate(tmp_path: Path):
    run(tmp_path / "out", steps=6, log_every=2, val_every=3)
    assert [row["step"] for row in rows(tmp_path / "out", "training")] == [2, 4, 6]
    assert set(rows(tmp_path / "out", "training")[0]) == {"step", "kind", "loss", "l1_loss", "kld_loss", "lr"}
    assert [(row["step"], set(row)) for row in rows(tmp_path / "out", "validation")] == [
        (3, {"step", "kind", "loss", "l1_loss"}),
        (6, {"step", "kind", "loss", "l1_loss"}),
    ]


def test_the_last_step_is_validated_and_saved_whatever_the_intervals(tmp_path: Path):
    result = run(tmp_path / "out", steps=7, val_every=5, save_every=5)
    assert [row["step"] for row in rows(tmp_path / "out", "validation")] == [5, 7]
    assert state(tmp_path / "out")["step"] == result.step == 7
    assert result.newest == Score(7, rows(tmp_path / "out", "validation")[-1]["loss"])


def test_the_best_policy_is_kept_beside_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    measured = iter([0.5, 0.2, 0.3])
    monkeypatch.setattr("policy_ros.training.validation.Validation.run", lambda *_: {"loss": next(measured)})
    weights: dict[int, torch.Tensor] = {}

    def watch(report) -> None:
        best = out / "best" / "model.safetensors"
        weights[report.step] = best.read_bytes() if best.exists() else b""

    out = tmp_path / "out"
    result = train(options(steps=12, val_every=4), out, lambda each: SyntheticData(each.seed), watch=watch)
    assert result.best == Score(8, 0.2)
    assert weights[4] != weights[8] == weights[12]
    assert (out / "model.safetensors").read_bytes() != weights[12]
    load_policy(out / "best", device="cpu")


def test_the_best_policy_is_the_one_that_succeeds_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rates = iter([0.4, 0.8, 0.8])
    monkeypatch.setattr("policy_ros.training.rollouts.Rollouts.check", lambda *_: None)
    monkeypatch.setattr("policy_ros.training.rollouts.Rollouts.success_rate", lambda *_: next(rates))
    losses = iter([0.1, 0.5, 0.6])
    monkeypatch.setattr("policy_ros.training.validation.Validation.run", lambda *_: {"loss": next(losses)})
    result = run(tmp_path / "out", steps=12, val_every=4, rollouts=5, rollout_every=4, rollout_env="any")
    assert result.best == Score(8, 0.5, 0.8)
    assert [row["success_rate"] for row in rows(tmp_path / "out", "rollouts")] == [0.4, 0.8, 0.8]


@pytest.mark.parametrize(
    ("one", "other", "better"),
    [
        (Score(2, 0.1), None, True),
        (Score(2, 0.1), Score(1, 0.2), True),
        (Score(2, 0.2), Score(1, 0.2), False),
        (Score(2, 0.3, 0.9), Score(1, 0.1), True),
        (Score(2, 0.1), Score(1, 0.3, 0.0), False),
        (Score(2, 0.1, 0.5), Score(1, 0.2, 0.5), True),
        (Score(2, None, 0.5), Score(1, None, 0.6), False),
        (Score(2, 9.0, 0.0, phase=1), Score(1, 0.1, 1.0), True),
        (Score(2, 0.1, 1.0), Score(1, 9.0, 0.0, phase=1), False),
        (Score(2, float("nan")), Score(1, 0.2), False),
    ],
)
def test_success_counts_before_loss_and_the_earlier_of_two_equals_stays(one: Score, other, better: bool):
    assert one.beats(other) is better


def test_the_average_is_what_is_saved_and_the_raw_weights_stay_in_the_state(tmp_path: Path):
    run(tmp_path / "out", policy="flow", steps=6)
    saved, kept = load_policy(tmp_path / "out", device="cpu").state_dict(), state(tmp_path / "out")
    for name, value in saved.items():
        assert torch.equal(value, kept["average"]["module." + name]), name
    assert any(not torch.equal(value, kept["policy"][name]) for name, value in saved.items())
    assert int(kept["average"]["n_averaged"]) == 6


def test_without_an_average_the_weights_themselves_are_saved(tmp_path: Path):
    run(tmp_path / "out", policy="flow", steps=3, ema="none")
    saved, kept = load_policy(tmp_path / "out", device="cpu").state_dict(), state(tmp_path / "out")
    assert kept["average"] is None
    assert all(torch.equal(value, kept["policy"][name]) for name, value in saved.items())


def test_the_record_says_all_that_is_needed_to_do_it_again(tmp_path: Path):
    run(tmp_path / "one", steps=5, seed=3)
    kept = record(tmp_path / "one")
    assert set(kept) == {"options", "policy", "optimization", "ema", "dataset", "versions"}
    assert {"python", "torch", "lightning", "policy_ros"} <= set(kept["versions"])
    run(tmp_path / "two", **kept["options"])
    assert rows(tmp_path / "one", "validation") == rows(tmp_path / "two", "validation")
    run(tmp_path / "three", **{**kept["options"], "seed": 4})
    assert rows(tmp_path / "one", "validation") != rows(tmp_path / "three", "validation")


def test_relative_actions_have_statistics_and_processors_of_their_own(tmp_path: Path):
    run(tmp_path / "out", steps=2, relative=True, relative_exclude=["elbow"])
    trained = load_policy(tmp_path / "out", device="cpu")
    assert trained.relative.mask == (True, False)
    assert trained.relative.action_names == JOINTS
    mean = trained.normalization.statistics()["action"]["mean"]
    assert mean[0] < -8 < mean[1]  # states lie around 10


def test_a_joint_that_there_is_not_cannot_be_left_out(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"'gripper' is no joint; expected some of shoulder, elbow"):
        run(tmp_path / "out", relative=True, relative_exclude=["gripper"])
    assert not (tmp_path / "out").exists()


def test_without_validation_samples_there_is_no_best_policy(tmp_path: Path):
    result = run(tmp_path / "out", SyntheticData(0, validation=0), steps=4)
    assert (result.newest, result.best) == (None, None)
    assert not (tmp_path / "out" / "best").exists()
    load_policy(tmp_path / "out", device="cpu")


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(ConfigurationError, match=r"expected a new or empty directory; --resume .* --overwrite"):
        run(tmp_path)
    with pytest.raises(ConfigurationError, match=r"expected a training .* found other things"):
        train(options(), tmp_path, lambda each: SyntheticData(0), overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years"


def test_overwriting_removes_the_old_training_and_nothing_else(tmp_path: Path):
    out = tmp_path / "out"
    run(out, steps=8)
    (out / "notes.txt").write_text("mine")
    train(options(steps=3, val_every=9), out, lambda each: SyntheticData(0, validation=0), overwrite=True)
    assert [row["step"] for row in read_metrics(out / "training" / "metrics.jsonl")] == [1, 2, 3]
    assert state(out)["step"] == 3
    assert not (out / "best").exists()
    assert (out / "notes.txt").read_text() == "mine"


def test_options_that_cannot_work_leave_an_old_training_alone(tmp_path: Path):
    run(tmp_path / "out", steps=3)
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    with pytest.raises(ConfigurationError, match="dim_model"):
        train(options(overrides={"dim_model": 7}), tmp_path / "out", lambda each: SyntheticData(0), overwrite=True)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_step_with_everything_saved(number: signal.Signals, tmp_path: Path):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    def watch(report) -> None:
        if report.step == 4:
            signal.raise_signal(number)

    result = train(options(), tmp_path / "out", lambda each: SyntheticData(0), watch=watch)
    assert (result.signal, result.step) == (number, 5)
    assert state(tmp_path / "out")["step"] == 5
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_loss_that_is_not_finite_ends_it_with_the_step(tmp_path: Path):
    class Broken(SyntheticData):
        def training(self, config, **where):
            for sample in super().training(config, **where):
                if sample["index"] == 5:
                    sample["observation.environment_state"][0] = float("nan")
                yield sample

    with pytest.raises(TrainingError, match=r"step \d+: expected a finite loss, got loss nan.*lower --lr"):
        run(tmp_path / "out", Broken(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "16-mixed"}, "expected 32 or bf16-mixed on a CPU"),
        ({"accelerator": "gpu"}, "torch finds none here"),
    ],
)
def test_hardware_that_is_not_there_is_not_replaced_silently(changes, message: str, tmp_path: Path):
    if torch.cuda.is_available() and "accelerator" in changes:
        pytest.skip("there is a GPU here")
    with pytest.raises(ConfigurationError, match=message):
        run(tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_mixed_precision_trains_and_saves_full_weights(tmp_path: Path):
    run(tmp_path / "half", steps=4, precision="bf16-mixed")
    run(tmp_path / "full", steps=4)
    first = [rows(tmp_path / name, "training")[0]["loss"] for name in ("half", "full")]  # of the same weights
    assert first[0] != first[1]
    assert first[0] == pytest.approx(first[1], rel=0.02)
    assert {value.dtype for value in load_policy(tmp_path / "half", device="cpu").state_dict().values()} == {
        torch.float32
    }


def test_gradients_are_clipped(tmp_path: Path):
    # Adam's step hardly depends on the gradient's size, so this one is of the size of its epsilon.
    moved = {}
    for name, clip in (("free", 0.0), ("bound", 1e-10)):
        plain = {"optimizer_weight_decay": 0.0}
        start = run(tmp_path / f"{name}-start", steps=1, lr=1e-12, grad_clip=clip, overrides=plain)
        end = run(tmp_path / name, steps=1, lr=1e-3, grad_clip=clip, overrides=plain)
        before, after = (load_policy(each.out, device="cpu").state_dict() for each in (start, end))
        moved[name] = max(float((after[key] - before[key]).abs().max()) for key in before)
    assert record(tmp_path / "free")["optimization"]["grad_clip"] is None
    assert moved["free"] == pytest.approx(1e-3, rel=0.01)
    assert moved["bound"] < 1e-4


def test_an_error_of_a_reading_process_is_one_line(tmp_path: Path):
    class Broken(SyntheticData):
        def training(self, config, **where):
            raise TrainingError("bag demo: topic joint_states has another order")
            yield

    with pytest.raises(TrainingError) as caught:
        run(tmp_path / "out", Broken(0), workers=1)
    assert str(caught.value) == "bag demo: topic joint_states has another order"


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_convolutions_of_a_fresh_policy_are_worth_a_note(freeze: bool):
    from policy_ros.policies.sac.config import GaussianActorConfig

    features = {"observation.image": {"type": "VISUAL", "shape": [3, 64, 64]}}
    actions = {"action": {"type": "ACTION", "shape": [2]}}
    given = {"input_features": features, "output_features": actions, "freeze_vision_encoder": freeze}
    advice = backbone_advice(GaussianActorConfig.from_dict(given))
    assert ("freeze_vision_encoder=false" in advice) is freeze


def test_a_pretrained_backbone_without_its_weights_is_worth_a_note():
    from support.synthetic_data import FEATURES, TINY_ACT

    from policy_ros.data import FeatureSpec
    from policy_ros.policies import make_policy
    from policy_ros.training.policy_options import policy_options

    camera = {**FEATURES, "observation.images.top": FeatureSpec(FeatureType.VISUAL, (3, 32, 32))}
    for norm, advised in (("frozen_batch_norm", True), ("group_norm", False)):
        overrides = {**TINY_ACT, "backbone_norm": norm, "backbone_stages": 1}
        config = make_policy("act", policy_options(options(overrides=overrides), camera), device="cpu").config
        assert ("backbone_norm=group_norm" in backbone_advice(config)) is advised
