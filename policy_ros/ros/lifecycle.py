# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node whose transitions cannot fail silently, wedge the node or kill its executor.

What rclpy (Jazzy) does by itself, and what is done about it here:

* an exception in a transition callback is swallowed without a log line, and a missing return value leaves the node in
  ``configuring`` for good: every transition is wrapped, logged, and always answers with an enum;
* a request for a transition that the current state does not have raises out of the executor's spin: it is refused;
* ``get_state`` waits behind a running transition: a transition that the service asks for gets a thread of its own, the
  services are in a reentrant group.

The executor stays single-threaded. rclpy's multi-threaded one submits a ready callback again and again until a worker
begins with it, which under load keeps the interpreter's lock busy and delays everything by tenths of a second.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

from rclpy._rclpy_pybind11 import RCLError
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.lifecycle.node import LifecycleNodeMixin
from rclpy.node import Node
from rclpy.task import Future

from policy_ros.errors import PolicyRosError
from policy_ros.ros.worker import Worker


class ManagedNode(LifecycleNode):
    """Base of managed nodes: subclasses implement five plain methods that raise when they cannot succeed.

    A :class:`PolicyRosError` refuses the transition (one log line, the node keeps its previous state); any other
    exception is logged with its traceback and takes the node through error processing back to ``unconfigured``.
    """

    def __init__(self, node_name: str, **kwargs) -> None:
        # Not LifecycleNode.__init__: it offers no way to choose the callback group of the lifecycle services.
        Node.__init__(self, node_name, **kwargs)
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self.stopping = threading.Event()  # the process is asked to end: a transition need not wait any longer
        self.callback_thread: threading.Thread | None = None  # runs the callbacks, if it is known
        self._transition_lock = threading.Lock()
        self._transitions = Worker("transition")
        self._answer_change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state

    def destroy_node(self) -> None:
        """Also ends the thread of the transitions."""
        self._transitions.stop()
        super().destroy_node()

    # What subclasses implement

    def configure(self) -> None:
        """Load everything; on an error nothing may be left behind (:meth:`cleanup` is called)."""

    def activate(self) -> None:
        """Start; on an error :meth:`deactivate` is called."""

    def deactivate(self) -> None:
        """Make the robot hold, then stop. Must work from any half-started state."""

    def cleanup(self) -> None:
        """Release everything :meth:`configure` made. Must work from any half-configured state."""

    # What the outside calls

    @property
    def state_label(self) -> str:
        """``unconfigured``, ``inactive``, ``active``, ``finalized`` or a transition's name."""
        return self._state_machine.current_state[1]

    def request(self, transition: str) -> bool:
        """Run one of ``configure``, ``activate``, ``deactivate``, ``cleanup``, ``shutdown`` from this process.

        Waits for a transition that is under way. Returns whether it succeeded.
        """
        with self._transition_lock:
            return self._trigger(transition)

    def begin(self, transition: str) -> bool:
        """As :meth:`request`, but without waiting for it: for callbacks. False if another transition is under way."""
        if not self._transition_lock.acquire(blocking=False):
            return False

        def job() -> None:
            try:
                self._trigger(transition)
            finally:
                self._transition_lock.release()

        self._transitions.submit(job)
        return True

    def _trigger(self, transition: str) -> bool:
        trigger: Callable[[], TransitionCallbackReturn] = getattr(self, f"trigger_{transition}")
        try:
            return trigger() == TransitionCallbackReturn.SUCCESS
        except RCLError as error:
            self.get_logger().error(f"transition '{transition}' is not possible from '{self.state_label}': {error}")
            return False

    def wait_for_transition(self) -> str:
        """Wait until no transition is under way; returns the state then."""
        with self._transition_lock:
            return self.state_label

    async def _on_change_state(self, request, response):
        """Answers the service; the executor goes on meanwhile, because the transition has a thread of its own."""
        if not self._transition_lock.acquire(blocking=False):
            self.get_logger().error(f"transition refused: another one is under way ('{self.state_label}'); try again")
            response.success = False
            return response
        done = Future()

        def transition() -> None:
            try:
                response.success = self._change_state(request, response)
            finally:
                self._transition_lock.release()
                done.set_result(None)
                self.executor.wake()

        self._transitions.submit(transition)
        await done
        return response

    def _change_state(self, request, response) -> bool:
        try:
            return self._answer_change_state(request, response).success
        except RCLError:
            wanted = request.transition.label or request.transition.id
            self.get_logger().error(f"transition '{wanted}' is not possible from '{self.state_label}'")
            return False

    # rclpy's callbacks

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guard("configure", self.configure, self.cleanup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guard("activate", self.activate, self.deactivate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        # The robot holds before anything else happens.
        return self._guard("deactivate", self.deactivate, None)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guard("cleanup", self.cleanup, None)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guard("shutdown", self._release_all, None)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guard("error processing", self._release_all, None)

    def _release_all(self) -> None:
        try:
            self.deactivate()
        finally:
            self.cleanup()

    def _guard(self, name: str, step: Callable[[], None], undo: Callable[[], None] | None) -> TransitionCallbackReturn:
        try:
            step()
            return TransitionCallbackReturn.SUCCESS
        except PolicyRosError as error:
            self.get_logger().error(f"{name} refused: {error}")
        except Exception:
            self.get_logger().error(f"{name} failed:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        if undo is None:
            return TransitionCallbackReturn.ERROR
        try:
            undo()
        except Exception:
            self.get_logger().error(f"undoing {name} failed:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.FAILURE
