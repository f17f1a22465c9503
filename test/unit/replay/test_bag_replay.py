# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.bags import ns
from support.checkpoints import write_diffusion, write_flow
from support.replays import (
    COMMANDS,
    HORIZON,
    JOINTS,
    PARAMETERS,
    ScriptedPolicy,
    Witness,
    course,
    record,
    with_execution,
)

from policy_ros.bags import BagError
from policy_ros.execution import ExecutionState
from policy_ros.parameters.node import CameraParameters, JointParameters, OutputParameters
from policy_ros.policies import load_policy
from policy_ros.replay.bag_replay import BagReplay
from policy_ros.replay.delays import DelayKind, DelayOptions
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.trace import NO_CHUNK

DT_NS = 20_000_000


def replay(path, policy=None, parameters=PARAMETERS, delay_s=0.0, **options):
    witness = Witness()
    delay = DelayOptions(fixed_s=delay_s)
    outcome = BagReplay(path, policy or ScriptedPolicy(), ReplayOptions(parameters, delay=delay, **options)).run(
        witness
    )
    return witness, outcome


def states(trace):
    return [ExecutionState(state) for state in trace.ticks.states]


def test_a_chunk_is_what_the_policy_answers_to_what_had_been_recorded_until_then(tmp_path):
    witness, outcome = replay(record(tmp_path / "bag"))
    assert len(witness.chunks) > 10
    for chunk, observation in zip(witness.chunks, witness.observations, strict=True):
        newest_s = (observation.stamps_ns["joint_states"] - ns(0.0)) * 1e-9
        assert 0.0 <= (chunk.begin_ns - observation.stamps_ns["joint_states"]) * 1e-9 <= 0.08  # aligned to the camera
        np.testing.assert_allclose(chunk.actions, np.tile(course(newest_s), (HORIZON, 1)), atol=1e-6)
    assert outcome.problems == () and not outcome.partial


def test_recorded_rows_are_what_was_commanded_at_their_own_time_and_unknown_after_the_end(tmp_path):
    witness, _ = replay(record(tmp_path / "bag"))
    end_ns = witness.traces[0].episode.stop_ns
    for chunk in witness.chunks:
        for row, recorded in enumerate(chunk.recorded):
            time_ns = chunk.begin_ns + (row + 1) * DT_NS
            if time_ns < end_ns:
                commanded_s = np.floor((time_ns - ns(0.0)) * 1e-9 * 50.0 + 1e-6) / 50.0  # the newest at 50 Hz
                np.testing.assert_allclose(recorded, course(commanded_s), atol=1e-9)
            else:
                assert np.isnan(recorded).all()
    assert np.isnan(witness.chunks[-1].recorded[-1]).all()


def test_what_would_have_been_commanded_stands_beside_what_was(tmp_path):
    witness, _ = replay(record(tmp_path / "bag"), policy=ScriptedPolicy(lambda state: np.full((HORIZON, 2), 0.25)))
    ticks = witness.traces[0].ticks
    assert set(np.diff(ticks.times_ns)) == {DT_NS}
    assert states(witness.traces[0])[1:] == [ExecutionState.RUNNING] * (len(ticks.states) - 1)
    np.testing.assert_allclose(ticks.commands, 0.25)
    lead_s = (ticks.times_ns - ns(0.0)) * 1e-9 + 0.02
    expected = np.array([course(np.floor(time_s * 50.0 + 1e-6) / 50.0) for time_s in lead_s])
    known = ~np.isnan(ticks.recorded[:, 0])
    np.testing.assert_allclose(ticks.recorded[known], expected[known], atol=1e-9)
    assert known.sum() >= len(known) - 1  # the last command leads out of the recording
    np.testing.assert_allclose(ticks.measured[0], course((ticks.times_ns[0] - ns(0.0)) * 1e-9), atol=1e-9)


@pytest.mark.parametrize(("delay_s", "steps"), [(0.0, 0), (0.05, 2), (0.08, 4)])
def test_a_fixed_delay_lets_rows_pass(tmp_path, delay_s, steps):
    witness, _ = replay(record(tmp_path / "bag"), delay_s=delay_s)
    later = [chunk for chunk in witness.chunks[1:] if chunk.took_over_ns is not None]
    assert {chunk.delay_steps for chunk in later} == {steps}
    for chunk in later:
        assert chunk.latency_s == pytest.approx(delay_s)
        assert chunk.end_ns <= chunk.took_over_ns <= chunk.end_ns + DT_NS
    assert witness.traces[0].deadline_misses == 0


