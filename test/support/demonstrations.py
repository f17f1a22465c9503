# SPDX-License-Identifier: Apache-2.0
"""Demonstrations as lists of events, which can be written to a bag or worked on as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from policy_ros.observation import CompressedImage, ObservationAssembler, RawImage
from policy_ros.parameters.node import (
    CameraParameters,
    ExecutionParameters,
    JointParameters,
    NodeParameters,
    OutputParameters,
)
from support import bags
from support.bags import Recording, ns

JOINTS = ("shoulder", "elbow", "gripper")
ARM = JOINTS[:2]
TOP, WRIST = "/camera/top/image_raw", "/camera/wrist/image_raw/compressed"
ARM_COMMANDS, GRIPPER_COMMANDS = "/arm/joint_trajectory", "/gripper/commands"

PARAMETERS = NodeParameters(
    joints=JointParameters(names=JOINTS, scale=(2.0, 1.0, 10.0), offset=(0.0, 0.5, -1.0)),
    cameras={"top": CameraParameters(), "wrist": CameraParameters(compressed=True)},
    execution=ExecutionParameters(rate_hz=20.0),
    outputs={
        "arm": OutputParameters(topic="arm/joint_trajectory", joints=ARM),
        "gripper": OutputParameters(type="position_array", topic="gripper/commands", joints=("gripper",)),
    },
)


@dataclass(frozen=True)
class Event:
    """One message: when it was recorded, how it is written to a bag, and what it does to an assembler."""

    log_ns: int
    topic: str
    message: object
    push: Callable[[ObservationAssembler], None] | None = None
    positions: Sequence[float] = ()
    lossy: bool = False  # the assembler cannot use it


def joints(log_ns: int, positions: Sequence[float], *, names: Sequence[str] = JOINTS, late_ns: int = 0) -> Event:
    stamp_ns = log_ns - late_ns

    def push(assembler: ObservationAssembler) -> None:
        assembler.push_joints(list(names), list(positions), stamp_ns=stamp_ns, receive_ns=log_ns)

    lossy = not np.all(np.isfinite(positions))
    return Event(log_ns, "/joint_states", bags.joint_state(stamp_ns, names, positions), push, positions, lossy)


def picture(log_ns: int, pixels: np.ndarray, *, late_ns: int = 0, topic: str = TOP, encoding: str = "rgb8") -> Event:
    """``pixels`` ``(H, W, 3)``."""
    stamp_ns = log_ns - late_ns
    height, width, _ = pixels.shape
    image = RawImage(height, width, encoding, 3 * width, pixels.tobytes())

    def push(assembler: ObservationAssembler) -> None:
        assembler.push_image("top", image, stamp_ns=stamp_ns, receive_ns=log_ns)

    return Event(log_ns, topic, bags.image(stamp_ns, pixels, encoding), push)


def png(log_ns: int, pixels: np.ndarray, *, late_ns: int = 0, damaged: bool = False) -> Event:
    """``pixels`` ``(H, W, 3)``; damaged behind the header."""
    stamp_ns = log_ns - late_ns
    data = cv2.imencode(".png", pixels)[1].tobytes()
    if damaged:
        data = data[:50] + bytes(len(data) - 62) + data[-12:]  # header and end are as they should be

    def push(assembler: ObservationAssembler) -> None:
        assembler.push_image("wrist", CompressedImage("png", data), stamp_ns=stamp_ns, receive_ns=log_ns)

    return Event(log_ns, WRIST, bags.compressed_image(stamp_ns, data), push, lossy=damaged)


def arm(log_ns: int, points: Sequence[tuple[float, Sequence[float]]], *, names: Sequence[str] = ARM) -> Event:
    """``points``: time from start [s] and positions; stamped 50 ms ahead."""
    return Event(log_ns, ARM_COMMANDS, bags.trajectory(log_ns + 50_000_000, names, points))


def gripper(log_ns: int, position: float) -> Event:
    return Event(log_ns, GRIPPER_COMMANDS, bags.array([position]), positions=[position])


def write(path: Path, events: Sequence[Event], episodes: Sequence[Event] = ()) -> Path:
    """A bag of these events, in the order of their times."""
    with Recording(path) as recording:
        for event in sorted([*events, *episodes], key=lambda event: event.log_ns):
            recording.add(event.topic, event.log_ns, event.message)
    return path


def episode(time_s: float, index: int, event: int, *, result: int = 0, task: str = "") -> Event:
    return Event(ns(time_s), "/episode", bags.episode(ns(time_s), index, event, result=result, task=task))


def demonstration(
    *,
    seconds: float = 2.0,
    seed: int = 0,
    begin_s: float = 0.0,
    lossy: bool = False,
    size: tuple[int, int] = (6, 8),
) -> list[Event]:
    """A demonstration with jittered stamps and delays, frames that are missing and, with ``lossy``, some of no use.

    Joint states come at 50 Hz from two publishers, one of them for the gripper; the cameras at 25 and 15 Hz;
    trajectories at 20 Hz and gripper commands now and then.
    """
    rng = np.random.default_rng(seed)
    events: list[Event] = []

    def times(rate_hz: float, jitter_s: float = 0.004) -> list[int]:
        regular = np.arange(rng.uniform(0.0, 1.0 / rate_hz), seconds, 1.0 / rate_hz)
        return [ns(begin_s + time + rng.uniform(0.0, jitter_s)) for time in regular if rng.random() > 0.1]

    def late() -> int:
        return int(rng.uniform(0, 20_000_000))

    def pixels() -> np.ndarray:
        return rng.integers(0, 256, (*size, 3), np.uint8)

    for names in (ARM[::-1], ("gripper", "unknown")):
        for time in times(50.0):
            positions = rng.normal(scale=0.005, size=2)
            if lossy and rng.random() < 0.05:
                positions[0] = np.nan
            events.append(joints(time, positions, names=names, late_ns=late()))
    events += [picture(time, pixels(), late_ns=late()) for time in times(25.0)]
    events += [
        png(time, pixels(), late_ns=late(), damaged=lossy and index > 2 and rng.random() < 0.1)
        for index, time in enumerate(times(15.0))
    ]
    for time in times(20.0):
        events.append(arm(time, [(0.05 * i, rng.normal(size=2)) for i in range(3)]))
    events += [gripper(time, rng.uniform(0.0, 0.08)) for time in times(3.0)]
    return sorted(events, key=lambda event: event.log_ns)


def shifted(events: Sequence[Event], by_ns: int) -> list[Event]:
    """As if they had been recorded later; stamps stay as they are."""
    return [replace(event, log_ns=event.log_ns + by_ns) for event in events]
