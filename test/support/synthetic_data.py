# SPDX-License-Identifier: Apache-2.0
"""Data of a training without bags: a rule that small policies learn in a few steps.

As a program it trains on them, for tests that kill it: ``python -m support.synthetic_data OUT OPTIONS_JSON|--resume``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.parameters.node import JointParameters, NodeParameters
from policy_ros.training.loading import Shard
from policy_ros.training.options import TrainingOptions, make_options

JOINTS = ("shoulder", "elbow")
FEATURES = {
    "observation.state": FeatureSpec(FeatureType.STATE, (2,)),
    "observation.environment_state": FeatureSpec(FeatureType.ENV, (3,)),
    "action": FeatureSpec(FeatureType.ACTION, (2,)),
}
TINY = {
    "chunk_size": 4,
    "dim_model": 16,
    "n_heads": 2,
    "dim_feedforward": 16,
    "n_encoder_layers": 1,
    "n_decoder_layers": 1,
}
TINY_ACT = {**TINY, "n_vae_encoder_layers": 1, "latent_dim": 4}


def options(**changes: Any) -> TrainingOptions:
    """A training of seconds on one thread; ``changes`` replace single options."""
    return make_options(
        {
            "bags": ["synthetic"],
            "params_file": ["synthetic.yaml"],
            "policy": "act",
            "overrides": TINY if changes.get("policy") == "flow" else TINY_ACT,
            "steps": 12,
            "batch_size": 4,
            "lr": 1e-3,
            "val_every": 4,
            "save_every": 5,
            "log_every": 1,
            "accelerator": "cpu",
            "threads": 1,
            **changes,
        }
    )


class SyntheticData:
    """See :class:`policy_ros.training.source.TrainingData`; every sample carries its ``index`` too.

    Args:
        seed: of the order.
        training: number of samples.
        validation: likewise.
    """

    def __init__(self, seed: int, training: int = 24, validation: int = 9) -> None:
        self._seed = seed
        self._sizes = {"training": training, "validation": validation}
        self.parameters = NodeParameters(joints=JointParameters(names=JOINTS))
        self.features = FEATURES
        self.has_validation = validation > 0
        self.problems = ()
        self.drawn: list[tuple[int, int]] = []  # epoch and index of what was read

    @property
    def summary(self) -> dict[str, Any]:
        return {"samples": self._sizes, "seed": self._seed}

    def statistics(self, config, relative) -> dict[str, dict[str, torch.Tensor]]:
        rows = [self._sample(i, config) for i in range(self._sizes["training"])]
        found = {}
        for key in FEATURES:
            values = torch.stack([row[key] for row in rows])
            if relative is not None and key == "action":
                values = relative.to_relative(values, torch.stack([row["observation.state"] for row in rows]))
            flat = values.reshape(-1, values.shape[-1])
            found[key] = {"mean": flat.mean(0), "std": flat.std(0) + 1e-3}
        return found

    def training(self, config, *, epoch: int, skip: int, shard: Shard) -> Iterable[dict[str, torch.Tensor]]:
        order = np.random.default_rng([self._seed, epoch]).permutation(self._sizes["training"])
        for index in order[shard.part :: shard.parts][skip:]:
            self.drawn.append((epoch, int(index)))
            yield self._sample(int(index), config)

    def validation(self, config, *, samples: int, shard: Shard) -> Iterable[dict[str, torch.Tensor]]:
        for index in range(min(samples, self._sizes["validation"]))[shard.part :: shard.parts]:
            yield self._sample(1000 + index, config)

    def _sample(self, index: int, config) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        environment = torch.randn(3, generator=generator)
        state = 10.0 + torch.randn(2, generator=generator)
        action = torch.stack([environment[:2] * (1 + row) for row in range(config.chunk_size)])
        padding = torch.arange(config.chunk_size) >= config.chunk_size - index % 2
        return {
            "index": torch.tensor(index),
            "observation.state": state,
            "observation.environment_state": environment,
            "action": action,
            "action_is_pad": padding,
        }


def main() -> None:
    from policy_ros.training.run import train

    out, what = sys.argv[1:]
    given = None if what == "--resume" else make_options(json.loads(what))
    data = SyntheticData(0, training=24)
    train(given, Path(out), lambda chosen: data, watch=tell)
    Path(f"{out}.drawn-{os.environ.get('LOCAL_RANK', 0)}.json").write_text(json.dumps(data.drawn))


def tell(report) -> None:
    """A line for each step."""
    print(report.step, flush=True)


if __name__ == "__main__":
    main()
