# SPDX-License-Identifier: Apache-2.0
"""Bounds on what a checkpoint may ask for. They are checked before anything of that size is allocated."""

from __future__ import annotations

from policy_ros.errors import ConfigurationError

MAX_JSON_BYTES = 4 * 2**20
MAX_YAML_BYTES = 256 * 2**10
MAX_STATISTICS_BYTES = 64 * 2**20
MAX_WEIGHTS_BYTES = 64 * 2**30
MAX_HEADER_BYTES = 8 * 2**20  # of a file of weights: names and shapes of some 60 000 tensors

MAX_FEATURES = 64
MAX_VECTOR_LENGTH = 4096
MAX_IMAGE_SIDE = 4096
MAX_OBS_STEPS = 64
MAX_OBSERVATION_VALUES = 2**27  # of all features and steps together, such as 21 pictures in full HD
MAX_DRAWN_VALUES = 2**27  # that one inference draws, or has in memory of what it drew
MAX_PROMPT_BYTES = 4096
MAX_HORIZON = 4096
MAX_LAYERS = 128
MAX_WIDTH = 16384


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise unless ``low <= value <= high``.

    Raises:
        ConfigurationError: the value is outside; the message names it and the range.
    """
    if not low <= value <= high:
        raise ConfigurationError(f"{name}: expected a value from {low} to {high}, got {value}")
