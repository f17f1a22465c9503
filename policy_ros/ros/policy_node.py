# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: parameters, transitions, services, status and diagnostics. It only wires parts together."""

from __future__ import annotations

import gc
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.timer import Timer
from std_msgs.msg import String
from std_srvs.srv import Trigger

from policy_ros.errors import ConfigurationError
from policy_ros.execution import ExecutionStatus, HoldCause
from policy_ros.msg import ActionChunk, PolicyStatus
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.policy import load_policy_for
from policy_ros.ros.declare import DeclaredParameters
from policy_ros.ros.diagnostics import diagnostic_array, lifecycle_status, policy_status, runtime_diagnostics
from policy_ros.ros.guarded import guarded, guarded_service
from policy_ros.ros.lifecycle import ManagedNode
from policy_ros.ros.managed_process import run_managed
from policy_ros.ros.memory import release_memory
from policy_ros.ros.process import run_process
from policy_ros.ros.qos import STATUS
from policy_ros.ros.runtime import PolicyRuntime
from policy_ros.ros.status import status_message
from policy_ros.ros.swapping.swapper import SWAPPING, PolicySwapper
from policy_ros.ros.worker import Worker

SETTLED = ("unconfigured", "inactive", "active", "finalized")  # states between two transitions
LOADER_NICENESS = 10  # of the thread that loads another policy while the robot moves


