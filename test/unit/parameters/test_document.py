# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_parameter_table_in_docs_is_what_the_schema_says():
    script = runpy.run_path(str(ROOT / "scripts" / "parameter_table.py"), run_name="parameter_table")
    assert (ROOT / "docs" / "parameters.md").read_text() == script["document"](), "run `make docs-table`"
