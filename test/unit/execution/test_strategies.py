# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from policy_ros.data import ActionChunk
from policy_ros.errors import ConfigurationError
from policy_ros.execution import ExecutionConfig, available_strategies, make_strategy
from policy_ros.execution.timeline import Timeline
from policy_ros.rtc import GuidanceOptions, prefix_weights


def chunk(first_step: int, horizon: int = 8) -> ActionChunk:
    actions = np.arange(horizon, dtype=np.float32)[:, None]
    return ActionChunk(actions=actions, first_step=first_step, epoch=1, sequence=0, execution_horizon=4)


def config(mode: str, execution_horizon: int = 0) -> ExecutionConfig:
    return ExecutionConfig(mode=mode, execution_horizon=execution_horizon)


def test_unknown_mode_suggests_the_closest_and_lists_all() -> None:
    with pytest.raises(
        ConfigurationError, match=r"unknown 'overlp', did you mean 'overlap'.*blend, ensemble, overlap, rtc, sync"
    ):
        make_strategy(config("overlp"), horizon=8, n_action_steps=8)


@pytest.mark.parametrize("mode", available_strategies())
def test_every_available_strategy_is_made_under_its_name(mode: str) -> None:
    assert make_strategy(config(mode), horizon=8, n_action_steps=8, supports_guidance=True).name == mode


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
    assert strategy.wants_inference(timeline, None, 0)
    strategy.merge(timeline, newest)
    wanted = []
    for _ in range(5):
        wanted.append(strategy.wants_inference(timeline, newest, 0))
        timeline.consume()
    assert wanted == [False, False, False, True, True]


def test_sync_wants_an_inference_only_when_nothing_is_left() -> None:
    strategy, timeline, newest = make_strategy(config("sync", 3), horizon=8, n_action_steps=8), Timeline(1), chunk(0)
    strategy.merge(timeline, newest)
    assert timeline.remaining == 3
    for _ in range(3):
        assert not strategy.wants_inference(timeline, newest, 0)
        timeline.consume()
    assert strategy.wants_inference(timeline, newest, 0)


@pytest.mark.parametrize("mode", ["blend", "ensemble", "overlap", "sync"])
def test_strategies_ask_for_no_guidance_unless_they_guide(mode: str) -> None:
    strategy, timeline = make_strategy(config(mode), horizon=8, n_action_steps=8), Timeline(1)
    strategy.merge(timeline, chunk(0))
    assert strategy.guidance(timeline, 1, 4) is None


def test_a_policy_that_cannot_be_guided_is_refused_under_rtc_naming_the_alternatives() -> None:
    with pytest.raises(
        ConfigurationError, match=r"rtc: expected a policy that can be guided.*blend, ensemble, overlap, sync"
    ):
        make_strategy(config("rtc"), horizon=8, n_action_steps=8, supports_guidance=False)


@pytest.mark.parametrize("mode", ["overlap", "blend", "ensemble", "rtc"])
def test_single_rows_can_only_be_executed_in_sync(mode: str) -> None:
    with pytest.raises(ConfigurationError, match=f"execution.mode {mode}: expected .* use (mode )?sync$"):
        make_strategy(config(mode), horizon=1, n_action_steps=1)
    assert make_strategy(config("sync"), horizon=1, n_action_steps=1).execution_horizon == 1


def test_a_fallback_stands_in_for_rtc_and_says_so() -> None:
    strategy = make_strategy(ExecutionConfig(mode="rtc", rtc_fallback="blend"), horizon=8, n_action_steps=8)
    assert (strategy.name, strategy.mode) == ("blend", "rtc")
    assessment = strategy.assess(2, 4)
    assert assessment.active_mode == "blend" and "cannot be guided" in assessment.degradation


def test_a_policy_that_can_be_guided_needs_no_fallback() -> None:
    chosen = ExecutionConfig(mode="rtc", rtc_fallback="blend")
    assert make_strategy(chosen, horizon=8, n_action_steps=8, supports_guidance=True).name == "rtc"


@pytest.mark.parametrize("fallback", ["rtc", "blnd"])
def test_a_fallback_must_be_another_mode(fallback: str) -> None:
    with pytest.raises(ConfigurationError, match=r"rtc.fallback: unknown"):
        make_strategy(ExecutionConfig(mode="rtc", rtc_fallback=fallback), horizon=8, n_action_steps=8)


