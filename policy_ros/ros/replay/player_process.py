# SPDX-License-Identifier: Apache-2.0
"""The executable ``bag_player``: plays a bag to the policy node in its namespace, and conducts the node meanwhile."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from policy_ros.bags import find_episodes, open_bag
from policy_ros.errors import PolicyRosError
from policy_ros.ros.process import leave, stop_on_signals
from policy_ros.ros.replay.arguments import PolicyNode, make_parser, parse
from policy_ros.ros.replay.conductor import START_S, Conductor
from policy_ros.ros.replay.heard import Heard
from policy_ros.ros.replay.link import Interrupted, Link
from policy_ros.ros.replay.played_topics import command_topics, recorded_namespace
from policy_ros.ros.replay.session import checked_rate

_NAME = "bag_player"


def main(argv: Sequence[str] | None = None) -> int:
    """Play until the bag is over: 0; 1 after a line that says what is wrong."""
    words = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser(_NAME, "Plays a bag with /clock to a policy node that was started without autostart.")
    parser.add_argument("--rate", type=float, default=1.0, help="seconds of the recording per second")
    parser.add_argument("--wait-for-scorer", action="store_true", help="begin when replay_scorer listens to the node")
    arguments = parse(parser, words)
    stop = threading.Event()
    stop_on_signals(stop)
    try:
        status = _play(arguments, words, stop)
    except Interrupted:
        status = 0
    except PolicyRosError as error:
        print(f"{_NAME}: {error}", file=sys.stderr)
        status = 1
    return leave(status)  # does not return


def _play(arguments, words: Sequence[str], stop: threading.Event) -> int:
    rate = checked_rate(arguments.rate)
    bag = open_bag(arguments.bag)
    episodes = find_episodes(bag)
    if not episodes:
        print(f"{_NAME}: {bag.path}: expected an episode, got none; nothing is played", file=sys.stderr)
        return 1
    link = Link(_NAME, stop, arguments=words)
    try:
        node = PolicyNode.of(link.node.get_namespace(), arguments.params_file)
        heard = Heard(link, node.name)
        namespaces = {node.namespace, recorded_namespace(bag, node.parameters, node.namespace)}
        conductor = Conductor(
            link,
            heard,
            bag,
            node_name=node.name,
            namespace=node.namespace,
            commands=[topic for each in namespaces for topic in command_topics(node.parameters, each)],
            rate=rate,
            prompt=node.parameters.policy.prompt,
            say=lambda text: link.node.get_logger().info(text),
        )
        link.start()
        conductor.prepare(episodes[0].start_ns)
        if arguments.wait_for_scorer:
            link.wait_for(lambda: heard.listeners(link) > 1, START_S, lambda: "replay_scorer to listen to the node")
        for episode in episodes:
            link.node.get_logger().info(f"episode {episode.index}")
            for problem in conductor.play(episode, lambda now_ns: None).problems:
                link.node.get_logger().error(problem)
            heard.take()  # kept by whoever scores
    finally:
        link.close()
    return 0
