# SPDX-License-Identifier: Apache-2.0
"""The last observations of an episode."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from policy_ros.policies.inputs import Array


class ObservationHistory:
    """Keeps what a policy looks back at.

    Args:
        steps: T, observations that a prediction looks at, the current one included.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._seen: deque[Mapping[str, Array]] = deque(maxlen=steps)

    def clear(self) -> None:
        """A new episode begins."""
        self._seen.clear()

    def add(self, observation: Mapping[str, Array]) -> None:
        """Append the newest; at the start of an episode it stands for those before it."""
        if self._steps > 1:  # whoever observes may write the next observation into the same arrays
            observation = {key: value.copy() for key, value in observation.items()}
        self._seen.extend([observation] * (1 if self._seen else self._steps))

    def recall(self) -> Mapping[str, Array]:
        """All of them as one observation, oldest first along a leading axis of T; without that axis where T is 1."""
        if self._steps == 1:
            return self._seen[-1]
        return {key: np.stack([past[key] for past in self._seen]) for key in self._seen[-1]}
