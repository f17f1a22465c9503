# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest
from support.bags import STORE, Recording, header, ns
from support.replays import record

from policy_ros.errors import ConfigurationError
from policy_ros.replay.delays import LATENCIES_KEY, STATUS_TYPE, DelayKind, parse_delay


@pytest.mark.parametrize(
    ("text", "seconds"), [("120ms", 0.12), ("0.5s", 0.5), ("0 ms", 0.0), (".2s", 0.2), ("1.5ms", 0.0015)]
)
def test_a_duration_is_a_fixed_delay(text, seconds):
    delay = parse_delay(text)
    assert delay.kind is DelayKind.FIXED and delay.fixed_s == pytest.approx(seconds) and delay.repeatable
    assert delay.durations(np.random.default_rng(0))(99.0) == round(seconds * 1e9)


def test_measured_lasts_as_long_as_it_took(tmp_path):
    delay = parse_delay("measured")
    assert delay.durations(np.random.default_rng(0))(0.25) == 250_000_000 and not delay.repeatable


@pytest.mark.parametrize("text", ["", "120", "-5ms", "fast", "1e3ms", "nan s"])
def test_anything_else_is_refused_with_what_is_possible(text):
    with pytest.raises(ConfigurationError, match="120ms"):
        parse_delay(text)


def test_durations_of_an_earlier_run_are_drawn_repeatably(tmp_path):
    file = tmp_path / "run.json"
    file.write_text(json.dumps({LATENCIES_KEY: [0.01, 0.02, 0.4]}))
    delay = parse_delay(str(file))
    drawn = [[delay.durations(np.random.default_rng(seed))(0.0) for _ in range(3)] for seed in (1, 1, 2)]
    sequence = delay.durations(np.random.default_rng(0))
    assert drawn[0] == drawn[1]
    assert {sequence(0.0) for _ in range(100)} == {10_000_000, 20_000_000, 400_000_000}
    assert "median 20 ms" in delay.describe() and "run.json" in delay.describe()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"inference_latencies_s": []}', '{"inference_latencies_s": [0.1, -1]}']
)
def test_a_file_without_durations_is_refused_by_name(tmp_path, content):
    file = tmp_path / "run.json"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"run\.json"):
        parse_delay(str(file))


def status(chunks: int, latency_s: float):
    type_ = STORE.types[STATUS_TYPE]
    empty = {"string": "", "bool": False}
    values = {}
    for name, (kind, detail) in STORE.fielddefs[STATUS_TYPE][1]:
        if name == "header":
            values[name] = header(ns(0.0))
        elif kind.name == "BASE":
            values[name] = empty.get(detail[0], 0)
        else:
            base = detail[0][1][0]
            values[name] = (
                [] if base == "string" else np.zeros(0, dtype={"float64": float, "bool": bool}.get(base, np.uint64))
            )
    return type_(**{**values, "chunks": chunks, "inference_latency": latency_s})


def test_the_status_of_a_recorded_node_says_how_long_its_inferences_took(tmp_path):
    with Recording(tmp_path / "bag") as bag:
        for i, (chunks, latency_s) in enumerate([(0, 0.0), (1, 0.031), (1, 0.031), (2, 0.045), (2, 0.045), (4, 0.08)]):
            bag.add("/policy/status", ns(0.1 * i), status(chunks, latency_s))
    assert parse_delay(str(tmp_path / "bag")).samples_s == pytest.approx((0.031, 0.045, 0.08))


def test_a_bag_without_a_status_is_refused_by_name(tmp_path):
    bag = record(tmp_path / "bag", 0.2)
    with pytest.raises(ConfigurationError, match="PolicyStatus") as refusal:
        parse_delay(str(bag))
    assert str(bag) in str(refusal.value)
