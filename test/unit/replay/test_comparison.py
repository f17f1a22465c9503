# SPDX-License-Identifier: Apache-2.0
"""Two replays side by side: what pairs, what is refused, and what a difference is worth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.replay_traces import make_trace, make_traces

from policy_ros.replay.comparison import ComparisonError, Verdict, compare, read_result
from policy_ros.replay.metrics import failures, measure, parse_condition, summarize
from policy_ros.replay.result import BagResult, ReplayResult

HARDNESS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)


def result_of(*traces, bags=("made_up",)) -> ReplayResult:
    """A replay of these episodes; ``bags`` also names bags of which nothing could be evaluated."""
    episodes = [measure(trace) for trace in traces]
    rows = [BagResult(f"/data/{bag}", tuple(each for each in episodes if each.bag == bag)) for bag in bags]
    return ReplayResult({"path": "p", "type": "act"}, {"mode": "overlap", "seed": 0}, tuple(rows))


def of_errors(*errors, **options) -> ReplayResult:
    """An episode for each constant error."""
    return result_of(*(make_trace(index=i, ticks=100, error=e, **options) for i, e in enumerate(errors)))


def by_name(comparison):
    return {metric.name: metric for metric in comparison.metrics}


def test_a_difference_that_every_episode_has_is_clear_however_much_episodes_differ():
    a, b = of_errors(*HARDNESS), of_errors(*(error + 0.01 for error in HARDNESS))
    mae = by_name(compare(a, b))["mae"]
    assert mae.difference.value == pytest.approx(0.01, abs=1e-5)
    assert (mae.difference.low, mae.difference.high) == pytest.approx((0.01, 0.01), abs=1e-5)
    assert mae.verdict is Verdict.WORSE
    assert mae.a.high > mae.b.low, "the intervals of the two alone would not tell"
    assert by_name(compare(b, a))["mae"].verdict is Verdict.BETTER


def test_a_difference_that_goes_either_way_is_not_clear():
    a, b = of_errors(*HARDNESS), of_errors(*reversed(HARDNESS))
    mae = by_name(compare(a, b))["mae"]
    assert mae.difference.value == pytest.approx(0.0, abs=1e-6)
    assert mae.verdict is Verdict.UNCLEAR


def test_a_replay_does_not_differ_from_itself():
    a = of_errors(*HARDNESS)
    verdicts = {metric.verdict for metric in compare(a, a).metrics}
    assert verdicts == {Verdict.UNCLEAR, Verdict.NO_INTERVAL}
    assert all(metric.difference.value in (0.0, None) for metric in compare(a, a).metrics)


def test_the_interval_of_a_paired_difference_is_the_textbooks():
    """Of equally long episodes it is that of the mean of n differences: 1.96 s / sqrt(n) to either side."""
    random = np.random.default_rng(0)
    errors, worse = 0.5 + 0.05 * random.random(60), 0.02 + 0.01 * random.standard_normal(60)
    difference = by_name(compare(of_errors(*errors), of_errors(*(errors + worse))))["mae"].difference
    half = 1.96 * worse.std() / np.sqrt(60)
    assert difference.value == pytest.approx(worse.mean(), rel=1e-3)
    assert (difference.low, difference.high) == pytest.approx((worse.mean() - half, worse.mean() + half), abs=5e-4)


def test_values_of_both_are_those_of_their_own_summaries():
    a, b = of_errors(*HARDNESS), of_errors(*HARDNESS, noise=0.02)
    metrics = by_name(compare(a, b, seed=4))
    for name, value in summarize(b.episodes, seed=4).values().items():
        if metrics[name].difference.low is not None:
            assert metrics[name].b == value, name
        else:
            assert metrics[name].b.value == value.value, name


def test_larger_coverage_is_better_and_a_lag_is_neither():
    covered = result_of(*make_traces(3, ticks=200))
    waiting = result_of(*make_traces(3, ticks=200, ready_tick=50, lag_s=1.0))
    metrics = by_name(compare(covered, waiting))
    assert metrics["coverage"].verdict is Verdict.WORSE
    assert metrics["without_commands.NOT_READY"].verdict is Verdict.WORSE
    assert metrics["lag"].verdict is Verdict.DIFFERENT
    assert metrics["seam_jump.max"].verdict is Verdict.NO_INTERVAL
    assert metrics["seam_jump.max"].difference.value is not None


def test_joints_swapped_are_worse_on_these_joints_only():
    a, b = (result_of(*make_traces(4, noise=0.01, swap=swap)) for swap in ((), (0, 2, 1)))
    metrics = by_name(compare(a, b))
    assert metrics["mae.joint_2"].verdict is metrics["mae.joint_3"].verdict is Verdict.WORSE
    assert metrics["mae.joint_1"].verdict is Verdict.UNCLEAR


def test_a_metric_that_one_does_not_have_has_no_difference():
    a, b = (result_of(*make_traces(3, horizon=horizon, execution_horizon=5)) for horizon in (8, 12))
    comparison = compare(a, b)
    metric = by_name(comparison)["mae@10"]
    assert (metric.a.value, metric.difference.value, metric.verdict) == (None, None, Verdict.NO_INTERVAL)
    assert metric.b.value is not None
    assert any("8 rows in A and 12 in B" in note for note in comparison.notes)


def test_episodes_that_only_one_has_are_left_out_and_said():
    a, b = of_errors(0.1, 0.1, 0.9), of_errors(0.2, 0.2)
    comparison = compare(a, b)
    assert comparison.episodes == 2
    assert comparison.notes == ("left out, only in A: 1 of the episodes of made_up (2)",)
    assert by_name(comparison)["mae"].a.value == pytest.approx(0.1, rel=1e-4)


def test_a_bag_that_failed_in_one_leaves_its_episodes_out():
    first, other = make_traces(2, ticks=100), make_traces(2, ticks=100, bag="other")
    a = result_of(*first, *other, bags=("made_up", "other"))
    b = result_of(*first, bags=("made_up", "other"))
    assert compare(a, b).episodes == 2
    assert compare(a, b).notes == ("left out, only in A: 2 of the episodes of other (0, 1)",)


def test_other_bags_are_refused_by_name():
    a, b = result_of(make_trace(), bags=("made_up", "tuesday")), result_of(make_trace(), bags=("made_up", "friday"))
    with pytest.raises(ComparisonError, match="only in A: tuesday; only in B: friday"):
        compare(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"joints": 2}, "joint_3 in A and joint_1, joint_2 in B"),
        ({"dt_s": 0.025, "ticks": 320}, "0.02 s in A and 0.025"),
    ],
)
def test_other_robots_are_refused(options, message):
    with pytest.raises(ComparisonError, match=message):
        compare(result_of(make_trace()), result_of(make_trace(**options)))


def test_replays_without_a_common_episode_are_refused():
    with pytest.raises(ComparisonError, match="1 in A and 1 in B with no bag, index and begin in common"):
        compare(result_of(make_trace(index=1)), result_of(make_trace(index=2)))


def test_an_episode_that_is_there_twice_is_refused():
    with pytest.raises(ComparisonError, match="A: expected every episode once"):
        compare(result_of(make_trace(), make_trace()), result_of(make_trace()))


def test_conditions_name_both_sides_and_the_difference():
    values = compare(of_errors(*HARDNESS), of_errors(*(error + 0.01 for error in HARDNESS))).values()
    held = ("A.mae > 0.12", "B.mae > 0.13", "mae > 0.009", "difference.mae < 0.011", "mae.low > 0", "A.mae.low < 0.1")
    assert len(failures([parse_condition(text) for text in held], values)) == len(held)
    assert not failures([parse_condition("mae > 0.02"), parse_condition("B.mae < 0.1")], values)


def test_the_same_results_compare_to_the_same_bytes():
    a, b = of_errors(*HARDNESS), of_errors(*HARDNESS, noise=0.1)
    one, again = (json.dumps(compare(a, b, seed=1).as_json(), allow_nan=False) for _ in range(2))
    assert one == again


def test_a_result_is_read_from_its_directory_or_its_file(tmp_path):
    a = of_errors(*HARDNESS)
    (tmp_path / "metrics.json").write_text(json.dumps(a.as_json()))
    for path in (tmp_path, tmp_path / "metrics.json"):
        assert compare(read_result(path), a).episodes == len(HARDNESS)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"format": 99}', '{"bags": 3}'])
def test_what_is_no_result_is_refused_with_its_name(tmp_path, content):
    file = tmp_path / "metrics.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ComparisonError, match=r"metrics\.json: .*expected|metrics\.json: "):
        read_result(tmp_path)
