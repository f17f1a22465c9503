# SPDX-License-Identifier: Apache-2.0
"""Rebuilds reference cases into real checkpoint directories and replays their inputs.

A case in ``cases/`` is a checkpoint as LeRobot 0.6.1 wrote it, without its weights, which follow a rule:

* ``manifest.json`` gives every tensor's shape and whether it follows the rule or lies in ``computed.npz``;
* ``io.npz`` holds inputs ``in/<t>/<key>``, perhaps ``noise``, and LeRobot's outputs ``out/<t>/<kind>``.
"""

from __future__ import annotations

import json
import math
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

CASES = Path(__file__).parent / "cases"


def ruled_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of a tensor that follows the rule: noise seeded by its name, scaled by what it is."""
    if "num_batches_tracked" in name:
        return np.zeros(shape, np.int64)
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape) if shape else 0.0
    noise = np.asarray(noise, np.float32)
    if name.endswith("running_var"):
        return 1 + 0.1 * np.abs(noise)
    if len(shape) == 4:
        return noise * np.float32(math.sqrt(2 / math.prod(shape[1:])))
    if len(shape) in (2, 3):
        return noise * np.float32(2 / math.sqrt(math.prod(shape[1:])))
    if name.endswith("weight"):
        return 1 + np.float32(0.1) * noise
    return np.float32(0.05) * noise


class GoldenCase:
    """One reference case, rebuilt in ``directory``."""

    def __init__(self, name: str, directory: Path) -> None:
        self.directory = directory
        source = CASES / name
        directory.mkdir(parents=True)
        for pattern in ("config.json", "policy_*"):
            for file in source.glob(pattern):
                shutil.copy(file, directory)
        computed = np.load(source / "computed.npz")
        manifest = json.loads((source / "manifest.json").read_text())
        weights = {
            key: np.asarray(ruled_weight(key, tuple(entry["shape"])) if entry["rule"] else computed[key], order="C")
            for key, entry in manifest.items()
        }
        for key, entry in manifest.items():
            weights[key] = weights[key].astype(entry["dtype"], copy=False)
            assert list(weights[key].shape) == entry["shape"], key
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        self._io = dict(np.load(source / "io.npz"))
        self.noise = self._io.pop("noise", None)
        self.steps = 1 + max(int(key.split("/")[1]) for key in self._io)

    def observation(self, step: int) -> dict[str, np.ndarray]:
        """What the policy saw at a step."""
        prefix = f"in/{step}/"
        return {key.removeprefix(prefix): value for key, value in self._io.items() if key.startswith(prefix)}

    def outputs(self, step: int) -> dict[str, np.ndarray]:
        """What LeRobot answered at a step, by kind."""
        prefix = f"out/{step}/"
        found = {key.removeprefix(prefix): value for key, value in self._io.items() if key.startswith(prefix)}
        assert found, f"no outputs at step {step}"
        return found

    def largest_differences(self, policy) -> dict[str, float]:
        """Kind of output to the largest absolute difference over all steps; an unknown kind is an error."""
        policy.reset()
        largest: dict[str, float] = {}
        for step in range(self.steps):
            torch.manual_seed(1000 + step)
            observation = self.observation(step)
            selected = policy.select_normalized(observation, noise=self.noise)
            ours = {"select_normalized": selected.detach().cpu().numpy()}
            ours["select"] = policy.units.to_robot(selected, None).detach().cpu().numpy()
            expected = self.outputs(step)
            if "chunk" in expected or "chunk_normalized" in expected:
                chunk = policy.predict_normalized(observation, noise=self.noise).detach()
                ours["chunk_normalized"] = chunk.cpu().numpy()
                ours["chunk"] = policy.predict(observation, noise=self.noise)
            for kind, reference in expected.items():
                assert kind in ours, f"unknown kind of output '{kind}'"
                # LeRobot keeps a batch axis of one in some outputs.
                assert reference.size == ours[kind].size, (kind, reference.shape, ours[kind].shape)
                difference = np.abs(reference.reshape(ours[kind].shape) - ours[kind]).max()
                largest[kind] = max(largest.get(kind, 0.0), float(difference))
        return largest


@pytest.fixture
def golden_case(tmp_path: Path) -> Callable[[str], GoldenCase]:
    """Rebuilds a case by name."""
    return lambda name: GoldenCase(name, tmp_path / name)
