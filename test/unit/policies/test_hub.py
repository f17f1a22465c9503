# SPDX-License-Identifier: Apache-2.0
"""The hub's cache layout made by hand; the network is never asked."""

from __future__ import annotations

import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from policy_ros.errors import CheckpointError, ConfigurationError
from policy_ros.policies import hub, load_policy

huggingface_hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(monkeypatch, tmp_path, saved) -> SimpleNamespace:
    """A hub cache that holds the saved checkpoint as someone/act at COMMIT, its branch main pointing there."""
    repository = tmp_path / "hub" / "models--someone--act"
    shutil.copytree(saved, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    download = huggingface_hub.snapshot_download
    calls: list[dict] = []

    def offline(repo_id, **options):
        calls.append(options)
        if not options["local_files_only"]:
            raise ConnectionError("no network\nin this test")
        return download(repo_id, cache_dir=tmp_path / "hub", **options)

    class Unreachable:
        def model_info(self, *_, **__):
            raise ConnectionError("no network\nin this test")

    client = SimpleNamespace(snapshot_download=offline, HfApi=Unreachable, errors=huggingface_hub.errors)
    monkeypatch.setattr(hub, "_client", lambda: client)
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(repository=repository, calls=calls, client=client)


def test_a_cached_commit_loads_without_the_network(cache, saved, observe):
    policy = load_policy("someone/act", revision=COMMIT, device="cpu")
    np.testing.assert_array_equal(policy.predict(observe(0)), load_policy(saved, device="cpu").predict(observe(0)))
    assert [call["local_files_only"] for call in cache.calls] == [True]


def test_fault_14_only_safetensors_and_json_are_asked_for(cache):
    load_policy("someone/act", revision=COMMIT, device="cpu")
    assert cache.calls[0]["allow_patterns"] == ["*.safetensors", "*.json"]


def test_a_revision_is_required(cache):
    with pytest.raises(ConfigurationError, match="no directory here.*needs a revision: expected a commit hash"):
        load_policy("someone/act", device="cpu")
    assert not cache.calls


def test_a_branch_warns_with_the_commit_it_stands_for(cache, caplog):
    cache.client.HfApi = lambda: SimpleNamespace(model_info=lambda *_, **__: SimpleNamespace(sha=COMMIT))
    with caplog.at_level(logging.WARNING):
        load_policy("someone/act", revision="main", device="cpu")
    assert f"revision 'main' can move; today it is commit {COMMIT} (hub)" in caplog.text


def test_a_cached_branch_loads_offline_with_the_warning(cache, caplog):
    with caplog.at_level(logging.WARNING):
        load_policy("someone/act", revision="main", device="cpu")
    assert COMMIT in caplog.text and "not reachable" in caplog.text


def test_an_unfinished_download_is_fetched_again(cache):
    (cache.repository / "snapshots" / COMMIT / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be fetched: no network in this test"):
        load_policy("someone/act", revision=COMMIT, device="cpu")
    assert [call["local_files_only"] for call in cache.calls] == [True, False]


@pytest.mark.parametrize(("repository", "revision"), [("someone/other", "main"), ("someone/act", "f" * 40)])
def test_a_revision_that_cannot_be_reached_is_one_line(cache, repository, revision):
    with pytest.raises(CheckpointError, match=f"'{repository}' at '{revision}': cannot be fetched") as caught:
        load_policy(repository, revision=revision, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["/no/where", "./someone/act", "../act", "~/act", "a/b/c", "act", ""])
def test_what_looks_like_a_path_is_never_sent_to_the_hub(cache, path):
    with pytest.raises(CheckpointError, match="expected a checkpoint directory"):
        load_policy(path, device="cpu")
    assert not cache.calls


def test_a_directory_that_exists_wins_over_a_repository_of_its_name(cache, saved, tmp_path):
    shutil.copytree(saved, tmp_path / "someone" / "act")
    load_policy("someone/act", device="cpu")
    assert not cache.calls


def test_a_revision_for_a_path_is_out_of_place(cache, saved):
    with pytest.raises(ConfigurationError, match="revision: expected none for the local path"):
        load_policy(saved, revision=COMMIT, device="cpu")
