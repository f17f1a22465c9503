# SPDX-License-Identifier: Apache-2.0
"""An environment as an evaluation needs it: features of a policy out, actions in, success noted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from policy_ros.data import OBSERVATION_STATE, JointScaling
from policy_ros.errors import ConfigurationError
from policy_ros.evaluation.result import EpisodeResult

Array = NDArray[Any]
Features = Mapping[str, Array]
Progress = Callable[[EpisodeResult], None]


class Snapshot:
    """What was there to see at one moment. It is drawn when somebody looks, and once: pictures are what takes time.

    Args:
        look: the features.
    """

    def __init__(self, look: Callable[[], Features]) -> None:
        self._look = look

    @cached_property
    def features(self) -> Features:
        """Feature key to array, without a time axis."""
        return self._look()


class Task(ABC):
    """One environment, and the episode that runs in it.

    Args:
        env: never truncates an episode itself.
        rate_hz: control rate [Hz].
        max_steps: after which an episode is over.
        n_obs_steps: T, newest observations that :meth:`observe` gives.
        state_scaling: from robot units to those in which the policy sees the state; None: they are the same.

    Attributes:
        steps: taken in this episode.
        success: whether the environment has said so.
        best_reward: largest reward of a step.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *,
        rate_hz: float,
        max_steps: int,
        n_obs_steps: int,
        state_scaling: JointScaling | None,
    ) -> None:
        self._env = env
        self.rate_hz = rate_hz
        self.max_steps = max_steps
        self._n_obs_steps = n_obs_steps
        self._state_scaling = state_scaling
        self._seen: deque[Snapshot] = deque(maxlen=n_obs_steps)
        self._observation: Any = None
        self._ended = False
        self.steps = 0
        self.success = False
        self.best_reward = -np.inf

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """What is there to see now."""

    @property
    @abstractmethod
    def offered(self) -> Mapping[str, tuple[int, ...]]:
        """Feature keys that :meth:`observe` can give, with their shapes; ``(3, H, W)`` for pictures."""

    @property
    @abstractmethod
    def positions(self) -> NDArray[np.float64] | None:
        """``(A,)`` measured positions of what actions command, None where the environment does not tell."""

    @property
    @abstractmethod
    def joint_names(self) -> tuple[str, ...]:
        """Of the elements of an action."""

    @property
    def description(self) -> str | None:
        """URDF of the robot, where the environment has one."""
        return None

    @property
    def action_shape(self) -> tuple[int, ...] | None:
        """Of an action, None where actions are no arrays."""
        return self._env.action_space.shape

    @property
    def over(self) -> bool:
        """Whether the episode is: success, an end by the environment, or no time left."""
        return self.success or self._ended or self.steps >= self.max_steps

    def reset(self, seed: int) -> None:
        """Begin the episode of this seed."""
        self._observation, _ = self._env.reset(seed=seed)
        self.steps, self.success, self._ended, self.best_reward = 0, False, False, -np.inf
        self._seen.clear()
        self._note()

    def step(self, action: Array) -> None:
        """One control period with ``(A,)`` in the environment's units."""
        command = np.asarray(action, dtype=self._env.action_space.dtype)
        self._observation, reward, terminated, truncated, info = self._env.step(command)
        self.steps += 1
        self.best_reward = max(self.best_reward, float(reward))
        self._ended = bool(terminated or truncated)
        self.success = self._judge(info)
        self._note()

    def observe(self) -> Features:
        """Feature key to array: images ``(3, H, W)`` uint8, vectors ``(n,)`` float32; a leading T if that is not 1.

        The state is in the policy's units. A step before the episode's first repeats it, as on the robot.
        """
        if self._n_obs_steps == 1:
            return self._scaled(self.snapshot().features)
        past = [snapshot.features for snapshot in self._seen]
        return self._scaled({key: np.stack([features[key] for features in past]) for key in past[-1]})

    def close(self) -> None:
        """Release what the environment holds."""
        self._env.close()

    def _note(self) -> None:
        if self._n_obs_steps > 1:
            self._seen.extend([self.snapshot()] * (1 if self._seen else self._n_obs_steps))

    def _scaled(self, features: Features) -> Features:
        if self._state_scaling is None or OBSERVATION_STATE not in features:
            return features
        return {**features, OBSERVATION_STATE: self._state_scaling.to_policy(features[OBSERVATION_STATE])}

    def _judge(self, info: Mapping[str, Any]) -> bool:
        if "is_success" in info:
            return bool(info["is_success"])
        threshold = getattr(self._env.unwrapped, "success_threshold", None)
        if "coverage" in info and threshold is not None:
            return bool(info["coverage"] > threshold)
        told = ", ".join(info) or "nothing"
        raise ConfigurationError(f"environment: expected info['is_success'] after a step, got {told}: cannot be scored")
