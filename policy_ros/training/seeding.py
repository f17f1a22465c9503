# SPDX-License-Identifier: Apache-2.0
"""Random numbers as a function of seed and step: a resumed training draws what an uninterrupted one would have."""

from __future__ import annotations

import random
from enum import IntEnum

import numpy as np
import torch


class Stage(IntEnum):
    """What the numbers are for; stages share none."""

    WEIGHTS = 0
    TRAINING = 1
    VALIDATION = 2


def seed_generators(seed: int, stage: Stage, *position: int) -> None:
    """Seed the global generators of torch (all devices), numpy and Python.

    Done before every step, so that no state of a generator has to outlive it.

    Args:
        seed: of the training.
        stage: what follows.
        position: step and rank, or the like.
    """
    words = np.random.SeedSequence([seed, stage, *position]).generate_state(3, np.uint32)
    torch.manual_seed(int(words[0]))
    np.random.seed(int(words[1]))  # noqa: NPY002  (plug-ins may use it)
    random.seed(int(words[2]))
