# SPDX-License-Identifier: Apache-2.0
"""What is told of a policy that is to take over before anything of it is loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
from support.checkpoints import CAMERA, JOINTS, write_act, write_flow

from policy_ros.errors import CheckpointError, PolicyRosError
from policy_ros.parameters.candidate import check_candidate
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.schema import read
from policy_ros.policies import POLICY_REGISTRY
from policy_ros.policies.act.policy import ACTPolicy

KNOWN = frozenset(POLICY_REGISTRY.names())


@pytest.fixture(scope="module", autouse=True)
def _code_is_there() -> None:
    POLICY_REGISTRY.import_built_ins()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    write_act(folder / "act")
    write_flow(folder / "flow")
    return folder


@pytest.fixture
def spoilt(shelf: Path, tmp_path: Path) -> Path:
    """A copy of the ACT checkpoint to spoil."""
    return Path(shutil.copytree(shelf / "act", tmp_path / "spoilt"))


def check(path: Path | str, known: frozenset[str] = KNOWN, **changes: object) -> None:
    values = {"policy.path": str(path), "joints.names": list(JOINTS)}
    values.update({name.replace("__", "."): value for name, value in changes.items()})
    check_candidate(read(NodeParameters, values), known)


def refusal(path: Path | str, known: frozenset[str] = KNOWN, **changes: object) -> str:
    with pytest.raises(PolicyRosError) as caught:
        check(path, known, **changes)
    return str(caught.value)


def change(path: Path, **changes: object) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changes}))


def test_a_checkpoint_that_fits_is_let_through_without_a_network_being_made(shelf, monkeypatch):
    from policy_ros.policies.act.policy import ACTPolicy

    monkeypatch.setattr(ACTPolicy, "__init__", lambda *_: pytest.fail("a network was made"))
    check(shelf / "act")


def test_fault_34_directories_that_are_not_there_or_not_allowed_look_the_same_from_outside(shelf, tmp_path):
    assert "found nothing" in refusal(shelf / "nothing", policy__roots=[str(shelf)])
    (tmp_path / "elsewhere").mkdir()
    for path in (tmp_path / "elsewhere", tmp_path / "nowhere", shelf / ".." / "elsewhere"):
        assert "expected a path inside" in refusal(path, policy__roots=[str(shelf)])


def test_fault_34_a_link_out_of_the_roots_is_refused(shelf, spoilt, tmp_path):
    roots = tmp_path / "roots"
    roots.mkdir()
    (roots / "link").symlink_to(spoilt)
    assert "links are followed" in refusal(roots / "link", policy__roots=[str(roots)])


def test_fault_34_pickles_are_refused_under_whatever_name(spoilt):
    (spoilt / "model.safetensors").write_bytes(pickle.dumps({"weights": 1}))
    assert "pickle" in refusal(spoilt)
    (spoilt / "model.safetensors").unlink()
    (spoilt / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": 1}))
    assert "never loaded" in refusal(spoilt)


@pytest.mark.parametrize("kept", [0, 4, 100, -1], ids=["empty", "half a length", "half a header", "one byte less"])
def test_fault_34_truncated_weights_are_refused(spoilt, kept):
    with (spoilt / "model.safetensors").open("r+b") as file:
        file.truncate(kept if kept >= 0 else file.seek(0, 2) - 1)
    assert "model.safetensors" in refusal(spoilt)


@pytest.mark.parametrize("kind", ["nonesuch", None, 7, "../act", "policy_ros.policies.act.policy:ACTPolicy"])
def test_fault_34_types_that_are_not_registered_are_refused_by_name(spoilt, kind):
    change(spoilt, type=kind)
    assert "expected 'type' to name a registered policy" in refusal(spoilt)


def test_fault_34_a_configuration_that_is_no_json_or_has_other_options_is_refused(spoilt):
    change(spoilt, dim_modle=4)
    assert "dim_modle" in refusal(spoilt)
    (spoilt / "config.json").write_text("{")
    assert "expected JSON" in refusal(spoilt)


def test_fault_34_another_number_of_joints_is_refused(shelf):
    assert "expected 3 joints for the checkpoint's 'action', got 2" in refusal(
        shelf / "act", joints__names=["shoulder", "elbow"]
    )


def test_the_number_of_joints_is_checked_for_a_plug_in_whose_code_was_never_imported(spoilt):
    change(spoilt, type="somebodys_plug_in")
    known = KNOWN | {"somebodys_plug_in"}
    check(spoilt, known)
    assert "expected 3 joints" in refusal(spoilt, known, joints__names=["shoulder", "elbow"])


def test_cameras_that_the_policy_does_not_look_at_are_refused_unless_they_are_optional(shelf):
    assert "cameras.side.optional" in refusal(shelf / "act", cameras__side__topic="/side")
    check(shelf / "act", cameras__side__topic="/side", cameras__side__optional=True)
    check(shelf / "act", **{f"cameras__{CAMERA}__topic": "/front"})


def test_a_mode_that_the_policy_cannot_do_is_refused(shelf):
    assert "expected a policy that can be guided" in refusal(shelf / "act", execution__mode="rtc")
    check(shelf / "flow", execution__mode="rtc")


def test_the_type_must_be_that_of_the_checkpoint_where_it_is_set(shelf):
    assert "expected 'flow', but the checkpoint" in refusal(shelf / "act", policy__type="flow")


def test_a_hub_id_needs_a_revision_and_no_roots(shelf):
    assert "expected the commit hash" in refusal("somebody/act")
    assert "inside policy.roots" in refusal("somebody/act", policy__roots=[str(shelf)])
    check("somebody/act", policy__revision="0" * 40)


def test_fresh_weights_are_checked_by_their_name_only():
    assert "expected a checkpoint directory or hub id, got nothing" in refusal("")
    assert "'nonesuch' is not registered" in refusal("", policy__allow_untrained=True, policy__type="nonesuch")
    check("", policy__allow_untrained=True, policy__type="act")


class ElsewherePolicy(ACTPolicy):
    """Its network is not in ``model.safetensors``."""

    name = "elsewhere"

    @classmethod
    def check_files(cls, path, config):
        if not (path / "network.bin").exists():
            raise CheckpointError(f"{path}: expected network.bin")


@pytest.fixture
def elsewhere(spoilt: Path) -> Path:
    """A checkpoint of a plug-in's policy that reads its network by itself."""
    (spoilt / "model.safetensors").unlink()
    change(spoilt, type="elsewhere")
    return spoilt


def test_a_policy_that_reads_its_network_by_itself_says_which_files_it_needs(elsewhere, monkeypatch):
    monkeypatch.setitem(POLICY_REGISTRY._classes, "elsewhere", ElsewherePolicy)
    known = KNOWN | {"elsewhere"}
    assert "expected network.bin" in refusal(elsewhere, known)
    (elsewhere / "network.bin").write_bytes(b"weights")
    check(elsewhere, known)


def test_a_plug_in_whose_code_was_never_imported_may_have_its_network_anywhere_but_in_a_pickle(elsewhere):
    known = KNOWN | {"elsewhere"}
    check(elsewhere, known)
    (elsewhere / "network.pt").write_bytes(pickle.dumps({}))
    assert "never loaded" in refusal(elsewhere, known)


def test_an_exported_model_must_be_there(spoilt):
    values = json.loads((spoilt / "config.json").read_text())
    kept = ("input_features", "output_features", "normalization_mapping", "chunk_size", "n_action_steps")
    (spoilt / "config.json").write_text(json.dumps({"type": "exported", **{key: values[key] for key in kept}}))
    assert "expected an exported model in 'model.onnx'" in refusal(spoilt)
    (spoilt / "model.onnx").write_bytes(b"graph")
    check(spoilt)
