# SPDX-License-Identifier: Apache-2.0
"""Random numbers of an episode, which depend on its seed alone."""

from __future__ import annotations

import numpy as np

_NOISE, _SENSORS = range(2)  # streams of one seed


def noise_generator(seed: int) -> np.random.Generator:
    """Of the policy's noise."""
    return np.random.default_rng([seed, _NOISE])


def sensor_seed(seed: int) -> int:
    """Of the cameras' noise."""
    return int(np.random.SeedSequence([seed, _SENSORS]).generate_state(1)[0])
