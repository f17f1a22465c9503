# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io

import pytest

from policy_ros.training.bars import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_a_bar_is_drawn_on_a_terminal_only(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("tqdm", reason="needs tqdm (extra train)")
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bar("bags") as progress:
        for share in (0.25, 0.5, 1.0):
            progress(share)
    drawn = stream.getvalue()
    assert ("bags" in drawn) == stream.isatty()
