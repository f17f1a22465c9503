# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from policy_ros.simulation.kinematics import Pose, radial_pose
from policy_ros.simulation.physics import World

OPEN, CLOSED = 0.085, 0.0


def at(radius: float, gap: float, azimuth: float = 0.0) -> list[float]:
    return [*World().arm.inverse(radial_pose(azimuth, radius)), gap]


def run(world: World, command: list[float], seconds: float) -> None:
    for _ in range(round(seconds * 200)):
        world.substep(command)


def reach(world: World, start: float, end: float, gap: float) -> None:
    """Straight ahead, slowly."""
    for step in range(101):
        run(world, at(start + (end - start) * step / 100, gap), 0.02)
    run(world, at(end, gap), 0.5)


def world_at(radius: float, gap: float, puck: tuple[float, float]) -> World:
    world = World()
    world.place(at(radius, gap))
    world.place_puck(*puck)
    return world


def grasped_world() -> World:
    world = world_at(0.30, OPEN, (0.30, 0.004))
    run(world, at(0.30, CLOSED), 1.0)
    return world


def test_puck_that_nothing_touches_stays():
    world = world_at(0.22, OPEN, (0.35, 0.1))
    run(world, at(0.22, OPEN, azimuth=-0.5), 1.0)
    assert world.puck == (0.35, 0.1)
    assert world.puck_speed == 0.0


def test_closed_fingers_push_the_puck_ahead():
    world = world_at(0.28, CLOSED, (0.34, 0.0))
    reach(world, 0.28, 0.36, CLOSED)
    tip = 0.36 + world.gripper.finger_front + 0.5 * world.gripper.finger_thickness
    assert world.puck == pytest.approx((tip + world.table.puck_radius, 0.0), abs=0.003)


def test_open_fingers_reach_around_the_puck_without_moving_it():
    world = world_at(0.24, OPEN, (0.32, 0.0))
    reach(world, 0.24, 0.32, OPEN)
    assert world.puck == (0.32, 0.0)


def test_closing_fingers_grasp_the_puck_and_stop_at_its_width():
    world = grasped_world()
    assert world.grasp is not None
    assert world.gap == pytest.approx(2 * world.table.puck_radius)
    assert world.puck[1] == pytest.approx(0.0, abs=1e-6), "the fingers centre it"


def test_grasped_puck_is_carried_with_the_tool():
    world = grasped_world()
    before = world.points.tool.to_local(*world.puck)
    run(world, at(0.35, CLOSED, azimuth=0.6), 2.0)
    assert world.points.tool.to_local(*world.puck) == pytest.approx(before, abs=1e-9)
    assert world.puck == pytest.approx((0.35 * math.cos(0.6), 0.35 * math.sin(0.6)), abs=2e-3)


def test_opening_releases_the_puck_where_it_is():
    world = grasped_world()
    place = world.puck
    run(world, at(0.30, OPEN), 1.0)
    assert world.grasp is None
    assert world.puck == pytest.approx(place, abs=1e-6)
    run(world, at(0.22, OPEN), 1.0)
    assert world.puck == pytest.approx(place, abs=1e-6)


def test_fingers_closing_on_nothing_shut():
    world = world_at(0.30, OPEN, (0.40, 0.2))
    run(world, at(0.30, CLOSED), 1.5)
    assert world.grasp is None
    assert world.gap == pytest.approx(0.0, abs=1e-4)


def test_puck_pushed_against_the_wall_stalls_the_arm_or_slips_aside_but_stays_inside():
    world = world_at(0.36, CLOSED, (0.42, 0.0))
    reach(world, 0.36, 0.50, CLOSED)
    assert world.puck[0] <= world.table.x_max - world.table.puck_radius + 1e-9
    local = world.points.tool.to_local(*world.puck)
    for start, end, radius in world.gripper.parts(world.gap):
        nearest = min(
            math.dist(local, (start[0] + u * (end[0] - start[0]), start[1] + u * (end[1] - start[1])))
            for u in (i / 200 for i in range(201))
        )
        assert nearest >= radius + world.table.puck_radius - 0.0011


def test_arm_that_stalled_with_the_puck_at_the_wall_can_go_back():
    world = grasped_world()
    reach(world, 0.30, 0.52, CLOSED)
    assert world.points.tool.x < 0.485
    reach(world, 0.48, 0.30, CLOSED)
    assert world.points.tool.x == pytest.approx(0.30, abs=1e-3)
    assert world.grasp is not None


def test_carried_puck_does_not_pass_the_wall():
    world = grasped_world()
    run(world, at(0.52, CLOSED), 3.0)
    assert world.grasp is not None
    assert world.puck[0] <= world.table.x_max - world.table.puck_radius + 0.0011


def test_stalled_gripper_can_let_go():
    world = grasped_world()
    run(world, at(0.52, CLOSED), 3.0)
    run(world, at(0.52, OPEN), 1.0)
    assert world.grasp is None
    assert world.gap == pytest.approx(OPEN, abs=1e-3)


def test_puck_never_leaves_the_table_whatever_the_arm_does():
    world = world_at(0.25, 0.03, (0.3, 0.02))
    for index in range(60):
        swing = 1.2 * math.sin(1.7 * index)
        radius = 0.33 + 0.14 * math.sin(2.3 * index)
        run(world, at(radius, 0.085 * abs(math.sin(0.9 * index)), azimuth=swing), 0.4)
        table, (x, y) = world.table, world.puck
        margin = table.puck_radius - 0.0011
        assert table.x_min + margin <= x <= table.x_max - margin
        assert table.y_min + margin <= y <= table.y_max - margin


def test_same_commands_give_the_same_motion():
    traces = []
    for _ in range(2):
        world = world_at(0.28, CLOSED, (0.34, 0.01))
        run(world, at(0.40, CLOSED, azimuth=0.3), 1.5)
        traces.append((world.positions, world.velocities, world.puck))
    assert traces[0] == traces[1]


def test_tool_heading_turns_with_the_joints():
    world = World()
    pose = Pose(0.3, 0.1, 0.5)
    world.place([*world.arm.inverse(pose), OPEN])
    assert world.points.tool == pytest.approx(pose)
