# SPDX-License-Identifier: Apache-2.0
"""The policy node's lifecycle and services, from outside."""

from __future__ import annotations

import time

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.task import Future
from std_srvs.srv import Trigger

from policy_ros.ros.replay.link import Link, ThroughRosError

_CALL_S = 60.0  # an answer on a busy machine
_TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
}


class NodeControl:
    """Client of one policy node.

    Args:
        link: this process's node.
        name: full name of the policy node.
    """

    def __init__(self, link: Link, name: str) -> None:
        self.name = name
        self._link = link
        self._change = link.node.create_client(ChangeState, f"{name}/change_state")
        self._get = link.node.create_client(GetState, f"{name}/get_state")
        self._reset = link.node.create_client(Trigger, f"{name}/reset")

    @property
    def found(self) -> bool:
        """Whether the node is there and can be asked."""
        return all(client.service_is_ready() for client in (self._change, self._get, self._reset))

    def state(self) -> str:
        """``unconfigured``, ``inactive``, ``active``, or a transition's name; answers during transitions too."""
        return self._answer(self._get.call_async(GetState.Request()), "its state").current_state.label

    def begin(self, transition: str) -> Future:
        """Ask for ``configure``, ``activate`` or ``deactivate``; the answer has ``success``."""
        return self._change.call_async(ChangeState.Request(transition=Transition(id=_TRANSITIONS[transition])))

    def transition(self, name: str, timeout_s: float = _CALL_S) -> None:
        """Let the node change its state.

        Raises:
            ThroughRosError: it refused, or did not answer in time.
        """
        if not self._answer(self.begin(name), f"to {name}", timeout_s).success:
            raise ThroughRosError(f"node {self.name} refused to {name}; its log says why")

    def reset(self) -> None:
        """Release a hold; raises ThroughRosError if the node refuses."""
        answer = self._answer(self._reset.call_async(Trigger.Request()), "to reset")
        if not answer.success:
            raise ThroughRosError(f"node {self.name} refused to reset: {answer.message}")

    def _answer(self, future: Future, what: str, timeout_s: float = _CALL_S):
        begun_s = time.monotonic()
        self._link.wait_for(
            future.done,
            timeout_s,
            lambda: f"node {self.name} {what}: no answer since {time.monotonic() - begun_s:.0f} s",
        )
        return future.result()
