# SPDX-License-Identifier: Apache-2.0
"""Orders to a misbehaving policy, through a file that both processes know."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ORDER_FILE = "POLICY_ROS_SOAK_ORDER"  # environment variable with the path


@dataclass(frozen=True)
class Order:
    """``nan``, ``raise``, ``hang``, ``delay`` (by ``seconds`` [s]), or nothing."""

    word: str = ""
    seconds: float = 0.0


def give_order(file: Path, order: Order) -> None:
    """From now on; readers see the old order or the new one, never half of it."""
    new = file.with_suffix(".new")
    new.write_text(f"{order.word} {order.seconds}")
    os.replace(new, file)


def current_order() -> Order:
    """What the environment's order file says."""
    word, seconds = Path(os.environ[ORDER_FILE]).read_text().rsplit(" ", 1)
    return Order(word, float(seconds))