def test_an_inference_that_is_too_slow_for_the_horizon_misses_deadlines_and_holds(tmp_path):
    witness, _ = replay(record(tmp_path / "bag"), delay_s=0.3)
    trace = witness.traces[0]
    assert trace.deadline_misses > 5
    assert {hold.cause for hold in trace.holds} == {"STARVED"}
    assert trace.counters["holds"] == len(trace.holds)


def test_sync_waits_without_a_fault(tmp_path):
    witness, _ = replay(record(tmp_path / "bag"), parameters=with_execution(mode="sync"), delay_s=0.1)
    trace = witness.traces[0]
    assert ExecutionState.STARVED in states(trace) and trace.holds == () and trace.deadline_misses == 0
    assert trace.ticks.chunks[states(trace).index(ExecutionState.STARVED)] == NO_CHUNK


def write_ddpm(path, *, joints):
    """With a history, and noise that is added on the way."""
    return write_diffusion(path, joints=joints, n_obs_steps=3, noise_scheduler_type="DDPM")


@pytest.mark.parametrize("write", [write_flow, write_ddpm])
def test_two_replays_of_a_noisy_policy_with_drawn_delays_are_equal_and_another_seed_differs(tmp_path, write):
    bag = record(tmp_path / "bag")
    parameters = replace(
        PARAMETERS,
        execution=replace(PARAMETERS.execution, mode="rtc"),
        joints=JointParameters(names=JOINTS),
    )
    policy = load_policy(write(tmp_path / "policy", joints=2), device="cpu")
    policy.freeze()
    delay = DelayOptions(DelayKind.DRAWN, samples_s=(0.01, 0.03, 0.06, 0.09))

    def run(seed):
        witness = Witness()
        BagReplay(bag, policy, ReplayOptions(parameters, delay=delay, seed=seed)).run(witness)
        return witness.chunks

    first, second, other = run(3), run(3), run(4)
    assert len(first) == len(second) > 5
    for one, two in zip(first, second, strict=True):
        assert one.actions.tobytes() == two.actions.tobytes()
        assert (one.begin_ns, one.end_ns, one.took_over_ns) == (two.begin_ns, two.end_ns, two.took_over_ns)
    assert any(chunk.guided for chunk in first)
    assert first[0].actions.tobytes() != other[0].actions.tobytes()


def test_a_bag_that_jumps_back_holds_and_goes_on_with_a_new_epoch(tmp_path):  # row 20
    witness, _ = replay(record(tmp_path / "bag", 4.0, jump_at_s=2.0))
    trace = witness.traces[0]
    assert trace.jumps == 1
    assert [hold.cause for hold in trace.holds][:1] == ["CLOCK_JUMP"]
    epochs = {chunk.epoch for chunk in trace.chunks if chunk.begin_ns < ns(2.0)}
    later = {chunk.epoch for chunk in trace.chunks if chunk.begin_ns > ns(2.5)}
    assert later and min(later) > max(epochs)
    for chunk, observation in zip(witness.chunks, witness.observations, strict=True):
        stamps = observation.stamps_ns.values()
        assert max(stamps) - min(stamps) < 100_000_000, chunk  # none mixes what came before and after


def test_a_camera_that_falls_silent_holds_the_robot_until_it_is_back(tmp_path):
    witness, _ = replay(record(tmp_path / "bag", 4.0, silent=(1.0, 2.5)))
    trace = witness.traces[0]
    (hold,) = (hold for hold in trace.holds if hold.cause == "STREAM_EXPIRED")
    assert ns(1.0) < hold.begin_ns < ns(2.0) and ns(2.5) <= hold.end_ns < ns(2.6)
    assert states(trace)[-1] is ExecutionState.RUNNING
    assert any("camera/front" in cause for cause in trace.not_ready)


def test_each_episode_is_replayed_by_itself_and_a_discarded_one_is_none(tmp_path):
    bag = record(tmp_path / "bag", 4.0, episodes=[(0.2, 1.0), (1.2, 2.0), (2.2, 3.4)], discarded=[1])
    witness, outcome = replay(bag)
    assert [trace.episode.index for trace in witness.traces] == [0, 2] and outcome.episodes == 2
    for trace in witness.traces:
        assert trace.episode.task == "fetch"
        assert trace.episode.start_ns <= trace.ticks.times_ns[0] and trace.ticks.times_ns[-1] < trace.episode.stop_ns
        assert trace.chunks[0].sequence == 0
    assert all(observation.features["task"] == "fetch" for observation in witness.observations)


