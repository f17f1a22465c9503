# SPDX-License-Identifier: Apache-2.0
"""An exported model runs in the node."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.checkpoints import JOINTS
from support.exported import options, write_onnx, write_openvino
from support.holding import PATIENT
from support.waiting import wait_for

pytest.importorskip("onnx")

STATISTICS = {"action": {"mean": torch.zeros(len(JOINTS)), "std": torch.full((len(JOINTS),), 0.1)}}


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_the_node_commands_what_an_exported_model_predicts(robot, start_node, tmp_path: Path, kind: str):
    pytest.importorskip("openvino" if kind == "openvino" else "onnxruntime")
    from policy_ros.policies.exported.policy import describe_export

    folder = (write_openvino if kind == "openvino" else write_onnx)(tmp_path / "exported")
    described = options(
        model="model.xml" if kind == "openvino" else "model.onnx", normalization_mapping={"ACTION": "MEAN_STD"}
    )
    describe_export(folder, described, statistics=STATISTICS)
    node = start_node(policy__path=str(folder), **PATIENT)
    node.bring_up()
    wait_for(lambda: len(robot.commands) > 50, 20.0, lambda: f"commands\n{node.log}")
    wait_for(lambda: robot.statuses and robot.status.policy == "exported", 5.0, "a status that names the policy")
    assert robot.status.holds == 0
    assert max(abs(value) for command in robot.commands for value in command.positions) < 0.1


def test_an_exported_model_takes_over_on_the_running_node_and_one_without_its_graph_is_refused(
    robot, start_node, checkpoint: Path, tmp_path: Path
):
    pytest.importorskip("onnxruntime")
    from policy_ros.policies.exported.policy import describe_export

    described = options(normalization_mapping={"ACTION": "MEAN_STD"})
    folder = write_onnx(tmp_path / "exported")
    describe_export(folder, described, statistics=STATISTICS)
    node = start_node(**PATIENT)
    node.bring_up()
    wait_for(lambda: len(robot.commands) > 5, 20.0, lambda: f"commands\n{node.log}")
    assert node.set_parameter("policy.path", str(folder)) == ""
    wait_for(lambda: robot.statuses and robot.status.policy == "exported", 30.0, lambda: f"the swap\n{node.log}")
    assert node.set_parameter("policy.path", str(checkpoint)) == ""
    wait_for(lambda: robot.status.policy == "act", 30.0, lambda: f"the way back\n{node.log}")
    (folder / "model.onnx").unlink()
    assert "expected an exported model in 'model.onnx'" in node.set_parameter("policy.path", str(folder))
    assert robot.status.policy == "act"
