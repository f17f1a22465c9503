# SPDX-License-Identifier: Apache-2.0
"""Carries the steps of a schedule out, waits for the system to come back after each, and says when it does not."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import contextmanager

from soaking.actions import (
    Action,
    CameraDropout,
    Fault,
    FrozenCamera,
    JointDropout,
    PolicyFault,
    Reactivate,
    Reconfigure,
    RefusedParameter,
    Reset,
    RestartRobot,
    SetParameter,
    Step,
    Swap,
    label,
)
from soaking.configuration import Configuration
from soaking.events import Activating, Deactivated, FaultBegan, FaultEnded, RobotStarting, SwapEnded, Swapping
from soaking.observer import POLICY, ROBOT, Observer, Unanswered
from soaking.orders import Order
from soaking.processes import Processes
from soaking.referee import Referee

CALL_S = 30.0  # a service on a busy machine
CONFIGURE_S = 60.0
RECOVERY_S = 60.0  # until the node commands again, once nothing is wrong any more
RETRY_S = 0.2
ATTEMPTS = 3
FEW_COMMANDS = 3  # tell that the node commands again
POLL_S = 0.02
DISCOVERY_S = 20.0
LATCHED = frozenset(
    ("NON_FINITE_ACTION", "INVALID_ACTION", "POLICY_FAILED", "INFERENCE_TIMEOUT", "JOINT_CONFLICT", "JUMP", "LIMIT")
)
FAULT_PARAMETERS = {CameraDropout: "faults.silent_cameras", FrozenCamera: "faults.frozen_cameras"}


class Interrupted(Exception):
    """Somebody wants the soak to end."""


class Driver:
    """Everything that is done to the system is done from the thread that calls :meth:`run`.

    Args:
        processes: robot and node.
        observer: services and the newest status.
        referee: is told what is done, and what does not come about.
        configuration: of the node.
        stop: ends the run.
        on_idle: called again and again while the driver waits.
    """

    def __init__(
        self,
        processes: Processes,
        observer: Observer,
        referee: Referee,
        configuration: Configuration,
        stop: threading.Event,
        on_idle: Callable[[], None],
    ) -> None:
        self.done: Counter[str] = Counter()
        self.resets = 0
        self.swaps = 0  # that came about
        self._swapping: str | None = None  # the policy that was asked for last, until its swap has ended
        self.activations = 0  # after which the endpoints were as they have to be
        self.calm = False  # nothing is wrong, the node commands
        self._processes = processes
        self._observer = observer
        self._referee = referee
        self._configuration = configuration
        self._stop = stop
        self._on_idle = on_idle

    def run(self, steps: Iterable[Step], duration_s: float) -> None:
        """Bring the node up and do one step after the other until the time is over, or ``stop`` is set."""
        deadline = time.monotonic() + duration_s
        try:
            self._referee.context = "starting"
            self._configure(None)
            self._activate()
            self._recover()
            if self._referee.count:
                return  # nothing to soak
            for step in steps:
                if time.monotonic() >= deadline:
                    return
                self._take(step)
        except Interrupted:
            pass
        finally:
            self.calm = False
            self._processes.order(Order())

    def _take(self, step: Step) -> None:
        self.calm = True
        self._wait(step.pause_s)
        self.calm = False
        self._referee.context = f"{step.action}" + (f", meanwhile {step.meanwhile}" if step.meanwhile else "")
        try:
            self._do(step.action, step.meanwhile)
        except Unanswered as problem:
            self._complain("answers", str(problem))
        self.done[label(step.action)] += 1
        self._recover()
        self._await_swap(may_fail=isinstance(step.action, PolicyFault))
        self._referee.context = f"after {step.action}"

    # Actions

    def _do(self, action: Action, meanwhile: Action | None = None) -> None:
        if isinstance(action, (CameraDropout, JointDropout, FrozenCamera, PolicyFault)):
            self._suffer(action, meanwhile)
        elif isinstance(action, SetParameter):
            self._set(action)
        elif isinstance(action, RefusedParameter):
            if not self._observer.set_parameters(POLICY, {action.name: action.value}, CALL_S):
                self._complain("parameters", f"{action.name} = {action.value!r} was accepted")
        elif isinstance(action, Swap):
            self._swap(action.policy)
        elif isinstance(action, Reset):
            self._reset()
        elif isinstance(action, Reactivate):
            self._deactivate()
            self._wait(action.pause_s)
            self._activate()
        elif isinstance(action, Reconfigure):
            self._deactivate()
            self._transition("cleanup")
            self._configure(action.policy)
            self._activate()
        elif isinstance(action, RestartRobot):
            self._restart_robot(action)
        else:
            self._restart_node()

    def _suffer(self, fault: Fault, meanwhile: Action | None) -> None:
        """A fault for its time, something else in the middle of it, and the end of the fault."""
        with self._in_force(fault):
            self._wait(fault.duration_s / 2)
            if isinstance(meanwhile, Reactivate):
                self._deactivate()  # activation would wait for the fault to end
            elif meanwhile is not None:
                self._do(meanwhile)
            if meanwhile is not None:
                self.done[f"{label(meanwhile)}, during a fault"] += 1
            self._wait(fault.duration_s / 2)
        if isinstance(meanwhile, Reactivate):
            self._activate()

    @contextmanager
    def _in_force(self, fault: Fault):
        bound_s = self._bound_s(fault)
        self._begin(fault)
        if bound_s is not None:
            self._referee.add(FaultBegan(time.time(), label(fault), bound_s))
        try:
            yield
        finally:
            if bound_s is not None:
                self._referee.add(FaultEnded(time.time(), label(fault)))
            self._end(fault)

    def _bound_s(self, fault: Fault) -> float | None:
        """T of the fault; None if it need not end in silence."""
        bounds_s = self._configuration.bounds_s
        if isinstance(fault, CameraDropout):
            return bounds_s[f"camera/{fault.camera}"]
        if isinstance(fault, JointDropout):
            return bounds_s["joint_states"]
        if isinstance(fault, PolicyFault) and fault.kind != "delay":
            return self._configuration.chunk_s
        return None

    def _begin(self, fault: Fault) -> None:
        if isinstance(fault, PolicyFault):
            self._processes.order(Order(fault.kind, fault.delay_s))
        elif isinstance(fault, JointDropout):
            self._set_robot("faults.silent_joint_states", True)
        else:
            self._set_robot(FAULT_PARAMETERS[type(fault)], [fault.camera])

    def _end(self, fault: Fault) -> None:
        if isinstance(fault, PolicyFault):
            self._processes.order(Order())
        elif isinstance(fault, JointDropout):
            self._set_robot("faults.silent_joint_states", False)
        else:
            self._set_robot(FAULT_PARAMETERS[type(fault)], [])

    def _set_robot(self, name: str, value: object) -> None:
        """Again, if it does not answer: a fault that is never lifted would spoil everything that follows."""
        for _ in range(ATTEMPTS):
            try:
                refusal = self._observer.set_parameters(ROBOT, {name: value}, CALL_S)
            except Unanswered as problem:
                self._complain("answers", str(problem))
                continue
            if refusal:
                self._complain("parameters", f"{ROBOT}: {name} = {value!r} was refused: {refusal}")
            return

    def _set(self, action: SetParameter) -> None:
        refusal = self._observer.set_parameters(POLICY, {action.name: action.value}, CALL_S)
        if refusal and not self._may_be_refused(action, refusal):
            self._complain("parameters", f"{action.name} = {action.value!r} was refused: {refusal}")

    @staticmethod
    def _may_be_refused(action: SetParameter, refusal: str) -> bool:
        """A horizon that does not fit the mode in force is refused, and so is a mode that does not fit the horizon."""
        return action.name in ("execution.mode", "execution.execution_horizon") and "horizon" in refusal

    def _choose(self, policy: str) -> None:
        path = str(self._processes.checkpoint(policy))
        refusal = self._observer.set_parameters(POLICY, {"policy.path": path}, CALL_S)
        if refusal:
            self._complain("parameters", f"policy.path = {path} was refused: {refusal}")

    def _swap(self, policy: str) -> None:
        self._referee.add(Swapping(time.time()))
        self._swapping = policy
        self._choose(policy)

    def _await_swap(self, *, may_fail: bool) -> None:
        policy, self._swapping = self._swapping, None
        if policy is not None:
            self._see_swap_through(policy, may_fail)
            self._recover()  # the status may tell of it before the first command of the other policy
            self._referee.add(SwapEnded(time.time()))

    def _see_swap_through(self, policy: str, may_fail: bool) -> None:
        """Until the policy that was asked for runs; where it misbehaved it may have been given up, and that is told."""
        wanted, deadline = str(self._processes.checkpoint(policy)), time.monotonic() + RECOVERY_S
        while not self._swapped_to(wanted):
            status = self._observer.status
            if status is not None and status.swap_phase == "failed":
                if not may_fail:
                    self._complain("swaps", f"{policy} did not take over: {status.swap_detail}")
                return
            if time.monotonic() > deadline:
                self._complain("swaps", f"{policy} did not take over within {RECOVERY_S:g} s ({self._described()})")
                return
            self._wait(POLL_S)
        self.swaps += 1

    def _swapped_to(self, path: str) -> bool:
        status = self._observer.status
        return status is not None and status.policy_path == path and status.swap_phase == "idle"

    def _reset(self) -> None:
        self.resets += self._observer.reset(CALL_S)

    def _restart_robot(self, action: RestartRobot) -> None:
        kind = label(action)
        status = self._processes.stop_robot(kill=action.kill)
        if status != 0 and not action.kill:
            self._complain("processes", f"the robot ended with status {status}")
        self._referee.add(FaultBegan(time.time(), kind, self._configuration.bounds_s["joint_states"]))
        self._wait(self._configuration.bounds_s["joint_states"] + 1.0)
        self._referee.add(FaultEnded(time.time(), kind))
        self._start_robot()

    def _start_robot(self) -> None:
        self._referee.add(RobotStarting(time.time()))
        self._processes.restart_robot()

    def _restart_node(self) -> None:
        status = self._processes.stop_node()
        self._referee.add(Deactivated(time.time()))
        if status != 0:
            self._complain("processes", f"the node ended with status {status} after SIGTERM")
        self._bring_node_up()

    def _bring_node_up(self) -> None:
        self._processes.restart_node()
        self._configure(None)
        self._activate()

    # Transitions

    def _activate(self) -> None:
        # Refused while a stream is missing, be it that the robot has only just been started.
        self._referee.add(Activating(time.time()))
        self._repeat(lambda: self._observer.transition("activate", CALL_S), RECOVERY_S, "activation")
        self._check_endpoints()

    def _deactivate(self) -> None:
        """Refused where the node is deactivating itself, because its policy keeps failing."""
        self._repeat(
            lambda: self._observer.transition("deactivate", CALL_S) or self._observer.state(CALL_S) == "inactive",
            CALL_S,
            "deactivation",
        )
        self._referee.add(Deactivated(time.time()))

    def _configure(self, policy: str | None) -> None:
        """With another policy, or as it is; refused while an inference of the previous policy still runs."""
        if policy is not None:
            self._choose(policy)
        self._repeat(lambda: self._observer.transition("configure", CONFIGURE_S), CONFIGURE_S, "configuring")

    def _transition(self, name: str) -> None:
        if not self._observer.transition(name, CALL_S):
            self._complain("transitions", f"{name} failed")

    def _repeat(self, attempt: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not attempt():
            self._require_node()
            if time.monotonic() > deadline:
                self._complain("transitions", f"{what} did not succeed within {timeout_s:g} s")
                return
            self._wait(RETRY_S)

    def _check_endpoints(self) -> None:
        """An active node has one endpoint on each of its topics: another number is a leak, or a lost one."""
        topics = self._configuration.endpoints()
        wanted = dict.fromkeys(topics, 1)
        deadline = time.monotonic() + DISCOVERY_S
        while (found := self._observer.endpoints(topics)) != wanted:
            if time.monotonic() > deadline:
                wrong = ", ".join(f"{topic}: {count}" for topic, count in found.items() if count != 1)
                self._complain("publishers", f"expected one endpoint of the node on each topic, got {wrong}")
                return
            self._wait(RETRY_S)
        self.activations += 1

    # Waiting

    def _recover(self) -> None:
        """Wait until the node commands again, and help it as a person would: reset a latched hold, activate again."""
        deadline, seen = time.monotonic() + RECOVERY_S, self._observer.commands
        while self._observer.commands < seen + FEW_COMMANDS:
            self._require_node()
            if time.monotonic() > deadline:
                self._complain("recovery", f"no command within {RECOVERY_S:g} s ({self._described()}); a new node")
                self._restart_node()
                return
            try:
                self._help()
            except Unanswered as problem:
                self._complain("answers", str(problem))
            self._wait(RETRY_S)

    def _help(self) -> None:
        status = self._observer.status
        if self._observer.state(CALL_S) == "inactive":
            self.done["activated again after the node gave up"] += 1
            self._activate()
        elif status is not None and status.hold_cause in LATCHED:
            self._reset()

    def _described(self) -> str:
        status = self._observer.status
        return "no status" if status is None else f"state {status.state}, hold '{status.hold_cause}'"

    def _require_node(self) -> None:
        """The node and the robot never end by themselves."""
        if not self._processes.robot.running:
            self._complain("processes", f"the robot ended by itself with status {self._processes.robot.exit_status}")
            self._start_robot()
        if not self._processes.node.running:
            self._complain("processes", f"the node ended by itself with status {self._processes.node.exit_status}")
            self._referee.add(Deactivated(time.time()))
            self._bring_node_up()

    def _wait(self, duration_s: float) -> None:
        deadline = time.monotonic() + duration_s
        while True:
            if self._stop.is_set():
                raise Interrupted
            self._on_idle()
            left_s = deadline - time.monotonic()
            if left_s <= 0.0:
                return
            self._stop.wait(min(left_s, POLL_S))

    def _complain(self, check: str, text: str) -> None:
        self._referee.report(time.time(), check, text)
