# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from pathlib import Path

import gymnasium
import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.simulation import ENVIRONMENT_ID, register_environments
from policy_ros.simulation.making import ENTRY_POINT_GROUP, make_environment
from policy_ros.simulation.robot import RobotConfig, SimulatedRobot


def test_importing_the_room_registers_the_environment_once():
    register_environments()
    register_environments()
    assert gymnasium.spec(ENVIRONMENT_ID).max_episode_steps == 400


def test_installed_package_offers_its_environments_through_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    metadata = tmp_path / "arm_shop-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: arm_shop\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\narm_shop = arm_shop_environments\n")
    (tmp_path / "arm_shop_environments.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('arm_shop/Table-v0', entry_point='policy_ros.simulation.env:PickEnv',"
        " kwargs={'image_size': (48, 64)})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    robot = SimulatedRobot(RobotConfig(env_id="arm_shop/Table-v0"))
    assert robot.image("top").shape == (48, 64, 3)


def test_environment_whose_package_is_missing_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gym_pusht", None)
    with pytest.raises(ConfigurationError, match="expected gym_pusht installed.*pip install"):
        make_environment("gym_pusht/PushT-v0", {})
