# SPDX-License-Identifier: Apache-2.0
"""One look at one bag: its samples, its kinds of pictures, and what is wrong with it.

Samples are found by assembling every observation as the stream of samples will, except that pictures are only looked
at: those that are mere bytes are checked, the others decoded once, since a damaged one cannot be told otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy_ros.bags import Bag, BagMessage, Episode, find_episodes, open_bag
from policy_ros.errors import DecodeError
from policy_ros.observation import (
    CompressedImage,
    ImageDecoder,
    ObservationAssembler,
    ObservationConfig,
    RawDecoder,
    RawImage,
    default_decoder,
)
from policy_ros.observation.config import CAMERA_STREAM_PREFIX, JOINT_STREAM
from policy_ros.parameters.node import NodeParameters
from policy_ros.training.dataset import DatasetError, DatasetOptions, Part
from policy_ros.training.reading import BagReader, command_topics, stream_topics
from policy_ros.training.samples import GridReader, Problem
from policy_ros.training.sections import Sections

Progress = Callable[[float], None]  # told the share that is done, 0 to 1

NOT_DECODED: NDArray[np.uint8] = np.empty((3, 0, 0), np.uint8)

_ALL = 1 << 62  # more points than a recording has
_LATE_S = 1.0  # a grid that begins later is worth a line
_REGULAR_S = 0.1  # commands that come this often on average are a stream
_PAUSE_S = 0.5  # a pause of such a stream that is worth a line
_REPORT_EVERY = 512  # messages
_REASONS = 4  # in one line
_JUMPS = 3  # of stamps in an episode; more are no accident


class PictureKind(NamedTuple):
    """What the pictures of a camera have in common."""

    encoding: str
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height} '{self.encoding}'"


@dataclass(frozen=True)
class BagReport:
    """What one look found.

    Attributes:
        parts: those with samples.
        kinds: camera to the kind of its pictures.
        problems: one line each.
    """

    parts: tuple[Part, ...]
    kinds: dict[str, PictureKind]
    problems: tuple[str, ...]


def inspect_bag(
    path: Path, parameters: NodeParameters, options: DatasetOptions, progress: Progress | None = None
) -> BagReport:
    """Look through a bag.

    Raises:
        BagError: it cannot be read, or lacks a topic.
        DatasetError: it has no sample, a camera changes its pictures, or a stream is too slow.
    """
    return _Inspection(open_bag(path), parameters, options, progress or (lambda share: None)).run()


class _Inspection:
    """Collects what is found on the way through a bag."""

    def __init__(self, bag: Bag, parameters: NodeParameters, options: DatasetOptions, progress: Progress) -> None:
        self._bag, self._parameters, self._options = bag, parameters, options
        self._reader = BagReader(bag, parameters, options)
        self._streams = stream_topics(parameters, options)
        self._commands = command_topics(parameters, options)
        self._tally = _Tally(bag, progress)
        self._kinds: dict[str, PictureKind] = {}
        self._lost: Counter[str] = Counter()
        self._lost_texts: dict[str, str] = {}
        self._moments = 0
        self._nothing: list[str] = []  # why episodes have no sample

    def run(self) -> BagReport:
        parts = [part for episode in find_episodes(self._bag) for part in self._parts(episode)]
        self._check_rates()
        if not parts:
            reasons = [*self._nothing, *self._losses(), *self._bag.problems] or ["no episode"]
            raise DatasetError(f"{self._bag.path}: expected samples, got none: {_some(reasons)}")
        self._note_pauses()
        for line in [*self._nothing, *self._losses()]:
            self._bag.note(line)
        return BagReport(tuple(parts), self._kinds, tuple(self._bag.problems))

    def _parts(self, episode: Episode) -> list[Part]:
        """What an episode has of samples; where something is left out the reason is noted."""
        name = f"{self._bag.path}: episode {episode.index}"
        if episode.success is False and not self._options.failures:
            self._nothing.append(f"{name}: left out, since it failed; ask for failures to have it")
            return []
        sections = Sections(self._bag, self._parameters.observation.future_tolerance_s)
        messages = self._reader.messages(episode.start_ns, episode.stop_ns)
        stretches = 0
        parts: list[Part] = []
        reasons: list[str] = []
        for _, stretch in groupby(messages, key=sections):
            part, reason = self._stretch(episode, stretch, first=stretches == 0)
            stretches += 1
            if part is None:
                reasons.append(reason)
            else:
                parts.append(part)
        if sections.jumps_back > _JUMPS:  # which robot a sample would be of, nobody knows
            self._nothing.append(
                f"{name}: left out: stamps jumped back {sections.jumps_back} times; do two publishers share a topic?"
            )
            return []
        if not stretches:
            reasons = [f"no message on any of {', '.join(self._reader.topics)}"]
        if reasons:
            what = "no sample" if not parts else f"no sample in {len(reasons)} of {stretches} stretches"
            self._nothing.append(f"{name}: {what}: {_some(reasons)}")
        return parts

    def _stretch(self, episode: Episode, messages: Iterable[BagMessage], *, first: bool) -> tuple[Part | None, str]:
        """One stretch without a jump; without a sample the reason."""
        assembler = _InspectingAssembler(self._reader.config, default_decoder(), self._see)
        grid = self._reader.grid(assembler, episode.start_ns if first else None)
        self._tally.begin()
        points: list[int] = []
        for point in grid.read(self._tally.count(messages), range(0, _ALL, self._options.stride)):
            self._moments += 1
            if point.problem is None:
                points.append(point.index)
            else:
                self._lose(point.problem)
        self._note_frozen(assembler)
        if not points:
            return None, self._why_nothing(assembler, grid)
        self._note_late(episode, grid)
        left_out = frozenset((self._topic_of(camera), log_ns) for camera, log_ns in assembler.undecodable)
        stop_ns = self._tally.last_ns + 1
        return Part(episode, self._tally.first_ns, stop_ns, np.array(points, np.int64), left_out, first), ""

    def _lose(self, problem: Problem) -> None:
        self._lost[problem.cause] += 1
        self._lost_texts.setdefault(problem.cause, problem.text)

    def _losses(self) -> list[str]:
        """A line for each cause that kept moments from being samples."""
        return [
            f"{self._bag.path}: {count} of {self._moments} moments are no samples ({cause}), the first: "
            f"{self._lost_texts[cause]}"
            for cause, count in self._lost.most_common()
        ]

    def _why_nothing(self, assembler: ObservationAssembler, grid: GridReader) -> str:
        if grid.origin_ns is not None:
            return "too short, or never all fresh at a time"
        lines = []
        for name in assembler.missing():
            stream, _, joint = name.partition("/") if name.startswith(f"{JOINT_STREAM}/") else (name, "", "")
            what = f"joint '{joint}'" if joint else "anything usable"
            error = assembler.last_errors.get(stream)
            lines.append(f"topic '{self._streams[stream]}': never got {what}" + (f" ({error})" if error else ""))
        silent = [topic for topic in self._commands if not self._tally.heard(topic)]
        if not lines and silent:
            lines = [f"topic '{topic}': no command; every joint has to be commanded once" for topic in silent]
        return "; ".join(lines) or f"no command that could be followed on {', '.join(self._commands)}"

    def _see(self, camera: str, kind: PictureKind, log_ns: int) -> None:
        """Take note of a picture; those of a camera have to be alike."""
        first = self._kinds.setdefault(camera, kind)
        if kind != first:
            raise DatasetError(
                f"{self._bag.path}: topic '{self._topic_of(camera)}': expected pictures of one kind, got {first} and, "
                f"after {(log_ns - self._bag.start_ns) * 1e-9:.3f} s, {kind}; split the bag there, train on one kind"
            )

    def _topic_of(self, camera: str) -> str:
        return self._streams[CAMERA_STREAM_PREFIX + camera]

    def _check_rates(self) -> None:
        """Refuse streams that are stale most of the time whatever the moment, and name slow ones."""
        seconds = self._tally.seconds
        if seconds < 1.0:
            return
        for stream, max_age_s in self._reader.config.max_ages_s().items():
            topic = self._streams[stream]
            rate_hz = self._tally.counts[topic] / seconds
            if rate_hz * max_age_s < 1.0:
                raise DatasetError(
                    f"{self._bag.path}: topic '{topic}': expected at least {1.0 / max_age_s:.1f} Hz, since it "
                    f"is stale after {max_age_s:g} s, got {rate_hz:.1f} Hz; record all of it, or raise max_age_s"
                )
            if stream == JOINT_STREAM and rate_hz < 0.5 * self._parameters.execution.rate_hz:
                self._bag.note(
                    f"{self._bag.path}: topic '{topic}': expected about the control rate of "
                    f"{self._parameters.execution.rate_hz:g} Hz, got {rate_hz:.1f} Hz; samples repeat joint states"
                )

    def _note_late(self, episode: Episode, grid: GridReader) -> None:
        late_s = ((grid.origin_ns or 0) - self._tally.first_ns) * 1e-9
        if late_s > _LATE_S:
            self._bag.note(
                f"{self._bag.path}: episode {episode.index}: its first {late_s:.1f} s are no samples: "
                f"topic '{grid.completed_by}': nothing usable came before"
            )

    def _note_frozen(self, assembler: _InspectingAssembler) -> None:
        for camera, seconds in assembler.frozen_s.items():
            self._bag.note(
                f"{self._bag.path}: topic '{self._topic_of(camera)}': expected new pictures, got the same one "
                f"under new stamps for {seconds:.1f} s; was the camera alive?"
            )

    def _note_pauses(self) -> None:
        for topic in self._commands:
            count, pause_s = self._tally.counts[topic], self._tally.longest_s[topic]
            if count and self._tally.seconds / count < _REGULAR_S and pause_s > _PAUSE_S:
                after = "no row reaches across it" if self._options.action_topic else "the last one counts as held"
                self._bag.note(
                    f"{self._bag.path}: topic '{topic}': commands come {count / self._tally.seconds:.0f} times a "
                    f"second, but paused for {pause_s:.1f} s; {after}"
                )


def _some(reasons: Iterable[str]) -> str:
    """The first few of them, each once."""
    different = list(dict.fromkeys(reasons))
    more = f"; and {len(different) - _REASONS} more" if len(different) > _REASONS else ""
    return "; ".join(different[:_REASONS]) + more


class _Tally:
    """Counts messages on their way."""

    def __init__(self, bag: Bag, progress: Progress) -> None:
        self._bag, self._progress = bag, progress
        self.counts: Counter[str] = Counter()
        self.longest_s: Counter[str] = Counter()
        self.first_ns = self.last_ns = 0
        self.seconds = 0.0
        self._last_of: dict[str, int] = {}
        self._total = 0

    def begin(self) -> None:
        """Another stretch begins: pauses between stretches are none."""
        self.first_ns = self.last_ns = 0
        self._last_of.clear()

    def heard(self, topic: str) -> bool:
        """Whether the topic had a message in this stretch."""
        return topic in self._last_of

    def count(self, messages: Iterable[BagMessage]) -> Iterator[BagMessage]:
        for message in messages:
            topic, log_ns, _ = message
            self.counts[topic] += 1
            pause_s = (log_ns - self._last_of.get(topic, log_ns)) * 1e-9
            if pause_s > self.longest_s[topic]:
                self.longest_s[topic] = pause_s  # type: ignore[assignment]
            self._last_of[topic] = log_ns
            self.first_ns = self.first_ns or log_ns
            self.last_ns = log_ns
            self._report(log_ns)
            yield message
        self.seconds += (self.last_ns - self.first_ns) * 1e-9

    def _report(self, log_ns: int) -> None:
        self._total += 1
        if self._total % _REPORT_EVERY == 0:
            self._progress((log_ns - self._bag.start_ns) / max(1, self._bag.end_ns - self._bag.start_ns))


class _InspectingAssembler(ObservationAssembler):
    """Assembles without pictures, and remembers what the pictures were like."""

    def __init__(
        self, config: ObservationConfig, decoder: ImageDecoder, see: Callable[[str, PictureKind, int], None]
    ) -> None:
        self._verifying = _VerifyingDecoder(decoder)
        super().__init__(config, self._verifying)
        self._see = see
        self.undecodable: list[tuple[str, int]] = []
        self.frozen_s: dict[str, float] = {}

    def push_image(self, camera: str, image: RawImage | CompressedImage, *, stamp_ns: int, receive_ns: int) -> None:
        super().push_image(camera, image, stamp_ns=stamp_ns, receive_ns=receive_ns)
        if self._verifying.damaged:
            self.undecodable.append((camera, receive_ns))
        elif self._verifying.kind is not None:
            self._see(camera, self._verifying.kind, receive_ns)
        frozen_s = self._frozen_s(self._cameras[camera])
        if frozen_s > self.frozen_s.get(camera, 0.0):
            self.frozen_s[camera] = frozen_s


class _VerifyingDecoder:
    """Checks all the way that decoding goes, and decodes nothing.

    Attributes:
        kind: of the picture that was checked last; None if it was refused.
        damaged: whether that one passed the check and could not be decoded.
    """

    def __init__(self, decoder: ImageDecoder) -> None:
        self._decoder = decoder
        self.kind: PictureKind | None = None
        self.damaged = False

    def check(self, image: RawImage | CompressedImage) -> None:
        self.kind, self.damaged = None, False
        self._decoder.check(image)
        if isinstance(image, RawImage) and image.encoding in RawDecoder.encodings:  # decoding these cannot fail
            self.kind = PictureKind(image.encoding, image.height, image.width)
            return
        try:
            _, height, width = self._decoder.decode(image).shape
        except DecodeError:
            self.damaged = True
            raise
        label = image.encoding if isinstance(image, RawImage) else image.format
        self.kind = PictureKind(label, height, width)

    def decode(self, image: RawImage | CompressedImage) -> NDArray[np.uint8]:
        return NOT_DECODED
