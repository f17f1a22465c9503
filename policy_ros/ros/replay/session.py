# SPDX-License-Identifier: Apache-2.0
"""A whole replay through ROS: a real node, a player, and what the node published as the values of a replay."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from policy_ros.bags import Bag, BagError, find_episodes, open_bag
from policy_ros.errors import ConfigurationError
from policy_ros.policies import load_policy
from policy_ros.policies.base import Policy
from policy_ros.replay.bag_replay import BagOutcome
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.trace import ReplayListener
from policy_ros.ros.installation import with_middleware_profile
from policy_ros.ros.replay.conductor import Conductor
from policy_ros.ros.replay.heard import Heard
from policy_ros.ros.replay.link import Link
from policy_ros.ros.replay.node_process import PolicyNodeProcess
from policy_ros.ros.replay.played_topics import command_topics
from policy_ros.ros.replay.status_facts import latencies
from policy_ros.ros.replay.traces import TraceBuilder

_PLAYER_NODE = "policy_replay"
_MAX_RATE = 100.0


def replay_through_ros(
    bag_path: str | Path,
    policy_path: str,
    options: ReplayOptions,
    listener: ReplayListener,
    progress: Callable[[float], None] | None = None,
    *,
    policy: Policy | None = None,
    rate: float = 1.0,
    stop: threading.Event | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> BagOutcome:
    """Play a bag to a real policy node in a process of its own, commands disabled, and score what it publishes.

    The node's inferences last as long as they last here, so ``options.delay`` and ``options.seed`` play no part. It is
    activated anew for each episode.

    Args:
        bag_path: a rosbag2 directory, or one file of it.
        policy_path: checkpoint directory or hub id.
        options: parameters of the node, namespace, action topic, resets.
        listener: told what happened, after each episode.
        progress: called with the recorded time that is done, now and then [s].
        policy: the same, where it is loaded already; it is not asked for actions.
        rate: seconds of the recording per second; slower where the node does not keep up.
        stop: set when everything shall end, e.g. by :func:`policy_ros.ros.process.stop_on_signals`.
        say: told in one line what is being waited for.

    Raises:
        BagError: the bag cannot be read, or lacks a topic.
        ConfigurationError: parameters that do not fit the policy, or a rate that is none.
        ThroughRosError: the node refused, ended or did not answer; it says what is missing.
    """
    checked_rate(rate)
    bag = open_bag(bag_path)
    if not any(topic.count for topic in bag.topics.values()):
        raise BagError(f"{bag.path}: expected messages, got none; nothing can be replayed")
    if policy is None:
        policy = load_policy(policy_path, revision=options.parameters.policy.revision or None, device="cpu")
    builder = TraceBuilder(bag, policy, options)
    # Before the middleware of this process starts: its shared memory must have room for pictures too.
    os.environ.update(with_middleware_profile(os.environ))
    with TemporaryDirectory(prefix="policy_ros_replay_") as folder:
        node = PolicyNodeProcess(options.parameters, policy_path, options.namespace, Path(folder))
        link = Link(_PLAYER_NODE, stop or threading.Event(), check=node.check)
        try:
            with node:
                conductor, heard = _connect(link, bag, node, options, rate, say)
                return _play(bag, conductor, heard, builder, listener, progress)
        finally:
            link.close()


def checked_rate(rate: float) -> float:
    """A factor of real time; raises ConfigurationError for one that cannot be."""
    if not 0.0 < rate <= _MAX_RATE:
        raise ConfigurationError(f"rate: expected more than 0 and at most {_MAX_RATE:g}, got {rate:g}")
    return rate


def _connect(
    link: Link,
    bag: Bag,
    node: PolicyNodeProcess,
    options: ReplayOptions,
    rate: float,
    say: Callable[[str], None],
) -> tuple[Conductor, Heard]:
    heard = Heard(link, node.name)
    conductor = Conductor(
        link,
        heard,
        bag,
        node_name=node.name,
        namespace=options.namespace,
        commands=command_topics(options.parameters, options.namespace),
        rate=rate,
        reset_after_s=options.reset_after_s,
        prompt=options.parameters.policy.prompt,
        say=say,
        why=node.last_errors,
    )
    link.start()
    return conductor, heard


def _play(
    bag: Bag,
    conductor: Conductor,
    heard: Heard,
    builder: TraceBuilder,
    listener: ReplayListener,
    progress: Callable[[float], None] | None,
) -> BagOutcome:
    tell = progress or (lambda done_s: None)
    episodes = find_episodes(bag)
    problems: list[str] = []
    compute_s: list[float] = []
    if episodes:
        conductor.prepare(episodes[0].start_ns)
    for episode in episodes:
        played = conductor.play(episode, lambda now_ns: tell((now_ns - bag.start_ns) * 1e-9))
        chunks, statuses = heard.take(episode.stop_ns)
        trace = builder.tell(episode, chunks, statuses, listener, resets=played.resets, problems=played.problems)
        problems += [f"{bag.path}: {line}" for line in trace.problems]
        compute_s += latencies(statuses)
    tell((bag.end_ns - bag.start_ns) * 1e-9)
    problems += [f"{bag.path}: {line}" for line in heard.problems()]
    if not episodes:
        problems.append(f"{bag.path}: expected an episode, got none but discarded ones; nothing was replayed")
    return BagOutcome(
        path=bag.path,
        start_ns=bag.start_ns,
        end_ns=bag.end_ns,
        episodes=len(episodes),
        problems=(*bag.problems, *problems),
        compute_s=tuple(compute_s),
    )
