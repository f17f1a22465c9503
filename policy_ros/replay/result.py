# SPDX-License-Identifier: Apache-2.0
"""What came of a replay: a row for each bag, and all episodes together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.node import NodeParameters
from policy_ros.replay.metrics import EpisodeMetrics, Summary, summarize
from policy_ros.replay.options import ReplayOptions

COMPLETE, PARTIAL, FAILED = "complete", "partial", "failed"
_FORMAT = 1  # of metrics.json


@dataclass(frozen=True)
class BagResult:
    """One bag.

    Attributes:
        path: as it was named.
        episodes: that were measured, in the order of time.
        problems: what could not be evaluated or is suspicious, one line each.
        error: why the replay ended early, in one line; empty where it did not.
        length_s: of the recording [s]; 0 where it could not be opened.
    """

    path: str
    episodes: tuple[EpisodeMetrics, ...] = ()
    problems: tuple[str, ...] = ()
    error: str = ""
    length_s: float = 0.0

    @property
    def status(self) -> str:
        """``complete``; ``partial``: something is missing; ``failed``: nothing could be evaluated."""
        if not self.episodes:
            return FAILED
        return PARTIAL if self.error or self.problems else COMPLETE

    def as_json(self) -> dict[str, Any]:
        """For ``json.dumps``."""
        return {
            "path": self.path,
            "status": self.status,
            "length_s": self.length_s,
            "error": self.error,
            "problems": list(self.problems),
            "episodes": [episode.as_json() for episode in self.episodes],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> BagResult:
        """From what :meth:`as_json` made.

        Raises:
            KeyError, TypeError: a part is missing or of another type.
        """
        return BagResult(
            path=value["path"],
            episodes=tuple(EpisodeMetrics.from_json(each) for each in value["episodes"]),
            problems=tuple(value["problems"]),
            error=value["error"],
            length_s=value["length_s"],
        )


@dataclass(frozen=True)
class ReplayResult:
    """All bags, in the order in which they were named; the same every time for a delay that is not measured.

    Attributes:
        policy: ``path`` as it was named and registered ``type``.
        options: how it was replayed, see :func:`describe_options`.
        bags: a row each.
    """

    policy: Mapping[str, str]
    options: Mapping[str, Any]
    bags: tuple[BagResult, ...]

    @cached_property
    def summary(self) -> Summary | None:
        """Of all episodes; None without any."""
        return summarize(self.episodes, seed=self.options["seed"]) if self.episodes else None

    @property
    def episodes(self) -> tuple[EpisodeMetrics, ...]:
        """Of all bags."""
        return tuple(episode for bag in self.bags for episode in bag.episodes)

    @property
    def status(self) -> str:
        """``complete``: all bags are; ``failed``: all bags are; else ``partial``."""
        found = {bag.status for bag in self.bags}
        return found.pop() if len(found) == 1 else PARTIAL

    def as_json(self) -> dict[str, Any]:
        """For ``json.dumps``."""
        return {
            "format": _FORMAT,
            "status": self.status,
            "policy": dict(self.policy),
            "options": dict(self.options),
            "summary": None if self.summary is None else self.summary.as_json(),
            "bags": [bag.as_json() for bag in self.bags],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> ReplayResult:
        """From what :meth:`as_json` made.

        Raises:
            ConfigurationError: this is none, or of another version.
        """
        try:
            if value["format"] != _FORMAT:
                raise ConfigurationError(f"expected metrics of format {_FORMAT}, got {value['format']}; replay again")
            return ReplayResult(
                policy=value["policy"],
                options=value["options"],
                bags=tuple(BagResult.from_json(each) for each in value["bags"]),
            )
        except (KeyError, TypeError) as error:
            raise ConfigurationError(f"expected metrics of a replay, got something else ({error!r})") from None


def describe_options(options: ReplayOptions) -> dict[str, Any]:
    """Options as ``metrics.json`` has them; of the parameters those that differ from their defaults."""
    return {
        "mode": options.parameters.execution.mode,
        "delay": options.delay.describe(),
        "seed": options.seed,
        "namespace": options.namespace,
        "action_topic": options.action_topic,
        "reset_after_s": options.reset_after_s,
        "parameters": dict(_changed(options.parameters, NodeParameters())),
    }


def _changed(value: Any, default: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of the parameters that are not ``default``."""
    for field in dataclasses.fields(value):
        name, one, other = f"{prefix}{field.name}", getattr(value, field.name), getattr(default, field.name)
        if dataclasses.is_dataclass(one):
            yield from _changed(one, other, f"{name}.")
        elif isinstance(one, Mapping):  # groups under chosen names
            for key, group in one.items():
                yield from _changed(group, type(group)(), f"{name}.{key}.")
        elif one != other:
            yield name, _plain(one)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
