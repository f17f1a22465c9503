# SPDX-License-Identifier: Apache-2.0
"""The policy node with policies that misbehave when told so; run as a process of its own, see :mod:`soaking.orders`."""

from __future__ import annotations

import sys
import threading

import numpy as np
from orders import current_order

from policy_ros.policies import POLICY_REGISTRY
from policy_ros.policies.act.policy import ACTPolicy
from policy_ros.policies.flow.policy import FlowPolicy
from policy_ros.ros.policy_node import main

POLL_S = 0.01


class Unreliable:
    """Obeys the order in force at each inference."""

    def predict(self, observation, **options):
        suffer()
        return spoil(super().predict(observation, **options))

    def guided_inference(self, observation, **options):
        suffer()
        return spoil(super().guided_inference(observation, **options))


def suffer() -> None:
    """What goes wrong before an inference."""
    order = current_order()
    if order.word == "delay":
        threading.Event().wait(order.seconds)
    elif order.word == "raise":
        raise RuntimeError("out of memory (as ordered)")
    while current_order().word == "hang":
        threading.Event().wait(POLL_S)


def spoil(chunk):
    """The chunk, or a copy with one value that is not finite."""
    if current_order().word != "nan":
        return chunk
    spoilt = chunk.copy()
    spoilt[len(chunk) // 2, 0] = np.nan
    return spoilt


@POLICY_REGISTRY.register("unreliable_act")
class UnreliableAct(Unreliable, ACTPolicy):
    """ACT."""

    name = "unreliable_act"


@POLICY_REGISTRY.register("unreliable_flow")
class UnreliableFlow(Unreliable, FlowPolicy):
    """Flow matching."""

    name = "unreliable_flow"


if __name__ == "__main__":
    sys.exit(main())
