# SPDX-License-Identifier: Apache-2.0
"""Brings another policy in while the one before it runs: checked at once, loaded and warmed up in the background."""

from __future__ import annotations

import gc
import threading
import traceback
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from typing import TYPE_CHECKING

from rclpy.callback_groups import CallbackGroup

from policy_ros.errors import PolicyRosError
from policy_ros.execution import SwapPhase, SwapState, SwapTracker
from policy_ros.parameters.candidate import check_candidate
from policy_ros.parameters.node import NodeParameters, PolicyParameters
from policy_ros.parameters.policy import load_cold_policy, warm_up
from policy_ros.ros.guarded import guarded
from policy_ros.ros.lifecycle import ManagedNode
from policy_ros.ros.memory import release_memory
from policy_ros.ros.runtime import PolicyRuntime
from policy_ros.ros.swapping.newcomer import CHOICE, choice, describe
from policy_ros.ros.worker import Worker

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy

SWAPPING = frozenset(f"policy.{name}" for name in CHOICE)  # parameters that ask for another policy
_POLL_S = 0.1


class PolicySwapper:
    """Swaps of one configured node. Requests come on the callbacks' thread, their work is done on the worker's.

    Args:
        node: logs.
        runtime: in which policies are swapped.
        worker: for what takes long.
        restore: makes the parameters, full names to values, say what runs after all; on the callbacks' thread.
        group: of callbacks.
    """

    def __init__(
        self,
        node: ManagedNode,
        runtime: PolicyRuntime,
        worker: Worker,
        restore: Callable[[Mapping[str, str]], None],
        group: CallbackGroup,
    ) -> None:
        from policy_ros.policies import POLICY_REGISTRY

        self._node = node
        self._runtime = runtime
        self._worker = worker
        self._restore = restore
        self._tracker = SwapTracker()
        self._introducing = threading.Lock()  # what a newcomer changes in the runtime, and the end of all that
        self._closed = False
        self._told = 0  # ticket of the newest request whose end was told
        # Asking for them while the robot moves would take too long.
        POLICY_REGISTRY.import_built_ins()
        self._known = frozenset(POLICY_REGISTRY.names())
        with suppress(PolicyRosError):  # what matters is that it was done once
            self.check(runtime.parameters)
        self._ended = node.create_guard_condition(guarded(node, self._on_end), callback_group=group)

    @property
    def state(self) -> SwapState:
        """How far the newest request is."""
        return self._tracker.state

    def check(self, parameters: NodeParameters) -> None:
        """Refuse a policy that cannot take over, as far as that can be told at once.

        Raises:
            PolicyRosError: why not.
        """
        check_candidate(parameters, self._known)

    def request(self, parameters: NodeParameters, names: Set[str]) -> None:
        """Bring in the policy that ``policy.*`` names; whatever is being brought in is not wanted any more.

        Args:
            parameters: as they were set, and checked.
            names: of those that were.
        """
        if names == {"policy.type"} and parameters.policy.path and not self.state.phase.under_way:
            self._runtime.note_choice(parameters.policy)  # what runs is of this type, as the check has found
            return
        wanted = describe(parameters.policy)
        self._node.get_logger().info(f"swap: loading {wanted}")
        ticket = self._tracker.begin(wanted)
        self._runtime.handover.turn_away()
        self._worker.submit(lambda: self._work(ticket, parameters))

    def wait_until_prepared(self) -> None:
        """Wait while a policy is being loaded; a signal to end cuts it short."""
        while not self._tracker.wait_while_preparing(_POLL_S):
            if self._node.stopping.is_set():
                return

    def close(self) -> None:
        """Nothing takes over any more. A load that is under way ends by itself, and what it loaded is dropped."""
        self._tracker.abandon()
        with self._introducing:
            self._closed = True
            self._runtime.handover.turn_away()
        self._node.destroy_guard_condition(self._ended)

    # On the worker's thread

    def _work(self, ticket: int, parameters: NodeParameters) -> None:
        self._bring_in(ticket, parameters)
        if not self._tracker.counts(ticket):  # what was loaded is dropped
            release_memory()

    def _bring_in(self, ticket: int, parameters: NodeParameters) -> None:
        try:
            policy = self._load(ticket, parameters)
            if policy is not None:
                self._introduce(ticket, policy, parameters.policy)
        except PolicyRosError as error:
            self._fail(ticket, str(error))
        except Exception as error:
            self._node.get_logger().error(f"swap failed:\n{traceback.format_exc()}")
            self._fail(ticket, f"{type(error).__name__}: {error}")

    def _load(self, ticket: int, parameters: NodeParameters) -> Policy | None:
        """The policy, warmed up; None if it is not wanted any more."""
        if not self._tracker.counts(ticket):
            return None
        policy = load_cold_policy(parameters)
        if not self._tracker.advance(ticket, SwapPhase.WARMING):
            return None
        warm_up(parameters, policy)
        return policy

    def _introduce(self, ticket: int, policy: Policy, wanted: PolicyParameters) -> None:
        tracker, runtime = self._tracker, self._runtime
        with self._introducing:
            if self._closed or not tracker.counts(ticket):
                return
            newcomer = runtime.handover.prepare(policy, wanted)
        runtime.wait_for_streams_of(newcomer, lambda: tracker.counts(ticket))
        with self._introducing:
            if self._closed or not tracker.advance(ticket, SwapPhase.READY):
                runtime.handover.turn_away(newcomer)
                return
            runtime.handover.offer(
                newcomer,
                begun=lambda: tracker.advance(ticket, SwapPhase.TAKING_OVER),
                done=lambda: self._succeed(ticket),
                failed=lambda reason: self._fail(ticket, reason),
            )

    def _settle_memory(self) -> None:
        """Free what nobody uses any more, and leave what is left out of later collections (see ``configure``)."""
        self._runtime.free_the_old()
        release_memory()
        gc.freeze()

    # On the worker's or the inference thread, that one with the executor's lock held

    def _succeed(self, ticket: int) -> None:
        if self._tracker.finish(ticket):
            self._ended.trigger()

    def _fail(self, ticket: int, reason: str) -> None:
        if self._tracker.fail(ticket, reason):
            self._ended.trigger()

    # On the callbacks' thread

    def _on_end(self) -> None:
        state, runtime, log = self.state, self._runtime, self._node.get_logger()
        if state.phase.under_way or state.ticket == self._told:
            return
        self._told = state.ticket
        running = runtime.parameters.policy
        if state.phase is SwapPhase.FAILED:
            runtime.handover.turn_away()
            log.error(f"swap failed, '{runtime.policy.name}' from {describe(running)} goes on: {state.detail}")
            self._restore(choice(running))
        else:
            runtime.handover.forget_the_old()
            log.info(f"swap: '{runtime.policy.name}' from {describe(running)} has taken over")
        self._worker.submit(self._settle_memory)
