# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.simulation.cameras import TOP_VIEW, SensorNoise, wrist_view
from policy_ros.simulation.env import PickEnv
from policy_ros.simulation.kinematics import radial_pose
from policy_ros.simulation.picture import save_picture

SIZE = (480, 640)


def env_at(radius: float = 0.2, gap: float = 0.085, seed: int = 0) -> PickEnv:
    env = PickEnv(obs_type="state", image_size=SIZE)
    env.reset(seed=seed)
    env.world.place([*env.world.arm.inverse(radial_pose(0.0, radius)), gap])
    return env


def centre_of_red(picture: np.ndarray) -> tuple[float, float]:
    """(column, row) of the puck."""
    red = (picture[:, :, 0].astype(int) - picture[:, :, 1] > 90) & (picture[:, :, 1].astype(int) < 110)
    rows, columns = np.nonzero(red)
    return float(columns.mean()), float(rows.mean())


@pytest.mark.parametrize("place", [(0.35, 0.2), (0.42, -0.25), (0.15, 0.3)])
def test_puck_appears_where_the_top_camera_projects_it(place):
    env = env_at()
    env.world.place_puck(*place)
    expected = TOP_VIEW.matrix(SIZE) @ [*place, 1.0]
    assert centre_of_red(env.camera_image("top")) == pytest.approx(expected, abs=2.0)


def test_puck_appears_where_the_wrist_camera_projects_it():
    env = env_at(radius=0.30)
    env.world.place_puck(0.36, 0.02)
    expected = wrist_view(env.world.points.tool).matrix(SIZE) @ [0.36, 0.02, 1.0]
    assert centre_of_red(env.camera_image("wrist")) == pytest.approx(expected, abs=2.0)


def test_ahead_is_up_and_left_is_left():
    column, row = TOP_VIEW.matrix(SIZE) @ [TOP_VIEW.pose.x + 0.1, TOP_VIEW.pose.y + 0.1, 1.0]
    assert column < SIZE[1] / 2 and row < SIZE[0] / 2


def test_wrist_camera_moves_with_the_hand_and_the_top_camera_does_not():
    env = env_at()
    env.world.place_puck(0.45, 0.3)  # out of the hand's sight
    top, wrist = env.camera_image("top"), env.camera_image("wrist")
    env.world.place([*env.world.arm.inverse(radial_pose(0.4, 0.3)), 0.085])
    moved_top, moved_wrist = env.camera_image("top"), env.camera_image("wrist")
    corner = np.s_[:60, -120:]
    assert np.array_equal(top[corner], moved_top[corner])
    assert not np.array_equal(wrist[corner], moved_wrist[corner])


def test_wrist_camera_sees_the_fingers_close():
    env = env_at()
    env.world.place_puck(0.45, 0.3)
    opened = env.camera_image("wrist")
    env.world.place([*env.joint_positions[:3], 0.0])
    assert np.abs(opened.astype(int) - env.camera_image("wrist")).mean() > 1.0


def test_goal_moves_in_the_picture():
    env = env_at()
    before = env.camera_image("top")
    env.goal.azimuth += 0.3
    assert not np.array_equal(before, env.camera_image("top"))


def test_small_picture_looks_like_the_resized_large_one():
    env = env_at(seed=4)
    large = env.camera_image("top")
    small_env = PickEnv(obs_type="state", image_size=(96, 128))
    small_env.reset(seed=4)
    small_env.world.place(list(env.joint_positions))
    small = small_env.camera_image("top")
    resized = cv2.resize(large, (128, 96), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - resized).mean() < 3.0


@pytest.mark.parametrize("camera", ["top", "wrist"])
def test_drawing_twice_gives_the_same_picture_and_leaves_the_background_clean(camera):
    env = env_at()
    first = env.camera_image(camera)
    first[:] = 0
    second = env.camera_image(camera)
    assert second.mean() > 50.0
    assert np.array_equal(second, env.camera_image(camera))


def test_unknown_camera_is_refused_with_the_closest_name():
    with pytest.raises(ConfigurationError, match="did you mean 'wrist'"):
        env_at().camera_image("wirst")


def test_noise_changes_every_frame_a_little():
    picture = np.full((48, 64, 3), 128, dtype=np.uint8)
    noise = SensorNoise(1.5, seed=0)
    first, second = noise(picture), noise(picture)
    assert not np.array_equal(first, second)
    assert first.astype(float).std() == pytest.approx(1.5, rel=0.1)
    assert first.mean() == pytest.approx(128.0, abs=0.1)


def test_noise_saturates_at_black_and_white():
    for value in (0, 255):
        noisy = SensorNoise(3.0, seed=0)(np.full((48, 64, 3), value, dtype=np.uint8))
        assert abs(int(noisy.astype(int).mean()) - value) < 5


def test_saved_picture_shows_both_cameras(tmp_path):
    save_picture(tmp_path / "robot.png", seed=2)
    picture = cv2.imread(str(tmp_path / "robot.png"))
    assert picture.shape[0] >= 480 and picture.shape[1] >= 2 * 640
    assert (tmp_path / "robot.png").stat().st_size < 300_000


def test_picture_in_a_folder_that_does_not_exist_is_one_line(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written"):
        save_picture(tmp_path / "nowhere" / "robot.png")
