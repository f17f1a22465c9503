# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from policy_ros.errors import CheckpointError
from policy_ros.policies.roots import resolve_checkpoint


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "act").mkdir(parents=True)
    (tmp_path / "root" / "act" / "config.json").write_text("{}")
    (tmp_path / "rooted").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "model.safetensors").write_text("")
    return tmp_path / "root"


def test_a_checkpoint_inside_a_root_is_resolved(root, tmp_path):
    assert resolve_checkpoint(root / "act" / ".." / "act", [tmp_path / "other", root]) == root / "act"


def test_without_roots_every_path_is_allowed(root, tmp_path):
    assert resolve_checkpoint(tmp_path / "secret", []) == tmp_path / "secret"


@pytest.mark.parametrize("path", ["../secret", "act/../../secret", "../rooted", "../does-not-exist", "/etc"])
def test_a_path_that_leads_out_is_refused(root, path):
    with pytest.raises(CheckpointError, match="expected a path inside"):
        resolve_checkpoint(root / path, [root])


def test_a_directory_link_that_leads_out_is_refused(root, tmp_path):
    (root / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match="expected a path inside"):
        resolve_checkpoint(root / "link", [root])


def test_a_file_link_that_leads_out_is_refused(root, tmp_path):
    (root / "act" / "model.safetensors").symlink_to(tmp_path / "secret" / "model.safetensors")
    with pytest.raises(CheckpointError, match="links are followed"):
        resolve_checkpoint(root / "act", [root])


def test_a_link_that_stays_inside_is_followed(root):
    (root / "current").symlink_to(root / "act")
    assert resolve_checkpoint(root / "current", [root]) == root / "act"


def test_a_root_may_itself_be_a_link(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    assert resolve_checkpoint(tmp_path / "alias" / "act", [tmp_path / "alias"]) == root / "act"


def test_nothing_there_is_said(root):
    with pytest.raises(CheckpointError, match="found nothing"):
        resolve_checkpoint(root / "missing", [root])
