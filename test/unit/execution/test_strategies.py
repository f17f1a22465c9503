# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from policy_ros.data import ActionChunk
from policy_ros.errors import ConfigurationError
from policy_ros.execution import ExecutionConfig, available_strategies, make_strategy
from policy_ros.execution.delay import DelayWindow
from policy_ros.execution.timeline import Timeline


def chunk(first_step: int, horizon: int = 8) -> ActionChunk:
    actions = np.arange(horizon, dtype=np.float32)[:, None]
    return ActionChunk(actions=actions, first_step=first_step, epoch=1, sequence=0, execution_horizon=4)


def config(mode: str, execution_horizon: int = 0) -> ExecutionConfig:
    return ExecutionConfig(mode=mode, execution_horizon=execution_horizon)


def test_unknown_mode_suggests_the_closest_and_lists_all() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown 'overlp', did you mean 'overlap'.*overlap, sync"):
        make_strategy(config("overlp"), horizon=8, n_action_steps=8)


@pytest.mark.parametrize("mode", available_strategies())
def test_every_available_strategy_is_made_under_its_name(mode: str) -> None:
    assert make_strategy(config(mode), horizon=8, n_action_steps=8).name == mode


@pytest.mark.parametrize(("n_action_steps", "chosen"), [(8, 4), (3, 3), (1, 1)])
def test_overlap_chooses_half_the_chunk_but_no_more_than_the_action_steps(n_action_steps: int, chosen: int) -> None:
    assert make_strategy(config("overlap"), horizon=8, n_action_steps=n_action_steps).execution_horizon == chosen


def test_overlap_needs_a_row_beyond_the_execution_horizon() -> None:
    with pytest.raises(ConfigurationError, match="at most 7"):
        make_strategy(config("overlap", 8), horizon=8, n_action_steps=8)


def test_overlap_refuses_chunks_of_one_row_and_names_the_mode_that_works() -> None:
    with pytest.raises(ConfigurationError, match="use mode sync"):
        make_strategy(config("overlap"), horizon=1, n_action_steps=1)


def test_sync_refuses_more_steps_than_rows() -> None:
    with pytest.raises(ConfigurationError, match="at most the chunk's 8 rows, got 9"):
        make_strategy(config("sync", 9), horizon=8, n_action_steps=8)


@pytest.mark.parametrize("n_action_steps", [0, 9])
def test_action_steps_must_fit_the_chunk(n_action_steps: int) -> None:
    with pytest.raises(ConfigurationError, match="1 to chunk_size"):
        make_strategy(config("sync"), horizon=8, n_action_steps=n_action_steps)


def test_overlap_wants_an_inference_once_the_execution_horizon_is_consumed() -> None:
    strategy, timeline, newest = make_strategy(config("overlap", 3), horizon=8, n_action_steps=8), Timeline(1), chunk(0)
    assert strategy.wants_inference(timeline, None)
    strategy.merge(timeline, newest)
    wanted = []
    for _ in range(5):
        wanted.append(strategy.wants_inference(timeline, newest))
        timeline.consume()
    assert wanted == [False, False, False, True, True]


def test_sync_wants_an_inference_only_when_nothing_is_left() -> None:
    strategy, timeline, newest = make_strategy(config("sync", 3), horizon=8, n_action_steps=8), Timeline(1), chunk(0)
    strategy.merge(timeline, newest)
    assert timeline.remaining == 3
    for _ in range(3):
        assert not strategy.wants_inference(timeline, newest)
        timeline.consume()
    assert strategy.wants_inference(timeline, newest)


@pytest.mark.parametrize("mode", available_strategies())
def test_strategies_ask_for_no_guidance_unless_they_guide(mode: str) -> None:
    strategy = make_strategy(config(mode), horizon=8, n_action_steps=8)
    assert strategy.guidance(Timeline(1), chunk(0), DelayWindow()) is None
