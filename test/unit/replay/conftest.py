# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from support.checkpoints import write_act


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny policy for the recordings of ``support.replays``."""
    return write_act(tmp_path_factory.mktemp("policy") / "act", joints=2, chunk_size=10)
