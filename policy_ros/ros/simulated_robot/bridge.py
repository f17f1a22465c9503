# SPDX-License-Identifier: Apache-2.0
"""The bridge between a simulated robot and its topics.

Publishes ``joint_states`` and cameras, follows commands as a robot's controllers do, and draws a new task when one is
done. One thread steps and publishes on the steady clock, another one runs the callbacks.
"""

from __future__ import annotations

import threading
import traceback

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from std_msgs.msg import String
from std_srvs.srv import Trigger

from policy_ros.execution.clock import SteadyClock
from policy_ros.ros.convert import ns_to_stamp
from policy_ros.ros.declare import DeclaredParameters
from policy_ros.ros.diagnostics import OK, WARN, status
from policy_ros.ros.qos import LATCHED, STATUS
from policy_ros.ros.simulated_robot.controllers import SimulatedControllers
from policy_ros.ros.simulated_robot.outputs import CameraPublisher, JointStatePublisher
from policy_ros.ros.simulated_robot.parameters import (
    SimulatedRobotParameters,
    check_faults,
    controllers_for,
    describe_faults,
    robot_config,
)
from policy_ros.simulation.robot import SimulatedRobot
from policy_ros.simulation.schedule import Job, Schedule

_NS = 1_000_000_000
_JOIN_S = 3.0  # one picture on a busy machine takes a good part of a second
_MAX_STEPS_IN_ARREARS = 20


