# SPDX-License-Identifier: Apache-2.0
"""The policy that runs, with everything of the node that changes when another one takes over."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

from policy_ros.execution import Strategy
from policy_ros.observation import ObservationAssembler, ObservationConfig
from policy_ros.parameters import build
from policy_ros.parameters.node import NodeParameters, PolicyParameters
from policy_ros.ros.images import make_decoder
from policy_ros.ros.swapping.newcomer import Newcomer, with_choice

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy


class Incumbent:
    """Read by every thread. Parameters come on the callbacks' thread, another policy on that of inference.

    Args:
        parameters: full set, as they are declared.
        policy: loaded and warmed up.

    Raises:
        ConfigurationError: they do not fit each other.
    """

    def __init__(self, parameters: NodeParameters, policy: Policy) -> None:
        self._given_cameras = parameters.cameras  # without those that only this policy needs
        self.policy = policy
        self.parameters = build.with_cameras_of(parameters, policy)
        build.check_joints(self.parameters, policy)
        self.observed = build.observation_config(self.parameters, policy)
        self.assembler = ObservationAssembler(self.observed, make_decoder())
        self._changing = threading.Lock()
        self._retired: list[Policy] = []  # ran before, and are not freed yet

    def strategy(self) -> Strategy:
        """A new one, for its chunks.

        Raises:
            ConfigurationError: mode or horizon do not fit the chunks.
        """
        return build.strategy(self.parameters, self.policy)

    def take(self, parameters: NodeParameters) -> NodeParameters:
        """Take over parameters that may change while it runs; which policy runs is not among them.

        Returns:
            Those before.
        """
        with self._changing:
            before = self.parameters
            chosen = with_choice(parameters.policy, before.policy)
            self.parameters = dataclasses.replace(parameters, policy=chosen, cameras=before.cameras)
            self._given_cameras = parameters.cameras
        return before

    def note_choice(self, chosen: PolicyParameters) -> None:
        """It is now asked for in other words."""
        with self._changing:
            policy = with_choice(self.parameters.policy, chosen)
            self.parameters = dataclasses.replace(self.parameters, policy=policy)

    def newcomer(self, policy: Policy, wanted: PolicyParameters) -> tuple[Newcomer, NodeParameters]:
        """Another policy under the parameters of this one, and these as they will be with it.

        Raises:
            ConfigurationError: it does not fit the robot or the parameters.
        """
        with self._changing:
            given = dataclasses.replace(self.parameters, policy=wanted, cameras=self._given_cameras)
        parameters = build.with_cameras_of(given, policy)
        build.check_joints(parameters, policy)
        build.strategy(parameters, policy)
        observed, assembler = build.observation_config(parameters, policy), self.assembler
        if _apart_from_scaling(observed) != _apart_from_scaling(self.observed):
            assembler = ObservationAssembler(observed, make_decoder())
        return Newcomer(policy, wanted, parameters.cameras, observed, assembler), parameters

    def become(self, newcomer: Newcomer) -> None:
        """It runs from now on."""
        with self._changing:
            self._retired.append(self.policy)  # freeing it takes long: not on this thread
            self.policy = newcomer.policy
            chosen = with_choice(self.parameters.policy, newcomer.wanted)
            self.parameters = dataclasses.replace(self.parameters, policy=chosen, cameras=newcomer.cameras)
        self.observed, self.assembler = newcomer.observed, newcomer.assembler

    def free_the_old(self) -> None:
        """Drop the policies that ran before, on the thread that can wait for it."""
        while self._retired:
            self._retired.pop()


def _apart_from_scaling(observed: ObservationConfig) -> ObservationConfig:
    """For comparing: the units of the joints do not change with the policy, and arrays do not compare."""
    return dataclasses.replace(observed, scaling=None)
