# SPDX-License-Identifier: Apache-2.0
"""One inference, from the observation to a checked chunk in robot units. Owns the policy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import JointScaling, Observation
from policy_ros.execution.added_delay import AddedDelay
from policy_ros.execution.hold import HoldCause
from policy_ros.execution.strategies import Guidance
from policy_ros.execution.successor import Successor
from policy_ros.rtc import GuidanceOptions

_LOG = logging.getLogger(__name__)


class ChunkPolicy(Protocol):
    """What the execution needs of a policy."""

    def reset(self) -> None:
        """Forget the past: a new epoch begins."""
        ...

    def predict(self, observation: Mapping[str, NDArray[Any] | str], /) -> NDArray[np.float32]:
        """Actions ``(H, A)`` in units of the checkpoint."""
        ...


class GuidedPolicy(ChunkPolicy, Protocol):
    """A policy that can continue the rows that are not executed yet."""

    def guided_inference(
        self,
        observation: Mapping[str, NDArray[Any] | str],
        /,
        *,
        prefix: NDArray[np.float32],
        delay: int,
        execution_horizon: int,
        options: GuidanceOptions,
    ) -> NDArray[np.float32]:
        """Actions ``(H, A)`` in units of the checkpoint; so is the prefix ``(N, A)``."""
        ...


@dataclass(frozen=True)
class InferenceRequest:
    """State of the execution at the moment an inference starts.

    Attributes:
        epoch: results are worthless once it has ended.
        first_step: absolute step to which row 0 of the result belongs.
        execution_horizon: s, steps consumed since the previous observation.
        starved: control ticks without a row, counted since the epoch began.
        started_ns: on the monotonic clock.
        guidance: what the policy is to continue, or None.
        successor: whose first inference this is, in the place of the running policy; or None.
    """

    epoch: int
    first_step: int
    execution_horizon: int
    starved: int
    started_ns: int
    guidance: Guidance | None = None
    successor: Successor | None = None


@dataclass(frozen=True)
class Inferred:
    """A chunk: ``actions`` ``(H, A)`` finite, in robot units."""

    actions: NDArray[np.float32]
    observation: Observation
    observation_age_s: float
    inference_s: float


@dataclass(frozen=True)
class NotObserved:
    """No observation can be had right now; ``reason`` is one line."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """The policy raised, or its actions cannot be executed: ``cause`` of a hold if it goes on, ``detail`` one line."""

    cause: HoldCause
    detail: str


Outcome = Inferred | NotObserved | Failed


class Inference:
    """Observes, predicts and checks. Only the inference thread calls it.

    Args:
        policy: reset here at the beginning of every epoch.
        observe: gives the newest aligned observation, or raises ``not_ready``.
        scaling: from units of the checkpoint to robot units.
        horizon: H, rows that a chunk must have.
        not_ready: raised by ``observe`` while streams are missing, stale or skewed.
        monotonic_ns: measures durations.
        stamp_now_ns: the clock that observations are stamped with.
        added_delay: makes every inference last longer.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        observe: Callable[[], Observation],
        *,
        scaling: JointScaling,
        horizon: int,
        not_ready: type[Exception],
        monotonic_ns: Callable[[], int],
        stamp_now_ns: Callable[[], int],
        added_delay: AddedDelay,
    ) -> None:
        self._policy = policy
        self._observe = observe
        self._scaling = scaling
        self._horizon = horizon
        self._not_ready = not_ready
        self._monotonic_ns = monotonic_ns
        self._stamp_now_ns = stamp_now_ns
        self._added_delay = added_delay
        self._epoch: int | None = None  # that the policy was reset for

    def adopt(self, successor: Successor, epoch: int) -> None:
        """Another policy runs from now on; it was reset for this epoch."""
        self._policy, self._observe, self._horizon = successor.policy, successor.observe, successor.horizon
        self._epoch = epoch

    def forget_epoch(self) -> None:
        """The policy is reset before its next inference, whatever its epoch."""
        self._epoch = None

    def run(self, request: InferenceRequest) -> Outcome:
        """One inference. Never raises: whatever goes wrong is the outcome."""
        try:
            return self._run(request)
        except Exception as error:  # any failure must end in a dropped chunk, not a dead thread
            _LOG.exception("inference failed")
            return Failed(HoldCause.POLICY_FAILED, _one_line(error))

    def _run(self, request: InferenceRequest) -> Outcome:
        policy, observe, horizon = self._whose(request)
        try:
            observation = observe()
        except self._not_ready as error:
            return NotObserved(_one_line(error))
        age_s = (self._stamp_now_ns() - observation.stamp_ns) * 1e-9
        raw = np.asarray(self._predict(policy, observation.features, request.guidance))
        self._added_delay.pass_by()
        shape = (horizon, len(self._scaling.names))
        if raw.shape != shape:
            return Failed(HoldCause.INVALID_ACTION, f"expected actions of shape {shape}, got {raw.shape}")
        actions = self._scaling.to_robot(raw)
        if not np.all(np.isfinite(actions)):
            row, joint = np.argwhere(~np.isfinite(actions))[0]
            name, value = self._scaling.names[joint], actions[row, joint]
            return Failed(HoldCause.NON_FINITE_ACTION, f"expected finite actions, got {value} for {name} in row {row}")
        return Inferred(actions, observation, age_s, (self._monotonic_ns() - request.started_ns) * 1e-9)

    def _whose(self, request: InferenceRequest) -> tuple[ChunkPolicy, Callable[[], Observation], int]:
        """The policy to ask, reset if an epoch begins for it, what it observes with, and the rows of its chunks."""
        successor = request.successor
        if successor is not None:
            successor.policy.reset()
            return successor.policy, successor.observe, successor.horizon
        if request.epoch != self._epoch:
            self._policy.reset()
            self._epoch = request.epoch
        return self._policy, self._observe, self._horizon

    def _predict(
        self, policy: ChunkPolicy, features: Mapping[str, NDArray[Any] | str], guidance: Guidance | None
    ) -> NDArray[Any]:
        if guidance is None:
            return policy.predict(features)
        guided = cast(GuidedPolicy, policy)  # a strategy asks for guidance only where the policy declares it
        return guided.guided_inference(
            features,
            prefix=self._scaling.to_policy(guidance.prefix),
            delay=guidance.delay,
            execution_horizon=guidance.execution_horizon,
            options=guidance.options,
        )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
