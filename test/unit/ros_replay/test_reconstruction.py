# SPDX-License-Identifier: Apache-2.0
"""Ticks worked out from chunks are those that an execution really made: an offline replay knows both."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.checkpoints import write_flow
from support.replays import HORIZON, PARAMETERS, ScriptedPolicy, Witness, record, with_execution

from policy_ros.bags import open_bag
from policy_ros.execution import ExecutionState
from policy_ros.policies import load_policy
from policy_ros.replay.bag_replay import BagReplay
from policy_ros.replay.delays import DelayOptions
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.parts import ReplayParts
from policy_ros.ros.replay.reconstruction import HeldPeriod, Reconstruction
from policy_ros.ros.replay.values import HeardChunk

PERIOD_NS = 20_000_000


def rows(state):
    """A chunk that goes on from where the joints are, and turns faster than the gate allows."""
    return state[None] + np.linspace(0.0, 0.4, HORIZON)[:, None] * np.array([1.0, -2.0])


def heard(trace) -> list[HeardChunk]:
    """The messages that a node would have sent about the same execution."""
    acted = [chunk for chunk in trace.chunks if chunk.took_over_ns is not None]
    return [
        HeardChunk(
            epoch=chunk.epoch,
            sequence=i,
            took_over_ns=chunk.took_over_ns,
            delay_steps=chunk.delay_steps,
            execution_horizon=chunk.execution_horizon,
            dt_s=trace.dt_s,
            joint_names=trace.joint_names,
            actions=chunk.actions,
            observation_stamps_ns=chunk.observation_stamps_ns,
        )
        for i, chunk in enumerate(acted)
    ]


def replayed(path, policy, parameters, delay_s):
    witness = Witness()
    options = ReplayOptions(parameters, delay=DelayOptions(fixed_s=delay_s))
    BagReplay(path, policy, options).run(witness)
    return witness.traces[0], ReplayParts(open_bag(path), policy, options)


def worked_out(trace, parts):
    measured = dict(zip(trace.ticks.times_ns.tolist(), trace.ticks.measured, strict=True))
    reconstruction = Reconstruction(
        parts.make_strategy(),
        parts.gate,
        period_ns=PERIOD_NS,
        joints=len(trace.joint_names),
        lookahead=parts.config.lookahead_steps,
        measured=measured.__getitem__,
    )
    holds = [HeldPeriod(hold.begin_ns, hold.end_ns) for hold in trace.holds if hold.cause != "STARVED"]
    chunks = heard(trace)
    guided = [chunk.guided for chunk in trace.chunks if chunk.took_over_ns is not None]
    begin_ns = int(trace.ticks.times_ns[0])
    return reconstruction.ticks(chunks, guided, holds, begin_ns, int(trace.ticks.times_ns[-1]) + PERIOD_NS)


def assert_same(trace, parts):
    ticks = worked_out(trace, parts)
    assert [tick.t_ns for tick in ticks] == trace.ticks.times_ns.tolist()
    assert [tick.state for tick in ticks] == [ExecutionState(state) for state in trace.ticks.states]
    np.testing.assert_allclose([tick.command for tick in ticks], trace.ticks.commands, atol=1e-6)
    np.testing.assert_array_equal([tick.clamped for tick in ticks], trace.ticks.clamped)


@pytest.mark.parametrize("mode", ["sync", "overlap", "blend", "ensemble"])
@pytest.mark.parametrize("delay_s", [0.0, 0.07])
def test_every_mode_executes_again_as_it_did(tmp_path, mode, delay_s):
    parameters = with_execution(mode=mode, execution_horizon=0)
    gate = dataclasses.replace(parameters.gate, max_velocity=(1.0, 1.0), max_acceleration=(20.0, 20.0))
    trace, parts = replayed(
        record(tmp_path / "bag"), ScriptedPolicy(rows), dataclasses.replace(parameters, gate=gate), delay_s
    )
    assert trace.ticks.clamped.any() and len(trace.chunks) > 3
    assert_same(trace, parts)


def test_guided_chunks_replace_and_the_first_one_fades_in(tmp_path):
    policy = load_policy(write_flow(tmp_path / "flow", joints=2), device="cpu")
    policy.freeze()
    trace, parts = replayed(record(tmp_path / "bag"), policy, with_execution(mode="rtc", execution_horizon=0), 0.05)
    assert any(chunk.guided for chunk in trace.chunks)
    assert_same(trace, parts)


def test_a_chunk_that_comes_too_late_leaves_the_steps_before_it_starved(tmp_path):
    trace, parts = replayed(record(tmp_path / "bag"), ScriptedPolicy(rows), PARAMETERS, 0.3)
    assert trace.deadline_misses > 5
    assert_same(trace, parts)


def test_a_hold_brakes_and_the_next_epoch_starts_from_rest(tmp_path):
    trace, parts = replayed(record(tmp_path / "bag", 4.0, silent=(1.5, 2.8)), ScriptedPolicy(rows), PARAMETERS, 0.0)
    assert "STREAM_EXPIRED" in {hold.cause for hold in trace.holds}
    assert_same(trace, parts)


def test_ticks_that_a_late_node_skipped_are_no_ticks(tmp_path):
    trace, parts = replayed(record(tmp_path / "bag"), ScriptedPolicy(rows), PARAMETERS, 0.0)
    chunks = heard(trace)
    # The same steps, but the third chunk took over two periods later: two deadlines of the control were missed.
    late = [
        dataclasses.replace(chunk, took_over_ns=chunk.took_over_ns + (2 * PERIOD_NS if i >= 2 else 0))
        for i, chunk in enumerate(chunks)
    ]
    reconstruction = Reconstruction(
        parts.make_strategy(),
        parts.gate,
        period_ns=PERIOD_NS,
        joints=2,
        lookahead=parts.config.lookahead_steps,
        measured=lambda t_ns: np.full(2, np.nan),
    )
    ticks = reconstruction.ticks(
        late, [False] * len(late), [], late[0].took_over_ns, int(trace.ticks.times_ns[-1]) + 3 * PERIOD_NS
    )
    running = [tick for tick in ticks if tick.state is ExecutionState.RUNNING]
    expected = trace.ticks.commands[np.isfinite(trace.ticks.commands).all(axis=1)]
    np.testing.assert_allclose([tick.command for tick in running][: len(expected)], expected, atol=1e-6)
    gaps = np.diff([tick.t_ns for tick in running])
    assert gaps.max() == 3 * PERIOD_NS and sorted(gaps)[-2] == PERIOD_NS