class PolicyNode(ManagedNode):
    """Runs one policy on one robot. See docs/architecture.md for the way of the data."""

    def __init__(self, **kwargs) -> None:
        super().__init__("policy", **kwargs)
        self._runtime: PolicyRuntime | None = None
        self._swapper: PolicySwapper | None = None
        self._loader = Worker("swap", niceness=LOADER_NICENESS)
        self._lingering: PolicyRuntime | None = None  # its inference had not ended when it was cleaned up
        self._status_timer: Timer | None = None
        self._gave_up = ""  # why the node deactivated itself, until it is activated again
        self._group = MutuallyExclusiveCallbackGroup()
        self._declared = DeclaredParameters(
            self, NodeParameters, locked=self._why_locked, check=self._check_change, applied=self._apply_change
        )
        self._chunks = self.create_publisher(ActionChunk, "~/action_chunk", STATUS)
        self._status = self.create_publisher(PolicyStatus, "~/status", STATUS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", STATUS)
        self.create_service(Trigger, "~/reset", guarded_service(self, self._on_reset), callback_group=self._group)
        self.create_subscription(String, "~/prompt", guarded(self, self._on_prompt), 1, callback_group=self._group)
        self._every(1.0, self._publish_diagnostics)

    @property
    def autostart(self) -> bool:
        """Whether the node shall configure and activate itself."""
        return self.get_parameter("autostart").value

    # Transitions

    def configure(self) -> None:
        if self._lingering is not None and self._lingering.executor.alive:
            raise ConfigurationError(
                "an inference of the previous policy still runs and cannot be ended; wait for it or restart the node"
            )
        self._lingering = None
        parameters: NodeParameters = self._declared.read()
        policy = load_policy_for(parameters)
        self._runtime = PolicyRuntime(self, parameters, policy, self._chunks)
        self._swapper = PolicySwapper(self, self._runtime, self._loader, self._declared.restore, self._group)
        self._status_timer = self._every(1.0 / parameters.status_rate_hz, self._publish_status)
        self.get_logger().info(
            f"configured '{policy.name}' from '{parameters.policy.path or 'fresh, untrained weights'}' "
            f"on {policy.device}: {policy.config.chunk_size} x {len(parameters.joints.names)} actions "
            f"at {parameters.execution.rate_hz:g} Hz"
        )
        release_memory()  # what loading took beside the weights
        gc.freeze()  # torch's objects make a full collection stop all threads for 0.1 s and more: leave them out

    def activate(self) -> None:
        self._gave_up = ""
        self._swapper.wait_until_prepared()
        self._runtime.activate()
        parameters = self._runtime.parameters
        commands = "commands enabled" if parameters.enable_commands else "dry run, no commands"
        self.get_logger().info(f"active: mode {parameters.execution.mode}, {commands}")

    def deactivate(self) -> None:
        if self._runtime is not None:
            self._runtime.deactivate()

    def cleanup(self) -> None:
        runtime, self._runtime = self._runtime, None
        swapper, self._swapper = self._swapper, None
        if swapper is not None:
            swapper.close()
        if self._status_timer is not None:
            self.destroy_timer(self._status_timer)
            self._status_timer = None
        if runtime is None:
            return
        gc.unfreeze()
        runtime.destroy()
        if runtime.executor.alive:
            self._lingering = runtime
        del runtime, swapper
        release_memory()

    def destroy_node(self) -> None:
        """Also ends the thread that loads policies."""
        self._loader.stop()
        super().destroy_node()

    # Parameters

    def _why_locked(self) -> str:
        if self._runtime is None and self.state_label in ("unconfigured", "finalized"):
            return ""
        return f"cannot change while the node is '{self.state_label}'; deactivate and clean up, set it, configure again"

    def _check_change(self, parameters: NodeParameters, names: frozenset[str]) -> None:
        runtime, swapper = self._runtime, self._swapper
        if names & SWAPPING:
            self._require_no_transition(names & SWAPPING)
            if swapper is not None:
                swapper.check(parameters)
        if runtime is not None and names - SWAPPING:
            runtime.make_strategy(parameters)

    def _require_no_transition(self, names: frozenset[str]) -> None:
        if self.state_label not in SETTLED:
            raise ConfigurationError(f"{', '.join(sorted(names))}: cannot change while '{self.state_label}'; try again")

    def _apply_change(self, parameters: NodeParameters, names: frozenset[str]) -> None:
        runtime, swapper = self._runtime, self._swapper
        if runtime is None or swapper is None:
            return
        runtime.apply(parameters)
        if "policy.prompt" in names:
            runtime.set_task(parameters.policy.prompt)
        if names & SWAPPING:
            swapper.request(parameters, names & SWAPPING)

    # Topics and services

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        runtime = self._runtime
        if runtime is None or self.state_label != "active":
            response.message = f"expected an active node, it is '{self.state_label}'; activate it"
            return response
        response.success = True
        response.message = f"epoch {runtime.reset('reset requested')}"
        return response

    def _on_prompt(self, message: String) -> None:
        runtime = self._runtime
        if runtime is not None:
            runtime.set_task(message.data)

    def _publish_status(self) -> None:
        runtime, swapper = self._runtime, self._swapper
        if runtime is not None and swapper is not None:
            self._status.publish(status_message(runtime, swapper.state, self.get_clock().now().to_msg()))

    def _publish_diagnostics(self) -> None:
        name = self.get_fully_qualified_name().lstrip("/")
        runtime, swapper = self._runtime, self._swapper
        entries = [] if runtime is None else runtime_diagnostics(name, runtime, active=self.state_label == "active")
        if runtime is not None and swapper is not None:
            entries.append(policy_status(name, runtime, swapper.state))
        warnings = [] if runtime is None else runtime.warnings()
        entries.insert(0, lifecycle_status(name, self.state_label, warnings, self._gave_up))
        self._diagnostics.publish(diagnostic_array(self.get_clock().now().to_msg(), entries, hardware_id=name))
        if runtime is not None and self.state_label == "active":
            self._give_up_if_the_policy_fails(runtime.executor.status())

    def _give_up_if_the_policy_fails(self, execution: ExecutionStatus) -> None:
        """A policy that keeps raising (out of memory, for one) will not do better by being asked again."""
        if execution.hold_cause is not HoldCause.POLICY_FAILED:
            return
        if self.begin("deactivate"):
            self._gave_up = f"deactivated: {execution.hold_cause.value}: {execution.hold_detail}"
            self.get_logger().error(f"{self._gave_up}; mend the cause and activate again")

    def _every(self, period_s: float, callback: Callable[[], None]) -> Timer:
        # On the steady clock: status must go on while a simulated clock stands still.
        return self.create_timer(
            period_s, guarded(self, callback), callback_group=self._group, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )


def main(argv: list[str] | None = None) -> int:
    """Entry point of the executable ``policy_node``."""
    return run_process("policy_node", argv, lambda stop: run_managed(PolicyNode(), stop))


if __name__ == "__main__":
    raise SystemExit(main())
