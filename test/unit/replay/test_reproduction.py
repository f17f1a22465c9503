# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest
from support.bags import STORE, Recording, array, header, image, joint_state, ns, time
from support.checkpoints import write_act, write_flow
from support.replays import HORIZON, JOINTS, PARAMETERS, ScriptedPolicy, course

from policy_ros.bags import BagError
from policy_ros.cli.main import main
from policy_ros.errors import ConfigurationError
from policy_ros.policies import load_policy
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.reproduction import CHUNK_TYPE, reproduce

TOPIC = "/policy/action_chunk"


def chunk(sequence, stamps_ns, actions, names=JOINTS):
    return STORE.types[CHUNK_TYPE](
        header=header(ns(0.0)),
        policy="scripted",
        epoch=1,
        sequence=sequence,
        observation_streams=list(stamps_ns),
        observation_stamps=[time(stamp_ns) for stamp_ns in stamps_ns.values()],
        delay=0,
        execution_horizon=5,
        dt=0.02,
        joint_names=list(names),
        horizon=len(actions),
        actions=np.asarray(actions, dtype=np.float32).reshape(-1),
    )


def record(path, chunks, camera_late_s=0.0):
    """Joints at 100 Hz, pictures at 25 Hz that the recorder logs late, and the chunks: (time logged, message)."""
    generator = np.random.default_rng(0)
    events = []
    for step in range(200):
        time_s = step / 100
        events.append((time_s, "/joint_states", joint_state(ns(time_s), JOINTS, course(time_s))))
        if step % 2 == 0:
            events.append((time_s, "/arm/commands", array(course(time_s))))
        if step % 4 == 0:
            pixels = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            events.append((time_s + camera_late_s, "/camera/front/image_raw", image(ns(time_s), pixels)))
    events += [(time_s, TOPIC, message) for time_s, message in chunks]
    with Recording(path) as bag:
        for time_s, topic, message in sorted(events, key=lambda event: event[0]):
            bag.add(topic, ns(time_s), message)
    return path


def seen(joints_s, camera_s):
    return {"joint_states": ns(joints_s), "camera/front": ns(camera_s)}


def staying(time_s):
    return np.tile(course(time_s), (HORIZON, 1))


def run(path, policy=None, **options):
    return reproduce(path, policy or ScriptedPolicy(), ReplayOptions(PARAMETERS), **options)


def test_a_policy_that_answers_the_same_is_reproduced_whatever_order_the_recorder_got_things_in(tmp_path):
    chunks = [
        (0.5 + 0.1 * i, chunk(i, seen(0.40 + 0.1 * i, 0.40 + 0.08 * (i // 2)), staying(0.40 + 0.1 * i)))
        for i in range(2)
    ]
    found = run(record(tmp_path / "bag", chunks, camera_late_s=0.15))
    assert found.topic == TOPIC and [each.sequence for each in found.chunks] == [0, 1]
    assert found.differences == pytest.approx([0.0, 0.0], abs=1e-6) and found.largest < 1e-6


def test_a_difference_is_measured_by_joint_name(tmp_path):
    wrong = staying(0.4)
    wrong[3, 1] += 0.25
    swapped = chunk(1, seen(0.4, 0.4), staying(0.4)[:, ::-1], names=JOINTS[::-1])
    found = run(record(tmp_path / "bag", [(0.5, chunk(0, seen(0.4, 0.4), wrong)), (0.6, swapped)]))
    assert found.differences == pytest.approx([0.25, 0.0], abs=1e-6)


def test_an_observation_that_was_not_recorded_cannot_be_compared(tmp_path):
    found = run(record(tmp_path / "bag", [(0.5, chunk(7, seen(0.405, 0.4), staying(0.4)))]))
    assert [(each.sequence, each.difference) for each in found.chunks] == [(7, None)]
    assert found.largest is None


def test_chunks_of_another_policy_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="10 rows for shoulder, elbow, got 3 rows"):
        run(record(tmp_path / "bag", [(0.5, chunk(0, seen(0.4, 0.4), staying(0.4)[:3]))]))


def test_a_bag_without_chunks_is_refused(tmp_path):
    with pytest.raises(BagError, match="ActionChunk, got none"):
        run(record(tmp_path / "bag", []))


def test_a_policy_that_draws_noise_is_refused(tmp_path):
    flow = load_policy(write_flow(tmp_path / "flow", joints=2), device="cpu")
    with pytest.raises(ConfigurationError, match="without noise"):
        run(record(tmp_path / "bag", [(0.5, chunk(0, seen(0.4, 0.4), staying(0.4)))]), policy=flow)


@pytest.mark.parametrize(("error", "status", "said"), [(0.0, 0, ": reproduced"), (0.01, 1, "NOT reproduced")])
def test_the_command_says_whether_all_were_reproduced(tmp_path, capsys, error, status, said):
    checkpoint = write_act(tmp_path / "act", joints=2, chunk_size=HORIZON)
    policy = load_policy(checkpoint, device="cpu")
    policy.freeze()
    witness = seen_at_the_chunk()
    answer = policy.predict(witness) + error
    bag = record(tmp_path / "bag", [(0.5, chunk(0, seen(0.4, 0.4), answer))])
    file = tmp_path / "robot.yaml"
    output = {"type": "position_array", "topic": "arm/commands", "joints": list(JOINTS)}
    values = {
        "joints": {"names": list(JOINTS)},
        "cameras": {"front": {"topic": "camera/front/image_raw"}},
        "outputs": {"arm": output},
        "gate": {"use_robot_description": False},
    }
    file.write_text(json.dumps({"/**": {"ros__parameters": values}}))  # JSON is YAML
    command = ["replay", "reproduce", str(bag), "--policy", str(checkpoint), "--params-file", str(file)]
    assert main(command) == status
    assert said in capsys.readouterr().out
    assert main([*command, "--json"]) == status
    (summary,) = json.loads(capsys.readouterr().out)["bags"]
    assert summary["reproduced"] is (status == 0)
    assert summary["largest_difference"] == pytest.approx(error, abs=1e-6)


def seen_at_the_chunk():
    """What the policy sees at 0.4 s of the recording."""
    generator = np.random.default_rng(0)
    pixels = [generator.integers(0, 256, (12, 16, 3), dtype=np.uint8) for _ in range(11)][10]
    state = np.array(course(0.4), dtype=np.float32)
    return {"observation.state": state, "observation.images.front": pixels.transpose(2, 0, 1)}
