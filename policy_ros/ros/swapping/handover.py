# SPDX-License-Identifier: Apache-2.0
"""From one policy to the next, as far as the node's topics and parameters are concerned."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from policy_ros.data import Observation
from policy_ros.execution import ChunkExecutor, Strategy, Successor
from policy_ros.observation import ObservationAssembler
from policy_ros.parameters import build
from policy_ros.parameters.node import PolicyParameters
from policy_ros.ros.clocks import LocalTime
from policy_ros.ros.inputs import Inputs
from policy_ros.ros.swapping.incumbent import Incumbent
from policy_ros.ros.swapping.newcomer import Newcomer

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy


class Handover:
    """Subscribes to what a newcomer needs, lets it take over at a chunk boundary, and leaves what nobody needs.

    Args:
        incumbent: becomes the newcomer.
        executor: asks it for chunks.
        inputs: feed its assembler beside the incumbent's.
        time: local time.
        became: told on the inference thread, with the executor's lock held, so that no tick sees a half of it.
    """

    def __init__(
        self,
        incumbent: Incumbent,
        executor: ChunkExecutor,
        inputs: Inputs,
        time: LocalTime,
        became: Callable[[], None],
    ) -> None:
        self._incumbent = incumbent
        self._executor = executor
        self._inputs = inputs
        self._time = time
        self._became = became
        self._newcomer: Newcomer | None = None
        self._offering = threading.RLock()  # of successors
        self._task = ""

    @property
    def task(self) -> str:
        """Text that goes with the observations; empty where there is none."""
        return self._task

    def assemblers(self) -> tuple[ObservationAssembler, ...]:
        """That in use, and that of a newcomer."""
        newcomer, assembler = self._newcomer, self._incumbent.assembler
        if newcomer is None or newcomer.assembler is assembler:
            return (assembler,)
        return assembler, newcomer.assembler

    def set_task(self, text: str) -> bool:
        """Task text of the next observations, an empty one is none; whether it is another one than before."""
        with self._offering:
            before, self._task = self._task, text
            for assembler in self.assemblers():
                assembler.set_task(text or None)
        return text != before

    def begin_epoch(self, failed: Callable[[str], None]) -> None:
        """As if the policy took over from itself: the robot moves on meanwhile."""
        incumbent = self._incumbent
        with self._offering:
            if self._executor.successor is None:  # who begins an epoch anyway
                policy = incumbent.policy
                self._executor.succeed(
                    Successor(
                        policy,
                        self.observer(incumbent.assembler),
                        policy.config.chunk_size,
                        self._strategy_for(policy),
                        failed=failed,
                    )
                )

    def prepare(self, policy: Policy, wanted: PolicyParameters) -> Newcomer:
        """Subscribe to what another policy needs beside what is there.

        Args:
            policy: loaded and warmed up.
            wanted: how it was asked for.

        Raises:
            ConfigurationError: it does not fit the robot or the parameters.
        """
        newcomer, parameters = self._incumbent.newcomer(policy, wanted)
        with self._offering:
            self._newcomer = newcomer
            newcomer.assembler.set_task(self._task or None)
        if newcomer.assembler is not self._incumbent.assembler:
            self._inputs.feed(newcomer.assembler, newcomer.observed, parameters)
        return newcomer

    def offer(
        self,
        newcomer: Newcomer,
        *,
        begun: Callable[[], None],
        done: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        """Let it take over at the next chunk boundary; at once while nothing is executed.

        Args:
            newcomer: prepared, its streams are there.
            begun, done, failed: see :class:`Successor`.
        """

        def taken_over() -> None:
            self._incumbent.become(newcomer)
            self._became()
            done()

        policy = newcomer.policy
        with self._offering:
            self._executor.succeed(
                Successor(
                    policy,
                    self.observer(newcomer.assembler),
                    policy.config.chunk_size,
                    self._strategy_for(policy),
                    begun=begun,
                    taken_over=taken_over,
                    failed=failed,
                )
            )

    def turn_away(self, newcomer: Newcomer | None = None) -> None:
        """It shall not take over any more, if it has not; None: whoever is about to."""
        with self._offering:
            newcomer = newcomer or self._newcomer
            if newcomer is self._newcomer:
                self._newcomer = None
            successor = self._executor.successor
            if newcomer is not None and successor is not None and successor.policy is newcomer.policy:
                self._executor.withdraw(successor)
        if newcomer is not None and newcomer.assembler is not self._incumbent.assembler:
            self._inputs.forget(newcomer.assembler)

    def forget_the_old(self) -> None:
        """After another policy has taken over: no samples for the one before it."""
        with self._offering:
            if self._newcomer is not None and self._newcomer.policy is self._incumbent.policy:
                self._newcomer = None
            keep = self.assemblers()
        self._inputs.keep_only(keep)

    def observer(self, assembler: ObservationAssembler) -> Callable[[], Observation]:
        """What an executor asks for observations."""
        return lambda: assembler.assemble(self._time.now_ns())

    def _strategy_for(self, policy: Policy) -> Callable[[], Strategy]:
        return lambda: build.strategy(self._incumbent.parameters, policy)
