# SPDX-License-Identifier: Apache-2.0
"""The parameters of the simulated robot's bridge, with description, unit, range and default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policy_ros.errors import ConfigurationError, closest
from policy_ros.parameters.schema import group, json_object, named_groups, parameter
from policy_ros.simulation import ENVIRONMENT_ID
from policy_ros.simulation.kinematics import ARM_JOINTS, GRIPPER_JOINT, JOINT_NAMES
from policy_ros.simulation.physics import SUBSTEP_S
from policy_ros.simulation.referee import Rules
from policy_ros.simulation.robot import RobotConfig

TASK = "put the puck on the goal"


@dataclass(frozen=True)
class ControllerParameters:
    """One controller of the robot with its command topic."""

    type: str = parameter("joint_trajectory", "Command type it follows", choices=("joint_trajectory", "position_array"))
    joints: tuple[str, ...] = parameter((), "Joints it moves, in the order of its commands; required")
    topic: str = parameter("", "Command topic. Empty: `<name>/joint_trajectory` or `<name>/commands`")
    max_velocity: tuple[float, ...] = parameter(
        (),
        "Fastest change of the setpoint of each joint. Empty: the robot's own limits",
        unit="rad/s or m/s",
        minimum=0.0,
    )
    allow_nonzero_velocity_at_trajectory_end: bool = parameter(
        False, "Accept a trajectory that does not come to rest, as in ros2_controllers"
    )

    def command_topic(self, name: str) -> str:
        """The topic, for a controller of this name."""
        return self.topic or f"{name}/{'joint_trajectory' if self.type == 'joint_trajectory' else 'commands'}"


@dataclass(frozen=True)
class FaultParameters:
    """Faults to try on whatever listens to the robot. They begin and end as soon as they are set."""

    silent_cameras: tuple[str, ...] = parameter((), "Cameras that publish nothing", dynamic=True)
    frozen_cameras: tuple[str, ...] = parameter(
        (), "Cameras that publish the same picture again and again, with fresh stamps", dynamic=True
    )
    silent_joint_states: bool = parameter(False, "Publish no `joint_states`", dynamic=True)


@dataclass(frozen=True)
class SimulatedRobotParameters:
    """All parameters of `simulated_robot`."""

    env_id: str = parameter(ENVIRONMENT_ID, "Registered gymnasium environment with pixels and a joint vector")
    env_kwargs: str = parameter("", 'JSON object of further arguments of the environment, e.g. `{"goal_speed": 0.03}`')
    seed: int = parameter(0, "Seed of the first episode", minimum=0)
    seed_episodes: bool = parameter(
        False, "Seed every episode by itself: seed, seed + 1, …; else the random numbers of the first one go on"
    )
    step_hz: float = parameter(
        0.0, "Steps of the environment. 0: 100 for our own, else its render_fps", unit="Hz", minimum=0.0, maximum=1000.0
    )
    joints: tuple[str, ...] = parameter((), "Names of the joint vector's elements. Empty: the environment's own")
    state_key: str = parameter("agent_pos", "Observation key of the joint vector")
    pixels_key: str = parameter("pixels", "Observation key of the picture, or of a dict of pictures")
    cameras: tuple[str, ...] = parameter((), "Cameras to publish. Empty: all of them")
    image_width: int = parameter(0, "0: as the environment draws", unit="pixels", minimum=0, maximum=4096)
    image_height: int = parameter(0, "0: as the environment draws", unit="pixels", minimum=0, maximum=4096)
    image_noise: float = parameter(
        1.5, "Standard deviation of the sensor noise, of 255", unit="grey levels", minimum=0.0, maximum=60.0
    )
    joint_state_hz: float = parameter(
        100.0, "Rate of `joint_states`, at most step_hz", unit="Hz", minimum=1.0, maximum=1000.0
    )
    camera_hz: float = parameter(30.0, "Rate of each camera", unit="Hz", minimum=0.1, maximum=200.0)
    publish_raw: bool = parameter(True, "Publish `camera/<name>/image_raw`")
    publish_compressed: bool = parameter(False, "Publish `camera/<name>/image_raw/compressed` (JPEG)")
    jpeg_quality: int = parameter(90, "Of compressed pictures", minimum=1, maximum=100)
    spectator_hz: float = parameter(
        0.0,
        "Rate of a picture for people, 640 x 480 and without noise, on `spectator/image_raw/compressed`. 0: none",
        unit="Hz",
        minimum=0.0,
        maximum=60.0,
    )
    publish_clock: bool = parameter(
        False, "Publish simulated time on `/clock` and stamp with it; it slows down where the machine cannot keep up"
    )
    time_factor: float = parameter(
        1.0, "Simulated time passes at most so many times as fast as real time", minimum=0.01, maximum=100.0
    )
    auto_reset: bool = parameter(True, "Draw a new task after a success or at the end of an episode's time")
    start_on_request: bool = parameter(False, "The first episode begins with a call of `~/reset`, not at once")
    episodes: int = parameter(0, "Episodes after which no other is begun. 0: without end", minimum=0)
    episode_pause_s: float = parameter(
        0.0, "Between the moment a task is put on the table and the start of its episode", unit="s", minimum=0.0
    )
    task: str = parameter(TASK, "What is to be done, in the words of the topic `episode`")
    reset_arm: bool = parameter(False, "A new task also puts the arm back at its start, in a jump")
    success_hold_s: float = parameter(1.0, "A solved task stays so long before the next one", unit="s", minimum=0.0)
    episode_timeout_s: float = parameter(30.0, "A task not solved within this time is given up", unit="s", minimum=0.1)
    expert: bool = parameter(False, "A scripted expert solves the tasks of `policy_ros/Pick-v0` on the command topics")
    expert_rate_hz: float = parameter(50.0, "Rate of the expert's commands", unit="Hz", minimum=1.0, maximum=200.0)
    expert_noise: float = parameter(
        0.0,
        "Push the arm's joints off the expert's course by a smooth random offset of this standard deviation, which is "
        "not in the commands; 0.01 to 0.02 makes demonstrations of recovering",
        unit="rad",
        minimum=0.0,
        maximum=0.1,
    )
    controllers: Mapping[str, ControllerParameters] = named_groups(ControllerParameters)
    faults: FaultParameters = group(FaultParameters)


def robot_config(parameters: SimulatedRobotParameters) -> RobotConfig:
    """The part that describes the environment.

    Raises:
        ConfigurationError: ``env_kwargs`` is no JSON object, or only one side of the picture is given.
    """
    width, height = parameters.image_width, parameters.image_height
    if (width == 0) != (height == 0):
        raise ConfigurationError(
            f"image_width and image_height: expected both or neither, got {width} and {height}; set the other one too"
        )
    return RobotConfig(
        env_id=parameters.env_id,
        env_kwargs=json_object("env_kwargs", parameters.env_kwargs),
        seed=parameters.seed,
        step_hz=parameters.step_hz,
        joints=parameters.joints,
        cameras=parameters.cameras,
        state_key=parameters.state_key,
        pixels_key=parameters.pixels_key,
        image_size=(height, width) if height else None,
        image_noise=parameters.image_noise,
    )


def episode_rules(parameters: SimulatedRobotParameters) -> Rules:
    """When episodes begin and end."""
    return Rules(
        timeout_s=parameters.episode_timeout_s,
        success_hold_s=parameters.success_hold_s,
        pause_s=parameters.episode_pause_s,
        on_request=parameters.start_on_request,
        goes_on=parameters.auto_reset,
        episodes=parameters.episodes,
    )


def check_time(parameters: SimulatedRobotParameters) -> None:
    """Refuse another pace for real time.

    Raises:
        ConfigurationError: a factor without simulated time.
    """
    if parameters.time_factor != 1.0 and not parameters.publish_clock:
        raise ConfigurationError(
            f"time_factor {parameters.time_factor:g}: expected publish_clock: true with it, got false"
        )


def check_expert(parameters: SimulatedRobotParameters) -> None:
    """Refuse what cannot be demonstrated.

    Raises:
        ConfigurationError: noise without an expert, or a rate that the physics cannot keep.
    """
    if parameters.expert_noise > 0.0 and not parameters.expert:
        raise ConfigurationError(f"expert_noise {parameters.expert_noise:g}: expected expert: true with it, got false")
    substeps = 1.0 / (SUBSTEP_S * parameters.expert_rate_hz)
    if abs(substeps - round(substeps)) > 1e-6:
        raise ConfigurationError(
            f"expert_rate_hz: expected a whole fraction of {1.0 / SUBSTEP_S:g} Hz (100, 50, 40, 25, …), "
            f"got {parameters.expert_rate_hz:g}"
        )


def controllers_for(parameters: SimulatedRobotParameters, joints: Sequence[str]) -> dict[str, ControllerParameters]:
    """The configured controllers; without any, an arm and a gripper for our own robot, or one arm for another.

    Raises:
        ConfigurationError: a joint that does not exist or has two controllers, or limits of another length.
    """
    controllers = dict(parameters.controllers)
    if not controllers:
        controllers = {"arm_controller": ControllerParameters(joints=tuple(joints))}
        if tuple(joints) == JOINT_NAMES:
            controllers = {
                "arm_controller": ControllerParameters(joints=ARM_JOINTS),
                "gripper_controller": ControllerParameters(type="position_array", joints=(GRIPPER_JOINT,)),
            }
    owner: dict[str, str] = {}
    for name, controller in controllers.items():
        if not controller.joints:
            raise ConfigurationError(f"controllers.{name}.joints: expected at least one joint, got none")
        for joint in controller.joints:
            if joint not in joints:
                raise ConfigurationError(f"controllers.{name}.joints: no joint '{joint}': {closest(joint, joints)}")
            if joint in owner:
                raise ConfigurationError(f"controllers.{name}.joints: '{joint}' belongs to {owner[joint]} already")
            owner[joint] = name
        if controller.max_velocity and len(controller.max_velocity) != len(controller.joints):
            raise ConfigurationError(
                f"controllers.{name}.max_velocity: expected {len(controller.joints)} values or none, "
                f"got {len(controller.max_velocity)}"
            )
    return controllers


def check_faults(faults: FaultParameters, cameras: Sequence[str]) -> None:
    """Refuse faults of cameras that do not exist.

    Raises:
        ConfigurationError: names the camera.
    """
    for label, names in _camera_faults(faults):
        for name in names:
            if name not in cameras:
                raise ConfigurationError(f"faults.{label}: no camera '{name}': {closest(name, cameras)}")


def describe_faults(faults: FaultParameters) -> str:
    """One line for people; empty without a fault."""
    told = [f"{label} {', '.join(names)}" for label, names in _camera_faults(faults) if names]
    told += ["silent_joint_states"] * faults.silent_joint_states
    return f"as told by faults.*: {'; '.join(told)}" if told else ""


def _camera_faults(faults: FaultParameters) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("silent_cameras", faults.silent_cameras), ("frozen_cameras", faults.frozen_cameras)
