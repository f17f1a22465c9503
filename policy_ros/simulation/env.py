# SPDX-License-Identifier: Apache-2.0
"""``policy_ros/Pick-v0``: a planar arm takes a puck to a marked goal."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from policy_ros.errors import ConfigurationError, closest
from policy_ros.simulation.cameras import CAMERA_NAMES
from policy_ros.simulation.description import urdf
from policy_ros.simulation.kinematics import JOINT_NAMES, Arm, radial_pose
from policy_ros.simulation.physics import SUBSTEP_S, World
from policy_ros.simulation.scene import Scene, render
from policy_ros.simulation.task import Goal, draw_task, is_success

OBSERVATION_TYPES = ("state", "environment_state", "pixels", "pixels_agent_pos")
HOME_RADIUS = 0.20  # [m] of the tool point, straight ahead
HOME_NOISE = 0.08  # [rad] of each joint at the start of an episode


class PickEnv(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """Take the puck to the goal and let go.

    Action ``(4,)`` float32: absolute positions of joint1..3 [rad] and the gap between the fingers [m], followed by
    servos within their velocity and acceleration limits; values beyond the joint limits are clipped.

    Observation, a dict by ``obs_type``:

    * ``agent_pos`` ``(4,)`` float32, measured positions: always, except with ``pixels``
    * ``pixels`` ``{"top", "wrist"}``, each ``(H, W, 3)`` uint8 RGB: with ``pixels`` and ``pixels_agent_pos``
    * ``environment_state`` ``(4,)`` float32, puck x y and goal x y [m]: with ``environment_state``

    Reward 1 on success, else 0; the episode terminates on success unless told otherwise. ``info`` holds
    ``is_success``, ``puck_to_goal`` and ``tool_to_puck`` [m], and ``grasped``.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (gymnasium's own)
    joint_names: ClassVar[tuple[str, ...]] = JOINT_NAMES
    camera_names: ClassVar[tuple[str, ...]] = CAMERA_NAMES

    def __init__(
        self,
        obs_type: str = "pixels_agent_pos",
        image_size: tuple[int, int] = (480, 640),
        control_hz: float = 20.0,
        goal_speed: float = 0.0,
        terminate_on_success: bool = True,
        render_mode: str | None = None,
    ) -> None:
        """Set up a table.

        Args:
            obs_type: one of ``OBSERVATION_TYPES``; the first two draw nothing and are cheap.
            image_size: (height, width) of the pictures.
            control_hz: steps per second; the physics' 200 Hz must be a multiple of it.
            goal_speed: the goal moves this fast [m/s].
            terminate_on_success: end the episode when the puck lies on the goal.
            render_mode: ``rgb_array`` or None.

        Raises:
            ConfigurationError: a value is not one of the above.
        """
        if obs_type not in OBSERVATION_TYPES:
            raise ConfigurationError(f"obs_type '{obs_type}' is unknown: {closest(obs_type, OBSERVATION_TYPES)}")
        if render_mode not in (None, "rgb_array"):
            raise ConfigurationError(f"render_mode: expected 'rgb_array' or None, got {render_mode!r}")
        if min(image_size) < 8:
            raise ConfigurationError(f"image_size: expected at least 8 x 8 pixels, got {tuple(image_size)}")
        self.metadata = {**type(self).metadata, "render_fps": control_hz}
        self.render_mode = render_mode
        self.world = World(arm=Arm())
        self.goal = Goal(0.0, 0.3)
        self._obs_type = obs_type
        self._image_size = (int(image_size[0]), int(image_size[1]))
        self._substeps = _substeps(control_hz)
        self._goal_speed = goal_speed
        self._terminate_on_success = terminate_on_success
        arm = self.world.arm
        self._low, self._high = np.array(arm.lower_limit, np.float32), np.array(arm.upper_limit, np.float32)
        self.action_space = spaces.Box(self._low, self._high, dtype=np.float32)
        self.observation_space = self._make_observation_space()

    # -- gymnasium -----------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Draw a new task; ``options={"keep_arm": True}`` leaves the arm where it is, as on a real robot."""
        super().reset(seed=seed)
        if not (options or {}).get("keep_arm", False):
            home = np.array(self.world.arm.inverse(radial_pose(0.0, HOME_RADIUS)))
            noise = self.np_random.uniform(-HOME_NOISE, HOME_NOISE, 3)
            angles = np.clip(home + noise, self._low[:3], self._high[:3])
            self.world.place([*angles.tolist(), self.world.arm.upper_limit[3]])
        tool = self.world.points.tool
        puck, self.goal = draw_task(self.np_random, (tool.x, tool.y), self._goal_speed)
        self.world.place_puck(*puck)
        return self._observation(), self._info()

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Follow ``action`` ``(4,)`` [rad, m] for one control period.

        Raises:
            ValueError: the action has another shape or is not finite.
        """
        command = np.asarray(action, dtype=np.float64)
        if command.shape != self._low.shape or not np.all(np.isfinite(command)):
            raise ValueError(f"action: expected 4 finite joint positions, got {command.tolist()}")
        targets = np.clip(command, self._low, self._high).tolist()
        for _ in range(self._substeps):
            self.world.substep(targets)
            self.goal.advance(SUBSTEP_S)
        success = is_success(self.world, self.goal)
        return self._observation(), float(success), success and self._terminate_on_success, False, self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """The top camera's picture, ``(H, W, 3)`` uint8 RGB; None without a render mode."""
        return self.camera_image("top") if self.render_mode == "rgb_array" else None

    # -- what a bridge or an expert needs beyond gymnasium -------------------------------------------------------------

    @property
    def joint_positions(self) -> NDArray[np.float64]:
        """``(4,)`` measured positions [rad, m]."""
        return np.array(self.world.positions)

    @property
    def joint_velocities(self) -> NDArray[np.float64]:
        """``(4,)`` measured velocities [rad/s, m/s]."""
        return np.array(self.world.velocities)

    @property
    def description(self) -> str:
        """The arm as a URDF."""
        return urdf(self.world.arm)

    def camera_image(self, camera: str) -> NDArray[np.uint8]:
        """What ``camera`` sees now, ``(H, W, 3)`` uint8 RGB.

        Raises:
            ConfigurationError: there is no such camera.
        """
        if camera not in CAMERA_NAMES:
            raise ConfigurationError(f"camera '{camera}' is unknown: {closest(camera, CAMERA_NAMES)}")
        return render(self.scene(), camera, self._image_size)

    def scene(self) -> Scene:
        """Everything the pictures depend on."""
        world = self.world
        return Scene(world.points, world.gap, world.puck, self.goal.position, world.table, world.gripper)

    # ------------------------------------------------------------------------------------------------------------------

    def _make_observation_space(self) -> spaces.Dict:
        entries: dict[str, spaces.Space[Any]] = {}
        if self._obs_type != "pixels":
            # A servo may overshoot a limit by a hair.
            margin = np.array([0.1, 0.1, 0.1, 0.005], np.float32)
            entries["agent_pos"] = spaces.Box(self._low - margin, self._high + margin, dtype=np.float32)
        if self._obs_type == "environment_state":
            entries["environment_state"] = spaces.Box(-1.0, 1.0, (4,), dtype=np.float32)
        if self._obs_type.startswith("pixels"):
            picture = spaces.Box(0, 255, (*self._image_size, 3), dtype=np.uint8)
            entries["pixels"] = spaces.Dict(dict.fromkeys(CAMERA_NAMES, picture))
        return spaces.Dict(entries)

    def _observation(self) -> dict[str, Any]:
        observation: dict[str, Any] = {}
        if self._obs_type != "pixels":
            observation["agent_pos"] = self.joint_positions.astype(np.float32)
        if self._obs_type == "environment_state":
            observation["environment_state"] = np.array([*self.world.puck, *self.goal.position], dtype=np.float32)
        if self._obs_type.startswith("pixels"):
            observation["pixels"] = {camera: self.camera_image(camera) for camera in CAMERA_NAMES}
        return observation

    def _info(self) -> dict[str, Any]:
        tool, puck, goal = self.world.points.tool, self.world.puck, self.goal.position
        return {
            "is_success": is_success(self.world, self.goal),
            "puck_to_goal": float(np.hypot(puck[0] - goal[0], puck[1] - goal[1])),
            "tool_to_puck": float(np.hypot(puck[0] - tool.x, puck[1] - tool.y)),
            "grasped": self.world.grasp is not None,
        }


def _substeps(control_hz: float) -> int:
    substeps = 1.0 / (SUBSTEP_S * control_hz) if control_hz > 0.0 else 0.0
    if round(substeps) < 1 or abs(substeps - round(substeps)) > 1e-6:
        raise ConfigurationError(
            f"control_hz: expected a whole fraction of {1.0 / SUBSTEP_S:g} Hz (200, 100, 50, 40, 25, 20, 10, …), "
            f"got {control_hz:g}"
        )
    return round(substeps)
