# SPDX-License-Identifier: Apache-2.0
"""The way of ``policy-ros replay --through-ros``: a real node in place of the virtual clock."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from policy_ros.bags import open_bag
from policy_ros.interruption import Interruption
from policy_ros.replay.bag_replay import BagOutcome
from policy_ros.replay.jobs import ReplayJob, policy_of
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.trace import ReplayListener
from policy_ros.ros.replay.session import replay_through_ros

_POLL_S = 0.1


class NodeReplay:
    """A :class:`policy_ros.replay.jobs.Replay`.

    Args:
        job: the bag.
        rate: seconds of the recording per second.
        interruption: ends it, whatever it waits for.
    """

    def __init__(self, job: ReplayJob, rate: float, interruption: Interruption) -> None:
        self.bag = open_bag(job.bag)
        self._job = job
        self._rate = rate
        self._interruption = interruption

    def run(self, listener: ReplayListener, progress: Callable[[float], None] | None = None) -> BagOutcome:
        """Play the bag to a node."""
        job, stop, over = self._job, threading.Event(), threading.Event()

        def watch() -> None:
            while not over.wait(_POLL_S):
                if self._interruption.signal is not None:
                    stop.set()  # not by the signal's handler, which must not wait for the event's lock
                    return

        watcher = threading.Thread(target=watch, name="interruption", daemon=True)
        watcher.start()
        try:
            return replay_through_ros(
                Path(job.bag),
                job.policy.path,
                self._options(),
                listener,
                progress,
                policy=policy_of(job.policy),
                rate=self._rate,
                stop=stop,
                say=lambda text: print(text, file=sys.stderr, flush=True),
            )
        finally:
            over.set()
            watcher.join()

    def _options(self) -> ReplayOptions:
        """The node loads the policy from its parameters: with the revision and on the device that were asked for."""
        options, source = self._job.options, self._job.policy
        parameters = options.parameters
        chosen = {"revision": source.revision, "device": source.device}
        policy = replace(parameters.policy, **{name: value for name, value in chosen.items() if value})
        return replace(options, parameters=replace(parameters, policy=policy))
