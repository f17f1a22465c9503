# SPDX-License-Identifier: Apache-2.0
"""The bridge between a simulated robot and its topics.

Publishes ``joint_states`` and cameras, follows commands as a robot's controllers do, and draws a new task when one is
done. One thread steps and publishes, in real time or in simulated time; another one runs the callbacks.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Mapping, Sequence

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from std_msgs.msg import String
from std_srvs.srv import Trigger

from policy_ros.execution.clock import Clock, SteadyClock
from policy_ros.ros.convert import ns_to_stamp
from policy_ros.ros.declare import DeclaredParameters
from policy_ros.ros.diagnostics import OK, WARN, status
from policy_ros.ros.qos import LATCHED, STATUS
from policy_ros.ros.simulated_robot.controllers import SimulatedControllers
from policy_ros.ros.simulated_robot.demonstrator import Demonstrator
from policy_ros.ros.simulated_robot.episodes import EpisodePublisher
from policy_ros.ros.simulated_robot.outputs import CameraPublisher, JointStatePublisher
from policy_ros.ros.simulated_robot.parameters import (
    ControllerParameters,
    SimulatedRobotParameters,
    check_expert,
    check_faults,
    check_time,
    controllers_for,
    describe_faults,
    episode_rules,
    robot_config,
)
from policy_ros.simulation.disturbance import Disturbance
from policy_ros.simulation.kinematics import ARM_JOINTS
from policy_ros.simulation.referee import Decision, Referee, Verdict
from policy_ros.simulation.robot import SimulatedRobot
from policy_ros.simulation.schedule import Job, Schedule
from policy_ros.simulation.simulated_clock import SimulatedClock

_NS = 1_000_000_000
_JOIN_S = 3.0  # one picture on a busy machine takes a good part of a second
_MAX_STEPS_IN_ARREARS = 20
_COMMAND_TIMEOUT_S = 1.0
_ENDED_IS_HEARD_S = 0.1  # another topic must not overtake the news that an episode is over
_DISTURBANCE_S = 0.3  # a push comes and goes within about a second


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
            check=lambda parameters, _: check_faults(parameters.faults, self._robot.cameras),
            applied=self._apply,
        )
        self._parameters: SimulatedRobotParameters = declared.read()
        check_time(self._parameters)
        check_expert(self._parameters)
        self._robot = SimulatedRobot(robot_config(self._parameters))
        check_faults(self._parameters.faults, self._robot.cameras)
        self._clock_source: Clock = SteadyClock()
        if self._parameters.publish_clock:
            self._clock_source = SimulatedClock(self._parameters.time_factor, self._clock_source)
        self._start_ns = self._clock_source.now_ns()
        self._steps = 0
        self._referee = Referee(episode_rules(self._parameters))
        self._reset_wanted = threading.Event()
        controllers = controllers_for(self._parameters, self._robot.joints)
        self._controllers = SimulatedControllers(
            node,
            controllers,
            self._robot.joints,
            self._robot.positions,
            steady_ns=self._motion_ns,
            ros_ns=self._stamp_ns,
        )
        self._create_outputs()
        self._demonstrator: Demonstrator | None = None
        self._commands_lost = 0
        self._disturbance: Disturbance | None = None
        if self._parameters.expert:
            self._create_expert(controllers)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._loop = threading.Thread(target=self._run, name="simulation", daemon=True)

    def _create_outputs(self) -> None:
        parameters = self._parameters
        self._joint_states = JointStatePublisher(self._node, self._robot.joints)
        self._cameras = {
            name: CameraPublisher(
                self._node,
                f"camera/{name}/image_raw",
                f"camera_{name}",
                raw=parameters.publish_raw,
                compressed=parameters.publish_compressed,
                jpeg_quality=parameters.jpeg_quality,
            )
            for name in self._robot.cameras
        }
        self._spectator = CameraPublisher(
            self._node,
            "spectator/image_raw",
            f"camera_{self._robot.cameras[0]}",
            raw=False,
            compressed=parameters.spectator_hz > 0.0,
            jpeg_quality=parameters.jpeg_quality,
        )
        self._episodes = EpisodePublisher(self._node, parameters.task)
        self._clock = self._node.create_publisher(ClockMessage, "/clock", 1) if parameters.publish_clock else None
        self._diagnostics = self._node.create_publisher(DiagnosticArray, "/diagnostics", STATUS)
        self._node.create_service(Trigger, "~/reset", self._on_reset)
        if self._robot.description is not None:
            latched = self._node.create_publisher(String, "robot_description", LATCHED)
            latched.publish(String(data=self._robot.description))

    def _create_expert(self, controllers: Mapping[str, ControllerParameters]) -> None:
        parameters, joints = self._parameters, self._robot.joints
        self._demonstrator = Demonstrator(self._node, self._robot, controllers, parameters.expert_rate_hz)
        if parameters.expert_noise > 0.0:
            deviation = np.array([parameters.expert_noise if joint in ARM_JOINTS else 0.0 for joint in joints])
            self._disturbance = Disturbance(deviation, _DISTURBANCE_S, parameters.seed)

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to move and publish."""
        for name in self._cameras:
            self._robot.image(name)  # the first one draws the table too, which would make the loop late
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
        if self._demonstrator is not None:
            jobs.append(Job(round(_NS / self._parameters.expert_rate_hz), self._demonstrate))
        camera_ns = round(_NS / self._parameters.camera_hz)
        for index, name in enumerate(self._cameras):
            # Spread over the period, so that two pictures do not delay one step.
            phase_ns = camera_ns * index // len(self._cameras) + step_ns // 2
            jobs.append(Job(camera_ns, lambda name=name: self._take_picture(name), phase_ns))
        if self._parameters.spectator_hz > 0.0:
            jobs.append(Job(round(_NS / self._parameters.spectator_hz), self._take_spectator_picture, step_ns // 4))
        jobs.append(Job(_NS, self._publish_diagnostics))
        return jobs

    def _step(self) -> None:
        if self._reset_wanted.is_set():
            self._reset_wanted.clear()
            self._obey(self._referee.request())
        if self._parameters.publish_clock:
            self._await_commands()  # they take no simulated time to arrive, however busy the machine is
        setpoints = self._controllers.setpoints(self._motion_ns(), self._robot.period_s)
        if self._disturbance is not None and self._referee.running:
            setpoints = setpoints + self._disturbance.advance(self._robot.period_s)
        self._robot.step(setpoints)
        self._steps += 1
        if self._clock is not None:
            self._clock.publish(ClockMessage(clock=ns_to_stamp(self._stamp_ns())))
        if self._steps % self._steps_per_joint_state == 0 and not self._parameters.faults.silent_joint_states:
            self._joint_states.publish(self._robot.positions, self._robot.velocities, self._stamp_ns())
        self._obey(self._referee.advance(self._robot.success, self._robot.period_s))

    def _obey(self, verdicts: Sequence[Verdict]) -> None:
        """Do what the referee says, and tell others."""
        for verdict in verdicts:
            if verdict.decision is Decision.DRAW:
                self._draw_task(verdict.index)
            elif verdict.decision is Decision.SOLVED:
                text = f"episode {verdict.index}: solved after {self._referee.elapsed_s:.1f} s"
                self._node.get_logger().info(text)
            self._episodes.publish(verdict, self._stamp_ns())

    def _draw_task(self, index: int) -> None:
        self._await_commands()  # those for the task before must not move the arm in this one
        parameters, before = self._parameters, self._robot.positions
        seed = parameters.seed + index
        seeded = parameters.seed_episodes or index == 0
        self._robot.reset(keep_arm=not parameters.reset_arm, seed=seed if seeded else None)
        after = self._robot.positions
        if not (before == after).all():
            self._controllers.reset(after)
        if self._demonstrator is not None:
            self._demonstrator.restart()
        if self._disturbance is not None:
            self._disturbance.restart(seed)

    def _await_commands(self) -> None:
        """Until everything that the expert published has arrived."""
        if self._demonstrator is None:
            return
        expected = self._demonstrator.published - self._commands_lost
        if not self._controllers.wait_until_received(expected, _COMMAND_TIMEOUT_S):
            lost = expected - self._controllers.received
            self._commands_lost += lost
            self._node.get_logger().warning(f"{lost} commands of the expert did not arrive")

    def _demonstrate(self) -> None:
        if self._demonstrator is None:
            return
        if self._referee.running:
            self._demonstrator.publish(self._stamp_ns())
        elif self._referee.paused_s > _ENDED_IS_HEARD_S:
            self._demonstrator.hold()

    def _take_picture(self, name: str) -> None:
        faults, stamp_ns = self._parameters.faults, self._stamp_ns()
        if name in faults.silent_cameras:
            return
        camera = self._cameras[name]
        frozen = name in faults.frozen_cameras and camera.last is not None
        camera.publish(camera.last if frozen else self._robot.image(name), stamp_ns)

    def _take_spectator_picture(self) -> None:
        self._spectator.publish(self._robot.spectator_image(), self._stamp_ns())

    def _publish_diagnostics(self) -> None:
        values: dict[str, object] = {
            f"camera.{name}.published": camera.published for name, camera in self._cameras.items()
        }
        values |= {
            "joint_states.published": self._joint_states.published,
            "commands_received": self._controllers.received,
            "commands_refused": self._controllers.refused,
            "episodes": self._referee.started,
            "successes": self._referee.successes,
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

    def _apply(self, parameters: SimulatedRobotParameters, changed: frozenset[str]) -> None:
        """Take over what may change while running: the faults."""
        self._parameters = parameters

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = not self._referee.finished
        response.message = f"all {self._parameters.episodes} episodes are over"
        if response.success:
            self._reset_wanted.set()
            response.message = "a new task is drawn with the next step"
        return response
