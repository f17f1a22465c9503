# SPDX-License-Identifier: Apache-2.0
"""Recorded messages into the rings of an observation, and recorded commands as setpoints."""

from __future__ import annotations

from policy_ros.bags.bag import Bag, open_bag
from policy_ros.bags.commands import CommandTracks
from policy_ros.bags.episodes import Episode, find_episodes
from policy_ros.bags.errors import BagError, MalformedMessage
from policy_ros.bags.inputs import BagInputs
from policy_ros.bags.jumps import Jump
from policy_ros.bags.storage import BagMessage, BagTopic

__all__ = [
    "Bag",
    "BagError",
    "BagInputs",
    "BagMessage",
    "BagTopic",
    "CommandTracks",
    "Episode",
    "Jump",
    "MalformedMessage",
    "find_episodes",
    "open_bag",
]
