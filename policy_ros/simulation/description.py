# SPDX-License-Identifier: Apache-2.0
"""The simulated arm as a URDF, with the limits that its servos really have."""

from __future__ import annotations

from policy_ros.simulation.kinematics import JOINT_NAMES, Arm

_THICKNESS = 0.03  # [m] of a link
_HEIGHT = 0.06  # [m] of the arm above the table


def urdf(arm: Arm) -> str:
    """Three links in a row and a gripper, as XML."""
    lengths = (arm.upper, arm.fore, arm.hand)
    parts = ['<?xml version="1.0"?>', '<robot name="pick">', '  <link name="base_link"/>']
    parent, offset = "base_link", f"0 0 {_HEIGHT:g}"
    for index, length in enumerate(lengths):
        child = f"link{index + 1}"
        parts.append(_joint(arm, index, "revolute", parent, child, offset, "0 0 1"))
        parts.append(_bar(child, length))
        parent, offset = child, f"{length:g} 0 0"
    parts.append(_joint(arm, len(lengths), "prismatic", parent, "finger", offset, "0 1 0"))
    parts += ['  <link name="finger"/>', "</robot>"]
    return "\n".join(parts)


def _joint(arm: Arm, index: int, kind: str, parent: str, child: str, offset: str, axis: str) -> str:
    limits = f'lower="{arm.lower_limit[index]:g}" upper="{arm.upper_limit[index]:g}"'
    rates = f'velocity="{arm.max_velocity[index]:g}" acceleration="{arm.max_acceleration[index]:g}"'
    return (
        f'  <joint name="{JOINT_NAMES[index]}" type="{kind}">'
        f'<parent link="{parent}"/><child link="{child}"/><origin xyz="{offset}"/><axis xyz="{axis}"/>'
        f'<limit {limits} {rates} effort="10"/></joint>'
    )


def _bar(name: str, length: float) -> str:
    shape = f'<box size="{length:g} {_THICKNESS:g} {_THICKNESS:g}"/>'
    return (
        f'  <link name="{name}"><visual><origin xyz="{length / 2:g} 0 0"/><geometry>{shape}</geometry></visual></link>'
    )