def test_an_automatic_horizon_shrinks_where_the_delay_asks_for_it() -> None:
    strategy, timeline, newest = make_strategy(config("overlap"), horizon=8, n_action_steps=8), Timeline(1), chunk(0)
    strategy.merge(timeline, newest)
    timeline.consume()
    timeline.consume()
    assert not strategy.wants_inference(timeline, newest, 4)
    assert strategy.wants_inference(timeline, newest, 6)
    fixed = make_strategy(config("overlap", 4), horizon=8, n_action_steps=8)
    assert not fixed.wants_inference(timeline, newest, 6)


@pytest.mark.parametrize(
    ("mode", "delay", "execution_horizon", "active"),
    [
        ("rtc", 4, 4, "rtc"),
        ("rtc", 2, 1, "rtc"),
        ("rtc", 5, 3, "blend"),  # the old rows last, but the next inference could not be guided
        ("rtc", 5, 4, "hold"),  # the old rows end before the new ones arrive
        ("blend", 5, 3, "blend"),
        ("blend", 5, 4, "hold"),
        ("overlap", 3, 6, "hold"),
        ("ensemble", 4, 1, "ensemble"),
        ("sync", 99, 8, "sync"),
    ],
)
def test_what_acts_follows_from_delay_and_horizons(mode: str, delay: int, execution_horizon: int, active: str) -> None:
    strategy = make_strategy(config(mode), horizon=8, n_action_steps=8, supports_guidance=True)
    assessment = strategy.assess(delay, execution_horizon)
    assert assessment.active_mode == active
    degraded = active not in (mode, "hold") or active == "hold"
    assert not degraded or f"d = {delay}, s = {execution_horizon}, H = 8" in assessment.degradation


