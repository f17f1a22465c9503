# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from support.checkpoints import write_act
from support.replays import JOINTS, record

from policy_ros.bags import BagError
from policy_ros.bench import recording, replaying
from policy_ros.cli.main import main
from policy_ros.parameters.node import JointParameters, NodeParameters

SMALL = (48, 64)


@pytest.fixture
def bag(tmp_path):
    recording.record(tmp_path / "bag", 4.0, size=SMALL)
    return tmp_path / "bag"


def test_turns_are_measured_one_after_the_other(bag):
    lines: list[str] = []
    result = replaying.measure(bag, recording.parameters(), turns=2, policy=None, report=lines.append)
    assert result.messages == 4 * (2 * 30 + 100 + 50)
    assert 3.9 < result.recorded_s < 4.1
    assert len(result.feeding_s) == len(result.sampling_s) == len(result.stub_s) == len(lines) == 2
    assert result.policy_s == () and result.times_real_time is None
    assert len(result.memory_mb) >= 4 and all(each > 0.0 for each in result.memory_mb)


def test_the_numbers_are_those_of_the_medians():
    result = replaying.Result(
        recorded_s=10.0,
        messages=1,
        feeding_s=(1.0, 1.0, 9.0),
        sampling_s=(2.0, 3.0, 4.0),
        stub_s=(4.0, 4.0, 100.0),
        policy_s=(0.5, 0.1, 0.9),
        memory_mb=(10.0, 90.0, 91.0, 91.0, 92.0, 93.0, 94.0, 95.0),
    )
    assert (result.of_reader, result.of_feeding, result.times_real_time) == (0.75, 0.25, 20.0)
    assert result.memory_growth_mb == 95.0 - 91.0


def test_the_stub_is_replayed_without_a_hold(bag):
    class Holds:
        def chunk(self, chunk, observation):
            pass

        def episode(self, trace):
            self.trace = trace

    listener = Holds()
    replaying._replay(bag, replaying.StubPolicy(recording.parameters()), recording.parameters(), listener, None)
    assert listener.trace.holds == () and listener.trace.counters["commands"] > 150


def test_a_bag_of_another_robot_is_refused(bag):
    other = NodeParameters(joints=JointParameters(names=("a",), topic="x"))
    with pytest.raises(BagError, match="expected topic"):
        replaying.measure(bag, other, turns=1, policy=None, report=print)


def test_the_command_prints_a_table_or_json(tmp_path, capsys):
    bag = record(tmp_path / "bag", 3.0)
    file = tmp_path / "robot.yaml"
    output = {"type": "position_array", "topic": "arm/commands", "joints": list(JOINTS)}
    values = {
        "joints": {"names": list(JOINTS)},
        "cameras": {"front": {"topic": "camera/front/image_raw"}},
        "outputs": {"arm": output},
        "gate": {"use_robot_description": False},
    }
    file.write_text(json.dumps({"/**": {"ros__parameters": values}}))  # JSON is YAML
    policy = write_act(tmp_path / "act", joints=2)
    command = [
        "bench",
        "replay",
        "--bag",
        str(bag),
        "--params-file",
        str(file),
        "--policy",
        str(policy),
        "--turns",
        "1",
    ]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "of the bag reader's (samples)" in text and "times real time" in text and "Memory" in text
    assert main([*command, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["of_reader"] > 0.0 and summary["times_real_time"] > 0.0


@pytest.mark.parametrize("arguments", [["--policy", "x"], ["--bag", "x"], ["--turns", "0"], ["--seconds", "1"]])
def test_arguments_that_make_no_sense_are_refused(arguments, capsys):
    assert main(["bench", "replay", *arguments]) == 2
    assert "expected" in capsys.readouterr().err
