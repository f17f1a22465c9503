# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time

import pytest
from support.waiting import wait_for

from policy_ros.errors import ConfigurationError
from policy_ros.execution import ExecutionConfig, HoldCause
from policy_ros.execution.added_delay import AddedDelay


@pytest.fixture
def delayed(make_bench, monkeypatch: pytest.MonkeyPatch):
    """Makes a bench on which the control ticks that are due pass in place of the delay."""

    def make(mode: str, **settings):
        bench = make_bench(mode, horizon=16, **settings)
        period_s = bench.config.period_s
        monkeypatch.setattr(AddedDelay, "pass_by", lambda delay: bench.ticks(round(delay.seconds / period_s)))
        return bench

    return make


def test_rows_consumed_during_it_are_the_chunk_s_delay(delayed):
    bench = delayed("overlap", added_delay_s=0.06)
    assert bench.infer()
    bench.ticks(8)
    assert bench.infer(consuming=2)
    assert bench.status.delay == 2 + 3
    assert bench.status.inference_latency.newest == pytest.approx(0.1)


def test_guidance_expects_it(delayed):
    bench = delayed("rtc", added_delay_s=0.06)
    bench.infer()
    for _ in range(3):
        bench.ticks(8)
        bench.infer()
    assert bench.status.delay_estimate == 3
    assert bench.policy.guidances[-1].delay == 3


def test_it_changes_while_running(delayed):
    bench = delayed("overlap")
    bench.infer()
    bench.ticks(8)
    bench.infer()
    assert bench.status.delay == 0
    bench.executor.set_added_delay(0.04)
    bench.ticks(8)
    bench.infer()
    assert bench.status.delay == 2


def test_one_that_is_too_long_counts_as_a_hung_inference(delayed):
    bench = delayed("overlap", added_delay_s=0.4, inference_timeout_s=0.2)
    bench.infer()
    assert bench.status.hold_cause is HoldCause.INFERENCE_TIMEOUT


def test_stop_does_not_wait_for_it(make_bench):
    bench = make_bench("overlap", threaded=True, added_delay_s=1000.0)
    wait_for(lambda: bench.policy.predictions == 1, 5.0, "the inference")
    start_s = time.monotonic()
    assert bench.executor.stop(100.0)
    assert time.monotonic() - start_s < 90.0
    assert "inference" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_impossible_delay_is_refused(seconds):
    with pytest.raises(ConfigurationError, match="added_delay_s: expected 0 or a time"):
        ExecutionConfig(added_delay_s=seconds)