def test_an_episode_without_a_stream_is_said_and_the_others_are_replayed(tmp_path):
    bag = record(tmp_path / "bag", 4.0, episodes=[(0.2, 1.0), (1.2, 2.0)], silent=(1.1, 2.1))
    witness, outcome = replay(bag)
    assert [len(trace.chunks) > 0 for trace in witness.traces] == [True, False]
    assert outcome.partial and "episode 1" in outcome.problems[0] and "camera/front" in outcome.problems[0]
    assert str(bag) in outcome.problems[0]


def test_a_bag_without_commands_is_replayed_without_anything_to_compare_with(tmp_path):
    witness, outcome = replay(record(tmp_path / "bag", commands=False))
    assert not witness.traces[0].has_commands and len(witness.chunks) > 10
    assert np.isnan(witness.traces[0].ticks.recorded).all()
    assert outcome.partial and COMMANDS in outcome.problems[0]


def test_a_bag_without_a_camera_is_refused_by_name(tmp_path):
    with pytest.raises(BagError, match="/camera/front/image_raw") as refusal:
        replay(record(tmp_path / "bag", camera=False))
    assert str(tmp_path / "bag") in str(refusal.value)


def test_a_policy_that_fails_holds_and_a_reset_goes_on(tmp_path):
    def fails(state):
        raise RuntimeError("no weights")

    bag = record(tmp_path / "bag", 4.0)
    witness, _ = replay(bag, policy=ScriptedPolicy(fails))
    trace = witness.traces[0]
    assert [hold.cause for hold in trace.holds] == ["POLICY_FAILED"] and "no weights" in trace.holds[0].detail
    assert trace.holds[0].end_ns == trace.episode.stop_ns and witness.chunks == []
    witness, _ = replay(bag, policy=ScriptedPolicy(fails), reset_after_s=1.0)
    assert witness.traces[0].counters["resets"] == 3


def test_chunks_that_cannot_be_executed_are_counted_and_not_traced(tmp_path):
    witness, _ = replay(record(tmp_path / "bag"), policy=ScriptedPolicy(lambda state: np.full((HORIZON, 2), np.nan)))
    assert witness.chunks == [] and witness.traces[0].counters["chunks_rejected"] > 0
    assert witness.traces[0].holds[0].cause == "NON_FINITE_ACTION"


def test_the_gate_stands_before_the_commands_as_on_the_robot(tmp_path):
    limited = replace(PARAMETERS, gate=replace(PARAMETERS.gate, position_max=(0.1, 0.1)))
    far = ScriptedPolicy(lambda state: np.full((HORIZON, 2), [0.05, 0.4]))
    witness, _ = replay(record(tmp_path / "bag"), policy=far, parameters=limited)
    ticks = witness.traces[0].ticks
    assert ticks.clamped[1:].all(axis=0).tolist() == [False, True] and not ticks.clamped[:, 0].any()
    assert ticks.commands[:, 1].max() <= 0.1
    jumps = replace(PARAMETERS, gate=replace(PARAMETERS.gate, max_jump=(0.3, 0.3)))
    witness, _ = replay(
        record(tmp_path / "bag2"), policy=ScriptedPolicy(lambda state: state + np.ones((HORIZON, 2))), parameters=jumps
    )
    assert witness.traces[0].holds[0].cause == "JUMP"


def test_time_that_is_done_is_told(tmp_path):
    told = []
    options = ReplayOptions(PARAMETERS)
    BagReplay(record(tmp_path / "bag", 4.0), ScriptedPolicy(), options).run(Witness(), told.append)
    assert told == sorted(told) and len(told) >= 4 and told[-1] == pytest.approx(3.99)


def test_an_added_delay_of_the_parameters_counts(tmp_path):
    witness, _ = replay(record(tmp_path / "bag"), parameters=with_execution(added_delay_s=0.06), delay_s=0.02)
    assert {round(chunk.latency_s, 6) for chunk in witness.chunks} == {0.08}


def test_the_namespace_of_the_node_is_that_of_its_topics(tmp_path):
    parameters = replace(
        PARAMETERS,
        joints=JointParameters(names=JOINTS, topic="/joint_states"),
        cameras={"front": CameraParameters(topic="/camera/front/image_raw")},
        outputs={"arm": OutputParameters(type="position_array", topic="commands", joints=JOINTS)},
    )
    witness, outcome = replay(record(tmp_path / "bag"), parameters=parameters, namespace="/arm")
    assert not outcome.partial and witness.traces[0].has_commands
