# SPDX-License-Identifier: Apache-2.0
"""What the cameras see: table, goal, puck and arm, with colours and soft shadows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from policy_ros.simulation.cameras import TOP_VIEW, View, wrist_view
from policy_ros.simulation.drawing import Canvas, Colour, Image, Points, capsule, circle
from policy_ros.simulation.kinematics import ArmPoints
from policy_ros.simulation.physics import Gripper, Point, Table

GOAL_RADIUS = 0.034  # [m] of the mark

_LIGHT = np.array([-0.45, -0.55])  # [m/m] where the shadow of a thing one metre above the table falls
_HEIGHT_UPPER, _HEIGHT_FORE, _HEIGHT_HAND, _HEIGHT_FINGER, _HEIGHT_PUCK = 0.085, 0.065, 0.05, 0.018, 0.010
_LINK_RADIUS = {"upper": (0.034, 0.029), "fore": (0.027, 0.022)}

_SHELL: Colour = (236, 238, 240)
_SHELL_EDGE: Colour = (150, 155, 163)
_SHELL_SIDE: Colour = (203, 207, 213)
_JOINT: Colour = (52, 58, 68)
_JOINT_TOP: Colour = (74, 82, 95)
_ACCENT: Colour = (242, 140, 40)
_STEEL: Colour = (88, 94, 104)
_STEEL_TOP: Colour = (128, 135, 146)
_PUCK_EDGE: Colour = (132, 24, 34)
_PUCK: Colour = (205, 48, 52)
_PUCK_TOP: Colour = (228, 84, 80)
_GOAL: Colour = (30, 132, 92)


@dataclass(frozen=True)
class Scene:
    """Everything a picture depends on; positions in the arm's frame [m]."""

    arm: ArmPoints
    gap: float
    puck: Point
    goal: Point
    table: Table
    gripper: Gripper


