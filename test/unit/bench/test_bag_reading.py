# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from policy_ros.bags import BagError
from policy_ros.bench import bag_reading, recording
from policy_ros.cli.main import main
from policy_ros.parameters.node import JointParameters, NodeParameters

SMALL = (48, 64)
TOPICS = {"/joint_states", "/camera/top/image_raw", "/camera/wrist/image_raw", "/arm_controller/commands"}


@pytest.fixture(params=["mcap", "sqlite3"])
def bag(request, tmp_path):
    recording.record(tmp_path / "bag", 2.0, request.param, SMALL)
    return tmp_path / "bag"


def test_there_is_a_sample_for_every_period_of_control(bag):
    samples, moments = bag_reading.read_samples(bag, recording.parameters())
    assert samples == moments
    # From the first moment at which everything is there to the end.
    assert 95 <= samples <= 100


def test_rosbags_reads_the_messages_that_samples_are_made_of(bag):
    assert bag_reading.deserialize_all(bag, TOPICS) == 2 * (2 * 30 + 100 + 50)
    assert bag_reading.deserialize_all(bag, {"/joint_states"}) == 200


def test_turns_are_measured_one_after_the_other(bag):
    lines: list[str] = []
    result = bag_reading.measure(bag, recording.parameters(), turns=2, report=lines.append)
    assert (result.messages, result.samples) == (420, result.moments)
    durations = (result.rosbags_s, result.policy_ros_s, result.rosbags_cpu_s, result.policy_ros_cpu_s)
    assert [len(each) for each in durations] == [2] * 4
    assert len(lines) == 2
    assert all(seconds > 0.0 for each in durations for seconds in each)


def test_the_ratio_is_that_of_the_medians():
    result = bag_reading.Result(
        0, 0, 0, (1.0, 9.0, 2.0), (4.0, 4.0, 100.0), rosbags_cpu_s=(3.0, 1.0, 9.0), policy_ros_cpu_s=(2.0, 2.0, 2.0)
    )
    assert result.ratio == 0.5
    assert result.cpu_ratio == 1.5


def test_a_bag_of_another_robot_is_refused(bag):
    with pytest.raises(BagError, match="expected topic"):
        bag_reading.measure(bag, NodeParameters(joints=JointParameters(names=("a",), topic="x")), turns=1, report=print)


def test_the_command_prints_a_table_or_json(bag, tmp_path, capsys):
    file = tmp_path / "robot.yaml"
    cameras = {name: {"topic": f"camera/{name}/image_raw"} for name in recording.CAMERAS}
    joints = list(recording.JOINTS)
    output = {"type": "position_array", "topic": "arm_controller/commands", "joints": joints}
    values = {"joints": {"names": joints}, "cameras": cameras, "outputs": {"arm": output}}
    file.write_text(json.dumps({"/**": {"ros__parameters": values}}))  # JSON is YAML
    command = ["bench", "bags", "--bag", str(bag), "--params-file", str(file), "--turns", "1"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "| samples: observation and setpoint |" in out
    assert "Ratio " in out
    assert main([*command, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["messages"] == 420
    assert summary["ratio"] == pytest.approx(summary["samples_per_second"] / summary["samples_per_second_rosbags"])


def test_a_bag_needs_the_configuration_that_it_is_of(bag, capsys):
    assert main(["bench", "bags", "--bag", str(bag)]) == 2
    assert "expected --params-file beside --bag" in capsys.readouterr().err
    assert main(["bench", "bags", "--turns", "0"]) == 2
