# SPDX-License-Identifier: Apache-2.0
"""Numbers that say how a policy did on a recording; docs/replay-metrics.md defines each."""

from __future__ import annotations

from policy_ros.replay.metrics.conditions import Condition, failures, parse_condition
from policy_ros.replay.metrics.definition import Better, Definition
from policy_ros.replay.metrics.definitions import DEFINITIONS, definitions_by_name, metric_names
from policy_ros.replay.metrics.episode import EpisodeMetrics, measure
from policy_ros.replay.metrics.order import SuspectedOrder
from policy_ros.replay.metrics.summary import Summary, Value, summarize

__all__ = [
    "DEFINITIONS",
    "Better",
    "Condition",
    "Definition",
    "EpisodeMetrics",
    "Summary",
    "SuspectedOrder",
    "Value",
    "definitions_by_name",
    "failures",
    "measure",
    "metric_names",
    "parse_condition",
    "summarize",
]
