# SPDX-License-Identifier: Apache-2.0
"""Work beside which a control loop has to keep its period."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import Observation, StreamHealth
from policy_ros.errors import PolicyRosError
from policy_ros.execution import ChunkExecutor, HoldCause
from policy_ros.parameters import build
from policy_ros.parameters.node import (
    CameraParameters,
    ExecutionParameters,
    JointParameters,
    NodeParameters,
    PolicyParameters,
)
from policy_ros.parameters.policy import load_policy_for

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy

_JOINTS = ("joint1", "joint2", "joint3", "gripper_joint")
_CAMERAS = ("top", "wrist")
_IMAGE = (3, 120, 160)
_ACT = {  # the size of the demonstration's policy, see config/sim_untrained.yaml
    "chunk_size": 50,
    "n_action_steps": 50,
    "dim_model": 128,
    "n_heads": 4,
    "dim_feedforward": 256,
    "n_encoder_layers": 2,
    "use_vae": False,
    "pretrained_backbone_weights": None,
}
_FIRST_CHUNK_S = 60.0
_STOP_S = 10.0
_POLL_S = 0.01


class Idle:
    """Nothing else happens."""

    name = "idle"

    def start(self) -> None:
        """Nothing to start."""

    def tick(self) -> None:
        """Nothing to do."""

    def stop(self) -> dict[str, float]:
        """Nothing to say."""
        return {}


class BusyPython:
    """A thread that computes in Python and never waits: it wants the interpreter all the time."""

    name = "busy Python"

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start computing."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._compute, name="busy", daemon=True)
        self._thread.start()

    def tick(self) -> None:
        """Nothing to do."""

    def stop(self) -> dict[str, float]:
        """Stop computing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_STOP_S)
        return {}

    def _compute(self) -> None:
        total = 0
        while not self._stop.is_set():
            total += sum(range(100))


class Inference:
    """Inferences without a pause: the node's executor and inference thread, with ACT of the demonstration's size.

    Args:
        rate_hz: of the control tick [Hz].
        device: torch device; empty: CUDA if there is one, else the CPU, on one thread.

    Raises:
        PolicyRosError: no such device.
    """

    name = "inference"

    def __init__(self, rate_hz: float, device: str = "") -> None:
        parameters = _parameters(rate_hz, device)
        self.policy = load_policy_for(parameters)
        observed = _observation(self.policy)
        self._health = StreamHealth(ages_s={})
        self.executor = ChunkExecutor(
            self.policy,
            lambda: observed,
            strategy=build.strategy(parameters, self.policy),
            gate=build.make_gate(parameters),
            scaling=build.action_scaling(parameters),
            config=build.execution_config(parameters),
        )
        self._started_s = 0.0

    def start(self) -> None:
        """Start inferring and wait for the first chunk."""
        self.executor.start()
        deadline = time.monotonic() + _FIRST_CHUNK_S
        while self.executor.status().chunks == 0:
            if time.monotonic() > deadline:
                raise PolicyRosError(f"expected a chunk within {_FIRST_CHUNK_S:g} s, got none")
            time.sleep(_POLL_S)
        self._started_s = time.monotonic()

    def tick(self) -> None:
        """Consume a row, which lets the next inference begin."""
        self.executor.tick(self._health, None)

    def stop(self) -> dict[str, float]:
        """Stop inferring; median latency [ms], and the share of the time in which an inference ran."""
        elapsed_s = time.monotonic() - self._started_s
        seen = self.executor.status()
        self.executor.stop(_STOP_S)
        if seen.hold_cause not in (None, HoldCause.STARVED):
            raise PolicyRosError(f"expected inferences without a pause, got a hold: {seen.hold_detail}")
        inferring_s = (seen.chunks - 1) * seen.inference_latency.p50  # the first one had ended when the time began
        return {"inference_ms": seen.inference_latency.p50 * 1e3, "inference_share": min(1.0, inferring_s / elapsed_s)}


def _parameters(rate_hz: float, device: str) -> NodeParameters:
    return NodeParameters(
        policy=PolicyParameters(type="act", device=device, allow_untrained=True, overrides=json.dumps(_ACT)),
        joints=JointParameters(names=_JOINTS),
        cameras={name: CameraParameters(shape=_IMAGE) for name in _CAMERAS},
        # One step after its observation a chunk is due for replacement: the next inference begins at once.
        execution=ExecutionParameters(rate_hz=rate_hz, mode="overlap", execution_horizon=1),
    )


def _observation(policy: Policy) -> Observation:
    """Noise in the shapes that the policy takes."""
    rng = np.random.default_rng(0)
    features: dict[str, NDArray[np.uint8] | NDArray[np.float32]] = {}
    for key, feature in policy.config.observed_features.items():
        if len(feature.shape) == 3:
            features[key] = rng.integers(0, 256, feature.shape, dtype=np.uint8)
        else:
            features[key] = rng.standard_normal(feature.shape, dtype=np.float32)
    return Observation(features=features, stamps_ns={}, stamp_ns=time.time_ns())
