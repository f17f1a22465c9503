# SPDX-License-Identifier: Apache-2.0
"""Topics that a bag must have."""

from __future__ import annotations

from policy_ros.bags.bag import Bag
from policy_ros.bags.errors import BagError
from policy_ros.errors import closest


def require_topic(bag: Bag, topic: str, type_: str, purpose: str, hint: str = "") -> None:
    """Refuse a bag without messages of this type on this topic.

    Args:
        bag: where to look.
        topic: absolute name.
        type_: as in ``sensor_msgs/msg/Image``.
        purpose: what it is needed for, e.g. the parameter that names it.
        hint: what to do where the type is another one.

    Raises:
        BagError: names the bag, the topic and close ones.
    """
    found = bag.topics.get(topic)
    if found is None:
        same_type = [each.name for each in bag.topics.values() if each.type == type_]
        near = closest(topic, same_type or bag.topics)
        raise BagError(f"{bag.path}: expected topic '{topic}' ({type_}) for {purpose}, got none; {near}")
    if found.type != type_:
        raise BagError(
            f"{bag.path}: topic '{topic}': expected {type_} for {purpose}, got {found.type or 'an unknown type'}"
            + (f"; {hint}" if hint else "")
        )
    if not found.count:
        raise BagError(
            f"{bag.path}: topic '{topic}': expected messages for {purpose}, got none; was its publisher running, "
            "with a QoS that the recorder's fits?"
        )
