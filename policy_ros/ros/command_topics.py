# SPDX-License-Identifier: Apache-2.0
"""The command topics of a node together: made from its parameters, and who else is on them."""

from __future__ import annotations

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.node import NodeParameters
from policy_ros.ros.lifecycle import ManagedNode
from policy_ros.ros.outputs import OUTPUT_TYPES, Output


class CommandTopics:
    """One output for each entry of ``outputs.*``; none in a dry run.

    Args:
        node: owns the publishers.
        parameters: checked.

    Attributes:
        outputs: in the order of the parameters.
    """

    def __init__(self, node: ManagedNode, parameters: NodeParameters) -> None:
        self._node = node
        self.outputs: list[Output] = []
        if not parameters.enable_commands:
            return
        dt_s = 1.0 / parameters.execution.rate_hz
        for name, output in parameters.outputs.items():
            self.outputs.append(
                OUTPUT_TYPES[output.type](
                    node,
                    name=name,
                    topic=output.topic,
                    joints=output.joints,
                    joint_names=parameters.joints.names,
                    dt_s=dt_s,
                    lead_s=dt_s if output.lead_s < 0.0 else output.lead_s,
                )
            )

    def check(self, *, allow_second_publisher: bool) -> None:
        """Refuse to command beside somebody else; warn where nobody listens.

        Raises:
            ConfigurationError: who else commands.
        """
        for output in self.outputs:
            others = output.other_publishers()
            if others and not allow_second_publisher:
                raise ConfigurationError(
                    f"'{output.topic}' is already commanded by {', '.join(others)}; stop it, "
                    "or set allow_second_publisher to true"
                )
            if output.listeners() == 0:
                self._node.get_logger().warning(
                    f"nobody listens to '{output.topic}': is the controller of outputs.{output.name} running?"
                )

    def warnings(self) -> list[str]:
        """What is suspicious around them."""
        found = []
        for output in tuple(self.outputs):
            others = output.other_publishers()
            if others:
                found.append(f"'{output.topic}' has other publishers: {', '.join(others)}")
            if output.listeners() == 0:
                found.append(f"nobody listens to '{output.topic}'")
        return found

    def destroy(self) -> None:
        """Remove the publishers."""
        while self.outputs:
            self.outputs.pop().destroy()
