# SPDX-License-Identifier: Apache-2.0
"""``std_msgs/Float64MultiArray`` to a forward position controller: one action on every tick."""

from __future__ import annotations

from std_msgs.msg import Float64MultiArray

from policy_ros.ros.outputs.base import Output


class PositionArrayOutput(Output):
    """Positions in the controller's joint order, usually on ``<controller>/commands``."""

    message_type = Float64MultiArray

    def _message(self, rows, previous, stamp_ns) -> Float64MultiArray:
        return self._hold_message(rows[0])

    def _hold_message(self, positions) -> Float64MultiArray:
        return Float64MultiArray(data=[float(value) for value in positions])
