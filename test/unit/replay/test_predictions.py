# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.bags import ns
from support.replay_traces import DT_S, START_NS, make_trace
from support.replays import COMMANDS, HORIZON, PARAMETERS, ScriptedPolicy, Witness, record

from policy_ros.bags import Bag, open_bag
from policy_ros.durable import UNFINISHED
from policy_ros.execution import ExecutionState
from policy_ros.replay.bag_replay import BagReplay
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.predictions import CHUNKS, COMMAND, RECORDED, TYPES, PredictionFile
from policy_ros.replay.statuses import statuses

EPISODES = ((0.5, 1.0), (1.4, 2.0))


def replayed(bag: Path, out: Path, *, messages: bool = True) -> tuple[Witness, PredictionFile]:
    """The file of a bag replayed by a policy that stays where it is."""
    witness = Witness()
    file = PredictionFile(out, "scripted", open_bag(bag) if messages else None)

    class Both:
        def chunk(self, chunk, observation) -> None:
            witness.chunk(chunk, observation)
            file.chunk(chunk, observation)

        def episode(self, trace) -> None:
            witness.episode(trace)
            file.episode(trace)

    BagReplay(bag, ScriptedPolicy(), ReplayOptions(PARAMETERS)).run(Both())
    return witness, file


def contents(bag: Bag, *topics: str) -> list[tuple[str, int, bytes]]:
    return [(each.topic, each.log_ns, bytes(each.data)) for each in bag.messages(topics or list(bag.topics))]


@pytest.mark.parametrize(
    ("storage", "compression"), [("mcap", None), ("mcap", "storage"), ("sqlite3", None), ("sqlite3", "message")]
)
def test_everything_recorded_is_in_the_file_as_it_was_and_predictions_lie_between(
    tmp_path: Path, storage: str, compression: str | None
):
    bag = record(tmp_path / "bag", 2.5, episodes=EPISODES, storage=storage, compression=compression)
    witness, file = replayed(bag, tmp_path / "replay.mcap")
    file.finish()
    original, written = open_bag(bag), open_bag(tmp_path / "replay.mcap")
    assert contents(written, *original.topics) == contents(original)
    assert written.problems == [] and file.problems == []
    everything = contents(written)
    assert [log_ns for _, log_ns, _ in everything] == sorted(log_ns for _, log_ns, _ in everything)
    counts = Counter(topic for topic, _, _ in everything)
    assert counts[CHUNKS] == sum(chunk.took_over_ns is not None for chunk in witness.chunks) > 5
    assert dict(TYPES) == {name: written.topics[name].type for name in TYPES}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bag", "replay.mcap"]


def test_in_the_file_itself_messages_are_in_the_order_of_log_time_and_carry_their_definitions(tmp_path: Path):
    reading = pytest.importorskip("mcap.reader", reason="the package mcap is not installed")
    bag = record(tmp_path / "bag", 2.5, episodes=EPISODES)
    _, file = replayed(bag, tmp_path / "replay.mcap")
    file.finish()
    with (tmp_path / "replay.mcap").open("rb") as stream:
        reader = reading.make_reader(stream)
        schemas = {schema.name: schema for schema in reader.get_summary().schemas.values()}
        times = [message.log_time for _, _, message in reader.iter_messages(log_time_order=False)]
    assert times == sorted(times) and len(times) > 400
    assert {schema.encoding for schema in schemas.values()} == {"ros2msg"}
    assert b"float32[] actions" in schemas["policy_ros/msg/ActionChunk"].data
    assert b"MSG: std_msgs/Header" in schemas["policy_ros/msg/PolicyStatus"].data


def test_rosbags_reads_the_file_too(tmp_path: Path):
    from rosbags.highlevel import AnyReader

    bag = record(tmp_path / "bag", 2.5, episodes=EPISODES)
    witness, file = replayed(bag, tmp_path / "replay.mcap")
    file.finish()
    with AnyReader([tmp_path / "replay.mcap"]) as reader:
        connections = [each for each in reader.connections if each.topic == CHUNKS]
        chunks = [reader.deserialize(data, each.msgtype) for each, _, data in reader.messages(connections)]
    executed = [chunk for chunk in witness.chunks if chunk.took_over_ns is not None]
    for message, chunk in zip(chunks, executed, strict=True):
        np.testing.assert_array_equal(message.actions.reshape(HORIZON, 2), chunk.actions)
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        assert stamp_ns == chunk.took_over_ns - chunk.delay_steps * 20_000_000
        assert (message.policy, message.dt, message.joint_names) == ("scripted", 0.02, ["shoulder", "elbow"])
        assert message.observation_streams == list(chunk.observation_stamps_ns)


