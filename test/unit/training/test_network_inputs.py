# SPDX-License-Identifier: Apache-2.0
"""What a network is trained on is what it sees on the robot, resized and normalised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.demonstrations import PARAMETERS, demonstration, write

from policy_ros.data import ACTION
from policy_ros.observation import ObservationAssembler, default_decoder
from policy_ros.parameters.build import observation_config
from policy_ros.policies import make_policy
from policy_ros.training.dataset import DatasetOptions
from policy_ros.training.planning import plan_dataset
from policy_ros.training.samples import Grid
from policy_ros.training.statistics import compute_statistics
from policy_ros.training.stream import SampleStream

ACT = {"vision_backbone": "resnet18", "pretrained_backbone_weights": None, "dim_model": 32, "n_heads": 4}
ACT |= {"dim_feedforward": 32, "n_encoder_layers": 1, "use_vae": False, "n_action_steps": 4, "chunk_size": 4}


@pytest.mark.parametrize("image_size", [None, (48, 40)])
def test_a_training_sample_and_the_running_node_give_the_same_network_inputs(
    tmp_path: Path, image_size: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
):
    events = demonstration(seconds=1.0, size=(36, 52))
    options = DatasetOptions(chunk_size=4, image_size=image_size)
    plan = plan_dataset([write(tmp_path / "bag", events)], PARAMETERS, options)
    overrides = {**ACT, "input_features": plan.input_features, "output_features": plan.output_features}
    policy = make_policy("act", overrides, statistics=compute_statistics(plan), device="cpu")

    seen: list[dict[str, torch.Tensor]] = []
    infer, loss = policy.infer, policy.loss
    monkeypatch.setattr(policy, "infer", lambda batch, noise: (seen.append(dict(batch)), infer(batch, noise))[1])
    monkeypatch.setattr(policy, "loss", lambda batch: (seen.append(dict(batch)), loss(batch))[1])

    index = len(plan.training[0]) // 2
    sample = list(SampleStream(plan.training, PARAMETERS, options, shuffle=False))[index]
    policy.forward({key: value.unsqueeze(0) for key, value in sample.items()})

    # As the node: its own configuration, messages pushed as they arrive, one observation at that moment.
    assembler = ObservationAssembler(observation_config(PARAMETERS, policy), default_decoder())
    origin_ns = first_complete(events, assembler)
    now_ns = Grid(origin_ns, PARAMETERS.execution.rate_hz).time_ns(int(plan.training[0].points[index]))
    for event in events:
        if origin_ns < event.log_ns <= now_ns and event.push is not None:
            event.push(assembler)
    policy.predict(assembler.assemble(now_ns).features)

    trained, live = seen
    assert set(live) == set(plan.input_features)
    for key in live:
        assert live[key].shape[-len(plan.features[key].shape) :] == plan.features[key].shape
        assert torch.equal(trained[key], live[key]), key
    assert trained[ACTION].shape == (1, 4, 3)


def first_complete(events, assembler: ObservationAssembler) -> int:
    """Log time at which every stream and every command was heard of."""
    commands = set()
    for event in events:
        if event.push is None:
            commands.add(event.topic)
        else:
            event.push(assembler)
        if len(commands) == 2 and not assembler.missing():
            return event.log_ns
    raise AssertionError("incomplete")
