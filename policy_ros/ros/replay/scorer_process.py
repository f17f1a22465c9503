# SPDX-License-Identifier: Apache-2.0
"""The executable ``replay_scorer``: scores what the policy node in its namespace publishes while a bag is played."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from policy_ros.bags import open_bag
from policy_ros.errors import ConfigurationError, PolicyRosError
from policy_ros.replay.delays import DelayKind, DelayOptions
from policy_ros.replay.options import ReplayOptions
from policy_ros.ros.process import leave, stop_on_signals
from policy_ros.ros.replay.arguments import PolicyNode, make_parser, parse
from policy_ros.ros.replay.heard import Heard
from policy_ros.ros.replay.link import Link
from policy_ros.ros.replay.listening import ListeningReplay
from policy_ros.ros.replay.played_topics import recorded_namespace
from policy_ros.ros.replay.traces import TraceBuilder

_NAME = "replay_scorer"


def main(argv: Sequence[str] | None = None) -> int:
    """Listen until the bag was played: 0; 1 where something is missing, or after a line that says what is wrong."""
    words = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser(_NAME, "Scores a policy node while a bag is played to it, and writes metrics and report.")
    parser.add_argument("--policy", default="", metavar="DIR", help="checkpoint; default: the parameters' policy.path")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where metrics and report are written")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier replay wrote there")
    parser.add_argument("--no-report", action="store_true", help="no report.html")
    parser.add_argument("--action-topic", metavar="TOPIC", help="JointState of a leader arm, in place of commands")
    parser.add_argument("--start-timeout", type=float, default=300.0, metavar="S", help="longest wait for the clock")
    parser.add_argument("--idle", type=float, default=5.0, metavar="S", help="a clock that stands so long has ended")
    arguments = parse(parser, words)
    stop = threading.Event()
    stop_on_signals(stop)
    try:
        status = _score(arguments, words, stop)
    except PolicyRosError as error:
        print(f"{_NAME}: {error}", file=sys.stderr)
        status = 1
    return leave(status)  # does not return


def _score(arguments, words: Sequence[str], stop: threading.Event) -> int:
    from policy_ros.replay.jobs import ALL, PolicySource, ReplayJob, policy_of
    from policy_ros.replay.run import ReplayRequest, replay

    link = Link(_NAME, stop, arguments=words)
    try:
        node = PolicyNode.of(link.node.get_namespace(), arguments.params_file)
        policy = arguments.policy or node.parameters.policy.path
        if not policy:
            raise ConfigurationError("--policy: expected a checkpoint, got none here nor in policy.path")
        revision = node.parameters.policy.revision or None
        options = ReplayOptions(
            node.parameters,
            delay=DelayOptions(DelayKind.MEASURED),
            namespace=recorded_namespace(open_bag(arguments.bag), node.parameters, node.namespace),
            action_topic=arguments.action_topic,
        )
        heard = Heard(link, node.name)
        link.start()

        def listen(job: ReplayJob) -> ListeningReplay:
            bag = open_bag(job.bag)
            return ListeningReplay(
                link,
                heard,
                bag,
                TraceBuilder(bag, policy_of(job.policy), job.options),
                start_s=arguments.start_timeout,
                idle_s=arguments.idle,
                say=lambda text: link.node.get_logger().info(text),
            )

        done = replay(
            ReplayRequest(
                bags=(os.fspath(arguments.bag),),
                policy=PolicySource(policy, revision, "cpu"),
                options=options,
                out=arguments.out,
                overwrite=arguments.overwrite,
                messages=ALL,
                report=not arguments.no_report,
            ),
            open_replay=listen,
            in_this_process=True,
        )
        for line in (*(row.error for row in done.result.bags if row.error), *done.unwritten):
            link.node.get_logger().error(line)
        link.node.get_logger().info(f"{len(done.result.episodes)} episodes scored, see {arguments.out}")
        return 0 if done.result.status == "complete" and not done.unwritten else 1
    finally:
        link.close()