def test_commands_that_would_have_been_and_that_were_carry_the_moment_that_they_are_for(tmp_path: Path):
    bag = record(tmp_path / "bag", 2.5, episodes=EPISODES)
    witness, file = replayed(bag, tmp_path / "replay.mcap", messages=False)
    file.finish()
    written = open_bag(tmp_path / "replay.mcap")
    assert set(written.topics) == set(TYPES)
    for topic, name in ((COMMAND, "commands"), (RECORDED, "recorded")):
        rows = np.concatenate([getattr(trace.ticks, name) for trace in witness.traces])
        times = np.concatenate([trace.ticks.times_ns for trace in witness.traces])
        known = ~np.isnan(rows).all(axis=1)
        messages = list(written.messages([topic]))
        assert [each.log_ns for each in messages] == times[known].tolist()
        read = [written.deserialize(each) for each in messages]
        np.testing.assert_array_equal([each.position for each in read], rows[known])
        assert read[0].header.stamp.sec * 10**9 + read[0].header.stamp.nanosec == messages[0].log_ns + 20_000_000


def test_a_replay_of_such_a_file_replaces_the_predictions_in_it(tmp_path: Path):
    bag = record(tmp_path / "bag", 2.5, episodes=EPISODES)
    _, file = replayed(bag, tmp_path / "first.mcap")
    file.finish()
    _, again = replayed(tmp_path / "first.mcap", tmp_path / "second.mcap")
    again.finish()
    assert contents(open_bag(tmp_path / "first.mcap")) == contents(open_bag(tmp_path / "second.mcap"))


def test_without_the_rest_the_file_ends_with_the_last_episode(tmp_path: Path):
    bag = record(tmp_path / "bag", 2.5, episodes=EPISODES)
    _, file = replayed(bag, tmp_path / "replay.mcap")
    file.finish(rest=False)
    assert ns(1.9) < open_bag(tmp_path / "replay.mcap").end_ns < ns(2.0)


def test_a_topic_of_a_type_that_nobody_knows_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bag = record(tmp_path / "bag", 1.0)
    original = open_bag(bag)
    monkeypatch.setattr(type(original), "definition", unknown(type(original).definition))
    file = PredictionFile(tmp_path / "replay.mcap", "scripted", original)
    file.finish()
    (problem,) = file.problems
    assert "nobody knows" in problem and "not copied into replay.mcap" in problem
    assert COMMANDS not in open_bag(tmp_path / "replay.mcap").topics


def unknown(definition):
    """Refuses the type of the commands."""
    from policy_ros.bags import BagError

    def refuse(self, topic: str):
        if topic == COMMANDS:
            raise BagError("nobody knows it")
        return definition(self, topic)

    return refuse


def test_what_is_discarded_leaves_nothing(tmp_path: Path):
    bag = record(tmp_path / "bag", 2.5, episodes=EPISODES)
    _, file = replayed(bag, tmp_path / "replay.mcap")
    assert (tmp_path / f"replay.mcap{UNFINISHED}").exists() and not (tmp_path / "replay.mcap").exists()
    file.discard()
    assert [each.name for each in tmp_path.iterdir()] == ["bag"]


def test_status_says_ten_times_a_second_what_the_execution_did():
    trace = make_trace(ticks=200, delay=3, hold=(100, 120), clamped=[(50, 1), (60, 0)], guided=True)
    told = list(statuses(trace))
    times = np.diff([time_ns for time_ns, _ in told])
    assert len(told) == pytest.approx(200 * DT_S * 10, abs=1)
    np.testing.assert_allclose(times * 1e-9, 0.1, atol=DT_S)
    at = {round((time_ns - START_NS) * 1e-9 / DT_S): fields for time_ns, fields in told}
    assert at[0]["state"] == ExecutionState.WAITING and at[0]["chunks"] == 0 and "horizon" not in at[0]
    assert at[110]["hold_cause"] == "STREAM_EXPIRED" and at[110]["state"] == ExecutionState.HOLDING
    last_ns, last = told[-1]
    assert last["hold_cause"] == "" and last["holds"] == 1 and last["gate_clamped"] == 2 and last["epoch"] == 1
    assert last["chunks"] == sum((chunk.took_over_ns or last_ns + 1) <= last_ns for chunk in trace.chunks)
    assert last["delay"] == 3 and last["execution_horizon"] == 10 and last["horizon"] == 20 and last["feasible"]
    assert at[95]["step"] == sum(trace.ticks.states[:96] == ExecutionState.RUNNING)


def test_the_seam_of_the_newest_chunk_is_told():
    told = [fields for _, fields in statuses(make_trace(ticks=200, seam=0.5)) if fields["chunks"] > 1]
    assert min(fields["seam_jump"] for fields in told) > 0.4