def rows(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def test_blend_fades_from_the_old_rows_to_the_new_ones_with_the_weights_of_rtc() -> None:
    strategy = make_strategy(config("blend", 4), horizon=8, n_action_steps=8)
    timeline = Timeline(1)
    strategy.merge(timeline, ActionChunk(rows([0.0] * 8), 0, 1, 0, 4))
    for _ in range(5):
        timeline.consume()
    # Its observation was taken at step 4, one step has passed: rows 1 to 3 overlap, rows 4 to 7 are new.
    strategy.merge(timeline, ActionChunk(rows([1.0] * 8), 4, 1, 1, 4))
    planned = timeline.window(5, 99)[:, 0]
    weights = prefix_weights(1, 4, 8)
    np.testing.assert_allclose(planned[:3], 1.0 - weights[1:4], atol=1e-6)
    assert np.all(np.diff(planned[:3]) > 0.0)
    np.testing.assert_array_equal(planned[3:], 1.0)


def test_blend_takes_the_schedule_of_rtc() -> None:
    chosen = ExecutionConfig(mode="blend", execution_horizon=4, guidance=GuidanceOptions(schedule="linear"))
    strategy, timeline = make_strategy(chosen, horizon=8, n_action_steps=8), Timeline(1)
    strategy.merge(timeline, ActionChunk(rows([0.0] * 8), 0, 1, 0, 4))
    for _ in range(4):
        timeline.consume()
    strategy.merge(timeline, ActionChunk(rows([1.0] * 8), 4, 1, 1, 4))
    np.testing.assert_allclose(timeline.window(4, 4)[:, 0], [0.2, 0.4, 0.6, 0.8], atol=1e-6)


@pytest.mark.parametrize("mode", ["blend", "ensemble"])
def test_averaging_chunks_that_agree_changes_nothing(mode: str) -> None:
    strategy, timeline = make_strategy(config(mode, 3), horizon=8, n_action_steps=8), Timeline(1)
    way = np.sin(0.3 * np.arange(40.0)).astype(np.float32)[:, None]
    executed = []
    strategy.merge(timeline, ActionChunk(way[:8], 0, 1, 0, 3))
    for number in range(6):
        for _ in range(3):
            executed.append(timeline.consume())
        observed = timeline.step
        executed.append(timeline.consume())
        strategy.merge(timeline, ActionChunk(way[observed : observed + 8], observed, 1, number, 3))
    np.testing.assert_allclose(executed, way[: len(executed)], atol=1e-6)


def test_ensemble_equals_the_ensembling_of_act_where_nothing_is_late() -> None:
    torch = pytest.importorskip("torch")
    from policy_ros.policies.ensembling import TemporalEnsembler

    chunks = np.random.default_rng(0).normal(size=(30, 8, 2)).astype(np.float32)
    reference = TemporalEnsembler(0.05, 8)
    chosen = ExecutionConfig(mode="ensemble", ensemble_coeff=0.05)
    strategy, timeline = make_strategy(chosen, horizon=8, n_action_steps=1), Timeline(2)
    for step, actions in enumerate(chunks):
        strategy.merge(timeline, ActionChunk(actions, step, 1, step, 1))
        expected = reference.update(torch.from_numpy(actions))
        np.testing.assert_allclose(timeline.consume(), expected.numpy(), atol=1e-6)


def test_ensemble_takes_late_chunks_in_from_the_step_that_is_due() -> None:
    chosen = ExecutionConfig(mode="ensemble", ensemble_coeff=0.0)
    strategy, timeline = make_strategy(chosen, horizon=6, n_action_steps=6), Timeline(1)
    strategy.merge(timeline, ActionChunk(rows([0.0] * 6), 0, 1, 0, 1))
    for _ in range(4):
        timeline.consume()
    strategy.merge(timeline, ActionChunk(rows([3.0] * 6), 2, 1, 1, 1))  # two steps late
    np.testing.assert_allclose(timeline.window(4, 99)[:, 0], [1.5, 1.5, 3.0, 3.0])
    strategy.merge(timeline, ActionChunk(rows([6.0] * 6), 3, 1, 2, 1))  # the next one is even later
    np.testing.assert_allclose(timeline.window(4, 99)[:, 0], [3.0, 3.0, 4.5, 4.5, 6.0])


def test_ensemble_weighs_the_oldest_prediction_most() -> None:
    chosen = ExecutionConfig(mode="ensemble", ensemble_coeff=1.0)
    strategy, timeline = make_strategy(chosen, horizon=4, n_action_steps=1), Timeline(1)
    strategy.merge(timeline, ActionChunk(rows([0.0] * 4), 0, 1, 0, 1))
    timeline.consume()
    strategy.merge(timeline, ActionChunk(rows([1.0] * 4), 1, 1, 1, 1))
    np.testing.assert_allclose(timeline.window(1, 1)[0, 0], np.exp(-1.0) / (1.0 + np.exp(-1.0)), rtol=1e-6)


def test_ensemble_forgets_its_chunks_with_the_epoch() -> None:
    strategy, timeline = make_strategy(config("ensemble"), horizon=4, n_action_steps=1), Timeline(1)
    strategy.merge(timeline, ActionChunk(rows([0.0] * 4), 0, 1, 0, 1))
    strategy.reset()
    timeline.clear()
    strategy.merge(timeline, ActionChunk(rows([1.0] * 4), 0, 2, 1, 1))
    np.testing.assert_array_equal(timeline.window(0, 4), 1.0)


def test_rtc_hands_over_every_row_that_is_not_executed_yet_aligned_with_the_new_chunk() -> None:
    strategy, timeline = (
        make_strategy(config("rtc", 3), horizon=8, n_action_steps=8, supports_guidance=True),
        Timeline(1),
    )
    strategy.merge(timeline, chunk(0))
    for _ in range(3):
        timeline.consume()
    guidance = strategy.guidance(timeline, 2, 3)
    np.testing.assert_array_equal(guidance.prefix[:, 0], [3, 4, 5, 6, 7])  # not shifted by the delay, and no padding
    assert (guidance.delay, guidance.execution_horizon) == (2, 3)


def test_rtc_has_nothing_to_continue_before_the_first_chunk_or_when_it_ran_dry() -> None:
    strategy = make_strategy(config("rtc"), horizon=8, n_action_steps=8, supports_guidance=True)
    assert strategy.guidance(Timeline(1), 0, 4) is None


def test_rtc_swaps_a_guided_chunk_at_once_and_fades_any_other_in() -> None:
    planned = []
    for guided in (True, False):
        strategy = make_strategy(config("rtc", 4), horizon=8, n_action_steps=8, supports_guidance=True)
        timeline = Timeline(1)
        strategy.merge(timeline, ActionChunk(rows([0.0] * 8), 0, 1, 0, 4))
        for _ in range(5):
            timeline.consume()
        strategy.merge(timeline, ActionChunk(rows([1.0] * 8), 4, 1, 1, 4, guided=guided))
        planned.append(float(timeline.row(5)[0]))
    assert planned[0] == 1.0
    assert planned[1] == pytest.approx(1.0 - prefix_weights(1, 4, 8)[1])