class SimulatedRobotBridge:
    """Connects a :class:`SimulatedRobot` with its topics.

    Args:
        node: publishes and subscribes; the bridge is not a node itself and shares no attribute with one.

    Raises:
        PolicyRosError: the parameters do not describe a robot.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        declared = DeclaredParameters(
            node,
            SimulatedRobotParameters,
            locked=lambda: "is read at start only; restart simulated_robot with the new value",
            check=lambda parameters: check_faults(parameters.faults, self._robot.cameras),
            applied=self._apply,
        )
        self._parameters: SimulatedRobotParameters = declared.read()
        self._robot = SimulatedRobot(robot_config(self._parameters))
        check_faults(self._parameters.faults, self._robot.cameras)
        self._clock_source = SteadyClock()
        self._start_ns = self._clock_source.now_ns()
        self._steps = 0
        self._episodes, self._successes = 1, 0
        self._episode_s = self._solved_s = 0.0
        self._reset_wanted = threading.Event()
        self._controllers = SimulatedControllers(
            node,
            controllers_for(self._parameters, self._robot.joints),
            self._robot.joints,
            self._robot.positions,
            steady_ns=self._motion_ns,
            ros_ns=self._stamp_ns,
        )
        self._create_outputs()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._loop = threading.Thread(target=self._run, name="simulation", daemon=True)

    def _create_outputs(self) -> None:
        parameters = self._parameters
        self._joint_states = JointStatePublisher(self._node, self._robot.joints)
        self._cameras = {
            name: CameraPublisher(
                self._node,
                name,
                raw=parameters.publish_raw,
                compressed=parameters.publish_compressed,
                jpeg_quality=parameters.jpeg_quality,
            )
            for name in self._robot.cameras
        }
        self._clock = self._node.create_publisher(ClockMessage, "/clock", 1) if parameters.publish_clock else None
        self._diagnostics = self._node.create_publisher(DiagnosticArray, "/diagnostics", STATUS)
        self._node.create_service(Trigger, "~/reset", self._on_reset)
        if self._robot.description is not None:
            latched = self._node.create_publisher(String, "robot_description", LATCHED)
            latched.publish(String(data=self._robot.description))

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to move and publish."""
        self._loop.start()
        cameras = ", ".join(self._cameras) or "none"
        self._node.get_logger().info(
            f"{self._parameters.env_id}: joints {', '.join(self._robot.joints)}; cameras {cameras}; "
            f"{self._robot.step_hz:g} steps per second"
        )

    @property
    def alive(self) -> bool:
        """Whether the loop runs."""
        return self._loop.is_alive()

    def stop(self) -> bool:
        """End the loop; True if it ended in time and had not failed."""
        self._stop.set()
        if self._loop.ident is not None:
            self._loop.join(_JOIN_S)
        if self._loop.is_alive():
            self._node.get_logger().error(f"the simulation did not end within {_JOIN_S:g} s")
        else:
            self._robot.close()
        return not self._loop.is_alive() and self._failure is None

    # -- the loop's thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            Schedule(self._jobs(), self._clock_source).run(self._stop)
        except Exception as error:
            self._failure = error  # ends the process: a robot that silently stands still would mislead
            self._node.get_logger().fatal(f"the simulation failed:\n{traceback.format_exc()}")

    def _jobs(self) -> list[Job]:
        step_ns = round(_NS / self._robot.step_hz)
        self._steps_per_joint_state = max(1, round(self._robot.step_hz / self._parameters.joint_state_hz))
        jobs = [Job(step_ns, self._step, max_catch_up=_MAX_STEPS_IN_ARREARS)]
        camera_ns = round(_NS / self._parameters.camera_hz)
        for index, name in enumerate(self._cameras):
            # Spread over the period, so that two pictures do not delay one step.
            phase_ns = camera_ns * index // len(self._cameras) + step_ns // 2
            jobs.append(Job(camera_ns, lambda name=name: self._take_picture(name), phase_ns))
        jobs.append(Job(_NS, self._publish_diagnostics))
        return jobs

    def _step(self) -> None:
        if self._reset_wanted.is_set():
            self._reset_wanted.clear()
            self._begin_episode()
        self._robot.step(self._controllers.setpoints(self._motion_ns(), self._robot.period_s))
        self._steps += 1
        if self._clock is not None:
            self._clock.publish(ClockMessage(clock=ns_to_stamp(self._stamp_ns())))
        if self._steps % self._steps_per_joint_state == 0 and not self._parameters.faults.silent_joint_states:
            self._joint_states.publish(self._robot.positions, self._robot.velocities, self._stamp_ns())
        self._referee()

    def _referee(self) -> None:
        """Notice success, and draw the next task when this one is over."""
        self._episode_s += self._robot.period_s
        if self._solved_s > 0.0:  # stays solved, whatever happens in the moment after
            self._solved_s += self._robot.period_s
        elif self._robot.success:
            self._solved_s = self._robot.period_s
            self._successes += 1
            self._node.get_logger().info(f"episode {self._episodes}: solved after {self._episode_s:.1f} s")
        if not self._parameters.auto_reset:
            return
        if self._solved_s > self._parameters.success_hold_s or self._episode_s > self._parameters.episode_timeout_s:
            self._begin_episode()

    def _begin_episode(self) -> None:
        keep_arm = not self._parameters.reset_arm
        before = self._robot.positions
        self._robot.reset(keep_arm=keep_arm)
        self._episodes += 1
        self._episode_s = self._solved_s = 0.0
        after = self._robot.positions
        if not (before == after).all():
            self._controllers.reset(after)

    def _take_picture(self, name: str) -> None:
        faults, stamp_ns = self._parameters.faults, self._stamp_ns()
        if name in faults.silent_cameras:
            return
        camera = self._cameras[name]
        frozen = name in faults.frozen_cameras and camera.last is not None
        camera.publish(camera.last if frozen else self._robot.image(name), stamp_ns)

    def _publish_diagnostics(self) -> None:
        values: dict[str, object] = {
            f"camera.{name}.published": camera.published for name, camera in self._cameras.items()
        }
        values |= {
            "joint_states.published": self._joint_states.published,
            "commands_received": self._controllers.received,
            "commands_refused": self._controllers.refused,
            "episodes": self._episodes,
            "successes": self._successes,
        }
        faults = describe_faults(self._parameters.faults)
        entry = status(f"{self._node.get_name()}: robot", WARN if faults else OK, faults or "running", values)
        message = DiagnosticArray(status=[entry])
        message.header.stamp = ns_to_stamp(self._stamp_ns())
        self._diagnostics.publish(message)

    # -- both threads --------------------------------------------------------------------------------------------------

    def _motion_ns(self) -> int:
        """Time that motion runs on: steady, or simulated."""
        if self._parameters.publish_clock:
            return self._start_ns + round(self._steps * _NS / self._robot.step_hz)
        return self._clock_source.now_ns()

    def _stamp_ns(self) -> int:
        """Time of stamps: simulated time, which begins at one second because zero means unknown, or ROS time."""
        if self._parameters.publish_clock:
            return _NS + round(self._steps * _NS / self._robot.step_hz)
        return self._node.get_clock().now().nanoseconds

    def _apply(self, parameters: SimulatedRobotParameters) -> None:
        """Take over what may change while running: the faults."""
        self._parameters = parameters

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset_wanted.set()
        response.success, response.message = True, "a new task is drawn with the next step"
        return response
