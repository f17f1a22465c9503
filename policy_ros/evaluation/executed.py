# SPDX-License-Identifier: Apache-2.0
"""Episodes through the real executor, strategies and gate, with inferences that take a known time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import Observation
from policy_ros.errors import ActionError, ConfigurationError
from policy_ros.evaluation.fitting import make_task, node_parameters
from policy_ros.evaluation.options import EvaluationOptions
from policy_ros.evaluation.result import EpisodeResult, ExecutionFacts
from policy_ros.evaluation.seeds import noise_generator
from policy_ros.evaluation.task import Progress, Task
from policy_ros.execution import ALWAYS_FRESH, ChunkExecutor, Gate, VirtualDrive
from policy_ros.parameters import build
from policy_ros.parameters.node import NodeParameters
from policy_ros.policies.base import Policy
from policy_ros.policies.seeded import SeededPolicy

_STREAM = "environment"


def run_executed(
    policy: Policy, options: EvaluationOptions, seeds: Sequence[int], progress: Progress
) -> list[EpisodeResult]:
    """The episodes of these seeds, one after the other.

    Raises:
        ConfigurationError: policy, environment and mode do not fit.
        ActionError: actions that are not finite.
    """
    task = make_task(policy, options)
    results = []
    try:
        for seed in seeds:
            results.append(_Episode(task, policy, options, seed).run())
            progress(results[-1])
    finally:
        task.close()
    return results


def check_mode(policy: Policy, options: EvaluationOptions, task: Task) -> None:
    """Refuse a mode that this policy cannot be executed in, or this environment; its episode has begun.

    Raises:
        ConfigurationError: says why.
    """
    parameters = node_parameters(task, options)
    build.strategy(parameters, policy)
    _gate(parameters, task, options)
    _standing(task, options)


def _gate(parameters: NodeParameters, task: Task, options: EvaluationOptions) -> Gate:
    """With the limits of the parameters, and of the robot's description where these ask for it."""
    if not parameters.gate.use_robot_description:
        return build.make_gate(parameters)
    if task.description is None:
        raise ConfigurationError(f"gate.use_robot_description: expected false, {options.env_id} has no description")
    return build.make_gate(parameters, task.description)


def _standing(task: Task, options: EvaluationOptions) -> NDArray[np.float64]:
    """The action ``(A,)`` that moves nothing."""
    positions = task.positions
    if positions is None:
        raise ConfigurationError(
            f"{options.env_id}: expected an agent_pos of the shape of an action, to stand still while there is no "
            "action: a mode of execution needs one"
        )
    return positions


class _Episode:
    """The environment as a robot: it stands where it was until the first command, and at the newest one after that."""

    def __init__(self, task: Task, policy: Policy, options: EvaluationOptions, seed: int) -> None:
        self._task = task
        self._seed = seed
        task.reset(seed)
        self._command = _standing(task, options)
        parameters = node_parameters(task, options)
        delay_ns = round(options.delay_ms * 1e6)
        self._drive = VirtualDrive(
            self,
            SeededPolicy(policy, noise_generator(seed)),
            lambda _: delay_ns,
            strategy=build.strategy(parameters, policy),
            gate=_gate(parameters, task, options),
            scaling=build.action_scaling(parameters),
            config=build.execution_config(parameters),
        )

    @property
    def over(self) -> bool:
        """As the environment says."""
        return self._task.over

    def observe(self, now_ns: int) -> Observation:
        """Without any delay of the sensors."""
        return Observation(self._task.observe(), {_STREAM: now_ns}, now_ns)

    def tick(self, executor: ChunkExecutor, now_ns: int) -> None:
        """One step of the environment toward the newest command."""
        tick = executor.tick(ALWAYS_FRESH, self._task.positions)
        command = tick.hold if tick.window is None else tick.window[0]
        if command is not None:
            self._command = np.array(command, dtype=np.float64)
        self._task.step(self._command)

    def run(self) -> EpisodeResult:
        """To its end."""
        self._drive.run()
        task, status = self._task, self._drive.executor.status()
        if status.chunks_rejected:
            raise ActionError(
                f"episode of seed {self._seed}: expected finite actions of shape (H, A), got {status.chunks_rejected} "
                f"chunks that are not; {status.hold_detail}"
            )
        later = self._drive.delays[1:]  # nothing is executed during the first
        reasons = [inference.degradation for inference in self._drive.inferences if inference.degradation]
        return EpisodeResult(
            seed=self._seed,
            success=task.success,
            steps=task.steps,
            seconds=task.steps / task.rate_hz,
            best_reward=task.best_reward,
            inferences=len(self._drive.inferences),
            execution=ExecutionFacts(
                delay_steps=float(np.mean(later)) if later else 0.0,
                guided=status.chunks_guided,
                gate_clamped=status.gate_clamped,
                holds=status.holds,
                hold="" if status.hold_cause is None else f"{status.hold_cause.name}: {status.hold_detail}",
                degradation=reasons[-1] if reasons else "",
            ),
        )
