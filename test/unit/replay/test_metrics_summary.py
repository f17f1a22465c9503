# SPDX-License-Identifier: Apache-2.0
"""Pooling, intervals, and numbers that are written the same every time."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from support.replay_traces import make_trace, make_traces

from policy_ros.errors import ConfigurationError
from policy_ros.replay.metrics import EpisodeMetrics, Summary, measure, summarize
from policy_ros.replay.metrics.bootstrap import RESAMPLES, percentile_interval, resamples
from policy_ros.replay.metrics.distribution import Distribution
from policy_ros.replay.metrics.estimators import Largest, Quantile, Ratio, Total
from policy_ros.replay.metrics.rounding import rounded

ONCE = np.ones((1, 3))


@pytest.fixture(scope="module")
def episodes() -> list[EpisodeMetrics]:
    traces = [
        *make_traces(4, error=0.01, noise=0.02, delay=2),
        make_trace(index=7, ticks=150, error=0.05, hold=(50, 80), starved=(20,)),
    ]
    return [measure(trace) for trace in traces]


def text(summary: Summary) -> str:
    return json.dumps(summary.as_json(), allow_nan=False)


def test_pooled_errors_are_those_of_all_rows_together():
    traces = [make_trace(index=0, error=0.01), make_trace(index=1, ticks=100, error=0.05)]
    errors = np.concatenate(
        [np.abs(chunk.actions - chunk.recorded).ravel() for trace in traces for chunk in trace.chunks]
    )
    value = summarize([measure(trace) for trace in traces]).values()["mae"]
    assert value.value == pytest.approx(np.nanmean(errors), rel=1e-5)
    assert value.count == np.isfinite(errors).sum()
    assert value.value < 0.03 - 1e-3, "the mean of the two means is another number"


def test_the_order_of_episodes_does_not_matter(episodes):
    shuffled = random.Random(0).sample(episodes, len(episodes))
    assert shuffled != episodes
    assert text(summarize(shuffled)) == text(summarize(episodes))


def test_the_same_episodes_and_seed_give_the_same_bytes(episodes):
    assert text(summarize(episodes, seed=3)) == text(summarize(episodes, seed=3))
    again = [measure(trace) for trace in make_traces(4, error=0.01, noise=0.02, delay=2)]
    assert json.dumps([each.as_json() for each in again]) == json.dumps([each.as_json() for each in episodes[:4]])


def test_another_seed_gives_other_intervals_of_the_same_values(episodes):
    one, other = (list(summarize(episodes, seed=seed).values().values()) for seed in (0, 1))
    assert [each.value for each in one] == [each.value for each in other]
    assert [(each.low, each.high) for each in one] != [(each.low, each.high) for each in other]


def test_episodes_come_back_from_json_as_they_were(episodes):
    there_and_back = [EpisodeMetrics.from_json(json.loads(json.dumps(each.as_json()))) for each in episodes]
    assert there_and_back == episodes
    assert text(summarize(there_and_back)) == text(summarize(episodes))


def test_every_number_is_finite_and_short(episodes):
    def check(value, path=""):
        if isinstance(value, dict):
            for key, part in value.items():
                check(part, f"{path}.{key}")
        elif isinstance(value, list):
            for part in value:
                check(part, path)
        elif isinstance(value, float):
            assert np.isfinite(value), path
            assert value == float(f"{value:.6g}"), path

    for each in [summarize(episodes), summarize([]), summarize([measure(make_trace(has_commands=False))]), *episodes]:
        check(json.loads(json.dumps(each.as_json(), allow_nan=False)))


def test_an_episode_is_a_few_kilobytes():
    trace = make_trace(joints=7, ticks=450, horizon=100, dt_s=1.0 / 30.0, noise=0.1, delay=3)
    assert len(json.dumps(measure(trace).as_json())) < 10_000


def test_no_episodes_have_no_values_and_one_has_no_intervals(episodes):
    nothing = summarize([])
    assert nothing.episodes == 0
    assert all(value.value is None for value in nothing.values().values())
    alone = summarize(episodes[:1]).values()
    assert alone["mae"].value is not None
    assert all(value.low is None and value.high is None for value in alone.values())


def test_intervals_contain_their_values(episodes):
    known = {name: value for name, value in summarize(episodes).values().items() if value.low is not None}
    assert {"mae", "rmse@10", "coverage", "delay.mean", "holds", "lag"} <= set(known)
    for name, value in known.items():
        assert value.low <= value.value <= value.high, name


def test_episodes_of_different_robots_do_not_pool():
    with pytest.raises(ConfigurationError, match="joint_3.*got joint_1, joint_2 and 0.02 s in episode 1 of made_up"):
        summarize([measure(make_trace()), measure(make_trace(index=1, joints=2))])
    with pytest.raises(ConfigurationError, match="0.04 s"):
        summarize([measure(make_trace()), measure(make_trace(index=1, dt_s=0.04))])


def test_every_draw_has_as_many_episodes_as_there_are():
    drawn = resamples(7, seed=1)
    assert drawn.shape == (RESAMPLES, 7)
    assert np.all(drawn.sum(axis=1) == 7)
    assert np.array_equal(drawn, resamples(7, seed=1))
    assert not np.array_equal(drawn, resamples(7, seed=2))


def test_the_interval_of_a_mean_is_the_textbooks():
    """Of n normal values the bootstrapped mean spreads as s / sqrt(n) (population s), 1.96 to either side."""
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    estimates = Ratio(values, np.ones(400)).estimate(resamples(400, seed=0))
    low, high = percentile_interval(estimates)
    half = 1.96 * values.std() / np.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_draws_without_any_value_do_not_count():
    estimates = Ratio(np.array([6.0, 0.0]), np.array([2.0, 0.0])).estimate(resamples(2, seed=0))
    assert np.isnan(estimates).any()
    assert percentile_interval(estimates) == (3.0, 3.0)
    assert percentile_interval(np.array([np.nan])) is None


def test_estimators_weigh_episodes_by_how_often_they_are_drawn():
    weights = np.array([[1.0, 1.0, 1.0], [0.0, 3.0, 0.0], [2.0, 0.0, 1.0]])
    assert Total(np.array([1.0, 10.0, 100.0])).estimate(weights).tolist() == [111.0, 30.0, 102.0]
    numerators, denominators = np.array([1.0, 8.0, 9.0]), np.array([1.0, 2.0, 3.0])
    assert Ratio(numerators, denominators).estimate(weights).tolist() == [3.0, 4.0, 2.2]
    assert Ratio(numerators, denominators, root=True).estimate(weights)[1] == 2.0
    largest = Largest(np.array([1.0, np.nan, 5.0])).estimate(weights)
    assert largest[0] == 5.0 and np.isnan(largest[1]) and largest[2] == 5.0


def test_quantiles_of_parts_are_those_of_the_whole():
    random_values = np.random.default_rng(0).exponential(size=(3, 200))
    parts = [Distribution.of(values) for values in random_values]
    whole = Distribution.of(random_values.ravel())
    for share in (0.5, 0.99, 1.0):
        found = Quantile(parts, share).estimate(ONCE)[0]
        assert found == Quantile([whole], share).estimate(np.ones((1, 1)))[0]
        exact = np.quantile(random_values, share, method="inverted_cdf")
        assert found == pytest.approx(exact, rel=0.005)


def test_quantiles_weigh_episodes_by_how_often_they_are_drawn():
    quantile = Quantile([Distribution.of([1.0, 2.0]), Distribution.of([3.0, 4.0]), Distribution.of([])], 0.5)
    weights = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    found = quantile.estimate(weights)
    assert found[:2].tolist() == [2.0, 3.0]
    assert np.isnan(found[2])
    assert quantile.count == 4


def test_a_distribution_keeps_its_largest_value_as_it_is():
    found = Distribution.of([0.123456, 0.12349, 0.5])
    assert found.values == (0.123, 0.5)
    assert found.counts == (2, 1)
    assert found.largest == 0.5
    assert Distribution.of([1.23456]).largest == 1.23456
    assert Distribution.of([]).largest is None


def test_rounding_leaves_no_negative_zero():
    assert str(rounded(-0.0)) == "0.0"
    assert rounded(1.23456789) == 1.23457
