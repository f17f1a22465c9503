# SPDX-License-Identifier: Apache-2.0
"""Pictures of the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from policy_ros.cli.main import main

ARGUMENTS = ["bench", "execution", "--modes", "sync,blend", "--delays", "0,200", "--episodes", "1", "--json", "--plots"]


def test_a_picture_of_each_mode_and_a_summary_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*ARGUMENTS, str(tmp_path)]) == 0
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(files) == {"execution_stub_sync.png", "execution_stub_blend.png", "execution_stub_summary.png"}
    for name, content in files.items():
        assert content.startswith(b"\x89PNG"), name
        assert 10_000 < len(content) < 150_000, name
    assert capsys.readouterr().out.count("\n") == 1


def test_without_matplotlib_plots_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([*ARGUMENTS, str(tmp_path / "plots")]) == 2
    captured = capsys.readouterr()
    assert "pip install" in captured.err
    assert captured.out == ""
    assert not (tmp_path / "plots").exists()