def render(scene: Scene, camera: str, size: tuple[int, int]) -> Image:
    """The picture of ``camera`` (``top`` or ``wrist``), ``(H, W, 3)`` uint8 RGB; ``size`` is (height, width).

    Small pictures are drawn larger and averaged, so that they look like a resized large one.
    """
    factor = max(1, -(-240 // min(size)))
    drawn = _draw(scene, camera, (size[0] * factor, size[1] * factor))
    if factor == 1:
        return drawn
    return np.asarray(cv2.resize(drawn, (size[1], size[0]), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _draw(scene: Scene, camera: str, size: tuple[int, int]) -> Image:
    if camera == "top":
        canvas = Canvas(_top_background(scene.table, size).copy(), TOP_VIEW.matrix(size))
        _draw_mark_and_puck(canvas, scene)
        _draw_arm(canvas, scene)
    else:
        view = wrist_view(scene.arm.tool)
        canvas = Canvas(_table_seen_by(view, scene.table, size), view.matrix(size))
        _draw_mark_and_puck(canvas, scene)
        _draw_hand(canvas, scene, close=True)
    return canvas.image


def _draw_mark_and_puck(canvas: Canvas, scene: Scene) -> None:
    canvas.disc(scene.goal, GOAL_RADIUS, _GOAL)
    canvas.disc(scene.goal, GOAL_RADIUS * 0.86, (222, 226, 214))
    canvas.disc(scene.goal, GOAL_RADIUS * 0.62, _GOAL)
    canvas.disc(scene.goal, GOAL_RADIUS * 0.48, (222, 226, 214))
    puck, radius = np.asarray(scene.puck), scene.table.puck_radius
    canvas.shade([circle(puck + _LIGHT * _HEIGHT_PUCK, radius * 1.05)], 0.45, 0.004)
    canvas.disc(puck, radius, _PUCK_EDGE)
    canvas.disc(puck - _LIGHT * 0.0016, radius * 0.93, _PUCK)
    canvas.disc(puck - _LIGHT * 0.0045, radius * 0.66, _PUCK_TOP)
    canvas.disc(puck - _LIGHT * 0.0045, radius * 0.54, _PUCK)


def _draw_arm(canvas: Canvas, scene: Scene) -> None:
    base, (elbow, wrist, tool) = np.zeros(2), scene.arm
    upper, fore = _LINK_RADIUS["upper"], _LINK_RADIUS["fore"]
    hand = tool.to_base(-0.05, 0.0)
    canvas.shade(
        [
            capsule(base + _LIGHT * _HEIGHT_UPPER, elbow + _LIGHT * _HEIGHT_UPPER, *upper),
            capsule(elbow + _LIGHT * _HEIGHT_FORE, wrist + _LIGHT * _HEIGHT_FORE, *fore),
            capsule(wrist + _LIGHT * _HEIGHT_HAND, hand + _LIGHT * _HEIGHT_HAND, 0.024, 0.024),
        ],
        0.42,
        0.010,
    )
    _draw_hand(canvas, scene, close=False)
    _draw_link(canvas, np.asarray(elbow), np.asarray(wrist), fore)
    _draw_joint(canvas, np.asarray(wrist), 0.019)
    # The upper arm throws a shadow on the forearm below it too.
    canvas.shade([capsule(_LIGHT * 0.014, elbow + _LIGHT * 0.014, *upper)], 0.25, 0.004)
    _draw_link(canvas, base, np.asarray(elbow), upper)
    _draw_joint(canvas, np.asarray(elbow), 0.024)
    _draw_joint(canvas, base, 0.030)


def _draw_link(canvas: Canvas, start: Points, end: Points, radii: tuple[float, float]) -> None:
    """A white shell: edge, side in shade, and the lit top moved towards the light."""
    first, last = radii
    canvas.polygon(capsule(start, end, first, last), _SHELL_EDGE)
    canvas.polygon(capsule(start, end, first - 0.0016, last - 0.0016), _SHELL_SIDE)
    lift = -_LIGHT * 0.006
    canvas.polygon(capsule(start + lift, end + lift, first - 0.006, last - 0.006), _SHELL)
    middle, along = 0.5 * (start + end), (end - start) / np.hypot(*(end - start))
    across = np.array([-along[1], along[0]]) * 0.5 * (first + last) * 0.93
    band = along * 0.006
    canvas.polygon(
        np.array([middle - band - across, middle + band - across, middle + band + across, middle - band + across]),
        _ACCENT,
    )


def _draw_joint(canvas: Canvas, centre: Points, radius: float) -> None:
    canvas.disc(centre, radius, _JOINT)
    canvas.disc(centre - _LIGHT * 0.003, radius * 0.80, _JOINT_TOP)
    canvas.disc(centre - _LIGHT * 0.003, radius * 0.30, _JOINT)


def _draw_hand(canvas: Canvas, scene: Scene, *, close: bool) -> None:
    """Fingers and palm; ``close`` as the camera on the hand sees them, without the hand's housing above it."""
    tool, shape = scene.arm.tool, scene.gripper
    parts = [
        (np.asarray(tool.to_base(*start)), np.asarray(tool.to_base(*end)), radius)
        for start, end, radius in shape.parts(scene.gap)
    ]
    fingers, palm = parts[:2], parts[2]
    drop = _LIGHT * _HEIGHT_FINGER
    canvas.shade([capsule(start + drop, end + drop, radius, radius) for start, end, radius in parts], 0.40, 0.005)
    for start, end, radius in fingers:
        canvas.capsule(start, end, radius, _JOINT)
        lift = -_LIGHT * 0.002
        canvas.capsule(start + lift, end + lift, radius * 0.62, _STEEL_TOP)
        tip = end + (end - start) * -0.22
        canvas.capsule(tip + lift, end + lift, radius * 0.62, _ACCENT)
    if not close:
        wrist = np.asarray(scene.arm.wrist)
        canvas.polygon(capsule(wrist, tool.to_base(-0.045, 0.0), 0.020, 0.017), _JOINT)
        canvas.polygon(capsule(wrist, tool.to_base(-0.045, 0.0), 0.017, 0.014), _STEEL)
    start, end, radius = palm
    canvas.capsule(start, end, radius + 0.003, _JOINT)
    canvas.capsule(start - _LIGHT * 0.003, end - _LIGHT * 0.003, radius * 0.8, _STEEL_TOP if close else _STEEL)


# -- the table ---------------------------------------------------------------------------------------------------------

_TEXTURE_SCALE = 1600.0  # [pixel/m]
_PLANK_WIDTH = 0.095  # [m]


@lru_cache(maxsize=2)
def _texture(table: Table) -> tuple[Image, NDArray[np.float64]]:
    """Wooden table with rim on a grey floor and the arm's base plate, and its map from metres to texture pixels."""
    view = View(TOP_VIEW.pose, (TOP_VIEW.span[0] + 0.24, TOP_VIEW.span[1] + 0.24))
    size = round(view.span[0] * _TEXTURE_SCALE), round(view.span[1] * _TEXTURE_SCALE)
    matrix = view.matrix(size)
    canvas = Canvas(_floor(size), matrix)
    outer, inner = _rectangle(table, 0.014), _rectangle(table, 0.0)
    canvas.shade([outer + _LIGHT * 0.03], 0.5, 0.012)
    canvas.polygon(outer, (112, 78, 50))
    mask = np.zeros(size, dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.rint(canvas.to_pixels(inner)).astype(np.int32), 255)
    canvas.image[mask > 0] = _planks(size)[mask > 0]
    # the rim stands up a little and throws a thin shadow inwards, on the side of the light
    rim = [capsule(inner[i] + _LIGHT * 0.006, inner[(i + 1) % 4] + _LIGHT * 0.006, 0.004, 0.004) for i in range(4)]
    for side in rim:
        canvas.shade([side], 0.25, 0.003, coarse=2)
    for i in range(4):
        canvas.capsule(inner[i], inner[(i + 1) % 4], 0.005, (126, 90, 60))
    canvas.shade([circle(_LIGHT * 0.03, table.base_radius)], 0.5, 0.008)
    canvas.disc((0.0, 0.0), table.base_radius, (38, 42, 50))
    canvas.disc(-_LIGHT * 0.003, table.base_radius - 0.004, (84, 91, 102))
    for bolt in circle((0.0, 0.0), table.base_radius * 0.78)[5::10]:
        canvas.disc(bolt, 0.0042, (38, 42, 50))
    canvas.image.setflags(write=False)
    return canvas.image, matrix


def _rectangle(table: Table, margin: float) -> Points:
    x0, x1, y0, y1 = table.x_min - margin, table.x_max + margin, table.y_min - margin, table.y_max + margin
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _floor(size: tuple[int, int]) -> Image:
    grain = cv2.GaussianBlur(np.random.default_rng(7).normal(0.0, 1.0, size).astype(np.float32), (0, 0), 1.2)
    grey = 96.0 + 9.0 * grain[:, :, None] + np.array([-4.0, 0.0, 6.0])
    return np.asarray(np.clip(grey, 0, 255), dtype=np.uint8)


def _planks(size: tuple[int, int]) -> Image:
    """Light wood; the boards run across the picture. Drawn from a fixed seed: the table is always the same one."""
    random = np.random.default_rng(20)
    height, width = size
    board_rows = int(_PLANK_WIDTH * _TEXTURE_SCALE)
    wood = np.empty((height, width, 3), dtype=np.float32)
    for first in range(0, height, board_rows):
        rows = min(board_rows, height - first)
        fine = cv2.GaussianBlur(random.normal(size=(rows, width)).astype(np.float32), (0, 0), 28.0, sigmaY=1.0) * 6.0
        broad = cv2.GaussianBlur(random.normal(size=(rows, width)).astype(np.float32), (0, 0), 160.0, sigmaY=9.0) * 40.0
        # growth rings: a slow wave across the board, bent by the broad noise
        rings = np.sin(np.linspace(0.0, random.uniform(9.0, 16.0), rows)[:, None] + 2.5 * broad)
        tone = random.uniform(-7.0, 7.0) + 5.0 * fine + 4.5 * rings + 4.0 * broad
        wood[first : first + rows] = np.array([205.0, 172.0, 132.0]) + tone[:, :, None] * np.array([1.0, 1.02, 1.05])
        wood[first : first + 2] -= 34.0
        wood[first + 2 : first + 4] += 8.0
    planks: Image = np.clip(wood, 0, 255).astype(np.uint8)
    return planks


@lru_cache(maxsize=4)
def _top_background(table: Table, size: tuple[int, int]) -> Image:
    """The empty table as the top camera sees it: light falls off a little towards the corners."""
    image = _table_seen_by(TOP_VIEW, table, size).astype(np.float32)
    rows, columns = np.linspace(-1, 1, size[0])[:, None], np.linspace(-1, 1, size[1])[None, :]
    light = 1.05 - 0.14 * ((rows + 0.2) ** 2 + (columns + 0.2) ** 2)
    picture = np.clip(image * light[:, :, None], 0, 255).astype(np.uint8)
    picture.setflags(write=False)
    return picture


def _table_seen_by(view: View, table: Table, size: tuple[int, int]) -> Image:
    """The texture through a camera; ``(H, W, 3)``, the caller's own."""
    texture, to_texture = _texture(table)
    to_metres = cv2.invertAffineTransform(view.matrix(size))
    pixel_to_texture = to_texture[:, :2] @ to_metres
    pixel_to_texture[:, 2] += to_texture[:, 2]
    coarser = _TEXTURE_SCALE * view.span[1] / size[1] > 1.5
    picture = cv2.warpAffine(
        _blurred_texture(table) if coarser else texture,
        pixel_to_texture,
        (size[1], size[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(picture, dtype=np.uint8)


@lru_cache(maxsize=2)
def _blurred_texture(table: Table) -> Image:
    """The texture without what is finer than half a coarse camera's pixel, against aliasing."""
    return np.asarray(cv2.GaussianBlur(_texture(table)[0], (0, 0), 1.0), dtype=np.uint8)
