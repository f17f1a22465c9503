# SPDX-License-Identifier: Apache-2.0
"""The formulas of real-time chunking under their stable name; they live in :mod:`policy_ros.rtc`."""

from policy_ros.rtc import (
    JACOBIANS,
    SCHEDULES,
    GuidanceOptions,
    guidance_weight,
    guided_clean_sample,
    guided_velocity,
    inference_weights,
    prefix_weights,
)

__all__ = [
    "JACOBIANS",
    "SCHEDULES",
    "GuidanceOptions",
    "guidance_weight",
    "guided_clean_sample",
    "guided_velocity",
    "inference_weights",
    "prefix_weights",
]
