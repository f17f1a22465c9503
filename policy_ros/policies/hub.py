# SPDX-License-Identifier: Apache-2.0
"""Checkpoints from the Hugging Face hub: pinned to a commit, safetensors and JSON only, offline once cached."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from types import ModuleType

from policy_ros.errors import CheckpointError, ConfigurationError
from policy_ros.policies.checkpoint import CONFIG_FILE, WEIGHTS_FILE

ALLOWED_FILES = ("*.safetensors", "*.json")

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")

_logger = logging.getLogger(__name__)


def is_local(path_or_hub_id: str) -> bool:
    """Whether a checkpoint's address is a path: it exists, starts like one, or cannot be a repository's name."""
    starts_like_path = path_or_hub_id.startswith(("/", ".", "~"))
    return starts_like_path or os.path.exists(path_or_hub_id) or not _REPOSITORY.fullmatch(path_or_hub_id)


def fetch_checkpoint(repository: str, revision: str | None) -> Path:
    """Directory of a repository's snapshot, downloaded unless the commit is in the cache already.

    Args:
        repository: ``owner/name``.
        revision: a commit hash. A branch or tag works too, with a warning that names the commit it stands for today.

    Raises:
        ConfigurationError: no revision, or the hub's client is not installed.
        CheckpointError: not in the cache and not downloadable.
    """
    if not revision:
        raise ConfigurationError(
            f"'{repository}' is no directory here, and as a hub repository it needs a revision: "
            "expected a commit hash, got none"
        )
    hub = _client()
    commit = revision if _COMMIT.fullmatch(revision) else _resolve(hub, repository, revision)
    cached = _snapshot(hub, repository, commit, local_files_only=True)
    # An interrupted download leaves a snapshot without all of its files.
    if cached is not None and all((cached / name).exists() for name in (CONFIG_FILE, WEIGHTS_FILE)):
        return cached
    fetched = _snapshot(hub, repository, commit, local_files_only=False)
    assert fetched is not None
    return fetched


def _resolve(hub: ModuleType, repository: str, revision: str) -> str:
    """Commit that a branch or tag stands for: on the hub, or when that cannot be reached, in the cache."""
    commit: str
    try:
        commit, source = hub.HfApi().model_info(repository, revision=revision).sha, "hub"
    except Exception as error:
        cached = _snapshot(hub, repository, revision, local_files_only=True)
        if cached is None:
            raise _failure(repository, revision, error) from error
        commit, source = cached.name, "local cache, the hub was not reachable"
    _logger.warning(
        "%s: revision '%s' can move; today it is commit %s (%s). Use that hash as the revision",
        repository,
        revision,
        commit,
        source,
    )
    return commit


def _snapshot(hub: ModuleType, repository: str, revision: str, *, local_files_only: bool) -> Path | None:
    """Snapshot directory; None if only the cache was asked and does not have it."""
    try:
        return Path(
            hub.snapshot_download(
                repository, revision=revision, allow_patterns=list(ALLOWED_FILES), local_files_only=local_files_only
            )
        )
    except Exception as error:
        if local_files_only and isinstance(error, hub.errors.LocalEntryNotFoundError):
            return None
        raise _failure(repository, revision, error) from error


def _failure(repository: str, revision: str, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:200]
    return CheckpointError(f"hub repository '{repository}' at '{revision}': cannot be fetched: {reason}")


def _client() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise ConfigurationError(
            "checkpoints from the hub need a package that is not installed: pip install huggingface_hub"
        ) from None
    return huggingface_hub
