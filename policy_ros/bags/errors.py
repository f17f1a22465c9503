# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with bags."""

from __future__ import annotations

from policy_ros.errors import PolicyRosError


class BagError(PolicyRosError):
    """A bag cannot be opened, or lacks what is asked of it; the message names the bag and the topic."""


class MalformedMessage(PolicyRosError):
    """The bytes of one message are not what its type says; whoever feeds messages counts it and goes on."""
