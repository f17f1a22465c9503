# SPDX-License-Identifier: Apache-2.0
"""The registry of metrics and docs/replay-metrics.md say the same."""

from __future__ import annotations

import re
from pathlib import Path

from support.replay_traces import make_trace

from policy_ros.replay.metrics import DEFINITIONS, definitions_by_name, measure, metric_names, summarize

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "replay-metrics.md").read_text()
JOINTS = ("joint_1", "joint_2", "joint_3")


def test_the_table_is_that_of_the_registry():
    expected = [
        f"| `{each.name}` | {each.unit} | {each.better.value} | {each.counted} "
        f"| [{each.section}](#{each.section.lower().replace(' ', '-')}) |"
        for each in DEFINITIONS
    ]
    documented = [line for line in DOCUMENT.partition("## All metrics")[2].splitlines() if line.startswith("| `")]
    assert documented == expected


def test_every_section_exists():
    headings = set(re.findall(r"^## (.+)$", DOCUMENT, re.M))
    assert {each.section for each in DEFINITIONS} <= headings


def test_no_name_is_there_twice():
    names = [name for definition in DEFINITIONS for name, _ in definition.expand(JOINTS)]
    assert len(names) == len(set(names)) == len(metric_names(JOINTS))


def test_a_summary_has_exactly_the_metrics_of_the_registry_in_its_units():
    values = summarize([measure(make_trace())]).values()
    assert list(values) == metric_names(JOINTS)
    definitions = definitions_by_name(JOINTS)
    assert all(value.unit == definitions[name].unit for name, value in values.items())


def test_metrics_of_joints_carry_their_names():
    assert {"mae.elbow", "mae@10.elbow", "seam_jump.max.elbow", "gate.clamped.elbow"} <= set(metric_names(("elbow",)))
    assert not [name for name in metric_names(JOINTS) if "<" in name]
