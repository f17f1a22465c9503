# SPDX-License-Identifier: Apache-2.0
"""Writes docs/parameters.md from the parameter schemas."""

from __future__ import annotations

from pathlib import Path

from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.table import table
from policy_ros.ros.simulated_robot.parameters import SimulatedRobotParameters

FILE = Path(__file__).resolve().parents[1] / "docs" / "parameters.md"

HEAD = """# Parameters

Written by `make docs-table` from the schemas in the code; do not edit.

A parameter file's top key is `/**`, so that it fits the node under any name and namespace. An integer is taken where a
float is expected. An unknown name or a wrong value does not end the node: configuring is refused, with the reason.
Parameters marked *active* may be set while the node is active and take over at the next chunk boundary; all others are
read on configure.
"""


def document() -> str:
    """The whole file."""
    return (
        f"{HEAD}\n## policy_node\n\n{table(NodeParameters)}"
        f"\n## simulated_robot\n\nRead at start, but for those marked *active*.\n\n{table(SimulatedRobotParameters)}"
    )


if __name__ == "__main__":
    FILE.write_text(document())
    print(f"written: {FILE}")
