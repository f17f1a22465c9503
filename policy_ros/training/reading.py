# SPDX-License-Identifier: Apache-2.0
"""Parts of episodes, read from their bags through the live assembler."""

from __future__ import annotations

from collections.abc import Container, Iterator
from functools import lru_cache
from pathlib import Path

from policy_ros.bags import Bag, BagInputs, BagMessage, CommandTracks, open_bag
from policy_ros.data import FeatureType
from policy_ros.observation import ImageDecoder, ObservationAssembler, ObservationConfig
from policy_ros.observation.config import ENVIRONMENT_STREAM, JOINT_STREAM
from policy_ros.parameters.build import action_scaling, observation_of
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.topics import absolute_topic, camera_topic
from policy_ros.training.dataset import DatasetError, DatasetOptions, Part, declared_features
from policy_ros.training.samples import GridReader, Point

_KEPT = 32  # bags of which the index is kept
_BEFORE_NS = 200_000_000  # joint states this long before an episode still say where it begins


def dataset_observation(parameters: NodeParameters, options: DatasetOptions) -> ObservationConfig:
    """What samples observe: what the running node would assemble for a policy trained on them."""
    inputs = {k: f for k, f in declared_features(parameters, options).items() if f.type is not FeatureType.ACTION}
    return observation_of(parameters, inputs, options.n_obs_steps)


def stream_topics(parameters: NodeParameters, options: DatasetOptions) -> dict[str, str]:
    """Stream of an observation to its topic."""
    topics = {JOINT_STREAM: parameters.joints.topic}
    for stream in dataset_observation(parameters, options).cameras:
        topics[stream.stream] = camera_topic(stream.name, parameters.cameras[stream.name])
    if options.environment_dim:
        topics[ENVIRONMENT_STREAM] = parameters.observation.environment_topic
    return {stream: absolute_topic(topic, options.namespace) for stream, topic in topics.items()}


def command_topics(parameters: NodeParameters, options: DatasetOptions) -> tuple[str, ...]:
    """The topics that actions come on."""
    if options.action_topic is not None:
        return (absolute_topic(options.action_topic, options.namespace),)
    return tuple(absolute_topic(output.topic, options.namespace) for output in parameters.outputs.values())


class BagReader:
    """What is needed of one bag, for any stretch of it.

    Args:
        bag: the bag.
        parameters: the node's.
        options: how samples are cut.

    Attributes:
        topics: all that are needed.

    Raises:
        BagError: the bag lacks a topic, or has it with another type.
    """

    def __init__(self, bag: Bag, parameters: NodeParameters, options: DatasetOptions) -> None:
        self.bag = bag
        self.config = dataset_observation(parameters, options)
        self._parameters, self._options = parameters, options
        self._scaling = action_scaling(parameters)
        self._joint_topic = absolute_topic(parameters.joints.topic, options.namespace)
        self.topics = tuple(sorted({*self._inputs().topics, *self._commands().topics}))

    def messages(self, start_ns: int, stop_ns: int) -> Iterator[BagMessage]:
        """All messages that are needed, from a log time to before another [ns]."""
        return self.bag.messages(self.topics, start_ns=start_ns, stop_ns=stop_ns)

    def grid(self, assembler: ObservationAssembler, begin_ns: int | None = None) -> GridReader:
        """For one stretch without a jump.

        Args:
            assembler: nothing pushed yet.
            begin_ns: where an episode begins; where the joints were just before is where its first trajectory starts.
        """
        options = self._options
        commands = self._commands()
        if begin_ns is not None and options.action_topic is None and self._joint_topic in commands.topics:
            for message in self.bag.messages([self._joint_topic], start_ns=begin_ns - _BEFORE_NS, stop_ns=begin_ns):
                commands.feed(message)
        return GridReader(
            self._inputs(),
            commands,
            assembler,
            self._scaling,
            rate_hz=self._parameters.execution.rate_hz,
            horizon=options.chunk_size,
            past_rows=options.past_rows,
            max_silence_s=None if options.action_topic is None else options.max_action_gap_s,
        )

    def read(self, part: Part, points: Container[int], decoder: ImageDecoder, task: str | None) -> Iterator[Point]:
        """Some points of a part, in their order.

        Raises:
            DatasetError: one is no sample any more.
        """
        assembler = ObservationAssembler(self.config, decoder)
        assembler.set_task(task)
        messages = self.messages(part.start_ns, part.stop_ns)
        if part.left_out:
            messages = (message for message in messages if (message.topic, message.log_ns) not in part.left_out)
        begin_ns = part.episode.start_ns if part.first else None
        for point in self.grid(assembler, begin_ns).read(messages, points):
            if point.problem is not None:
                raise changed(self.bag.path, point.problem.text)
            yield point

    def _inputs(self) -> BagInputs:
        return BagInputs(self._parameters, self.config, self.bag, namespace=self._options.namespace)

    def _commands(self) -> CommandTracks:
        return CommandTracks(
            self._parameters, self.bag, namespace=self._options.namespace, action_topic=self._options.action_topic
        )


class Bags:
    """Parts of any bags.

    Args:
        parameters: the node's.
        options: how samples are cut.
        decoder: makes pictures out of image messages.
        tasks: whether samples say what is to be done.
    """

    def __init__(
        self, parameters: NodeParameters, options: DatasetOptions, decoder: ImageDecoder, *, tasks: bool = False
    ) -> None:
        self._parameters, self._options, self._decoder, self._tasks = parameters, options, decoder, tasks

    def read(self, part: Part, points: Container[int]) -> Iterator[Point]:
        """Some points of a part, in their order; see :meth:`BagReader.read`."""
        path = part.episode.bag_path
        reader = BagReader(_opened(path, _state(path)), self._parameters, self._options)
        return reader.read(part, points, self._decoder, part.episode.task if self._tasks else None)


@lru_cache(maxsize=_KEPT)
def _opened(path: Path, state: tuple[tuple[str, int, int], ...]) -> Bag:
    """A bag whose files are in a certain state. The last few stay: every epoch and validation reads them again."""
    return open_bag(path)


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of change of a bag's files."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists())


def changed(path: Path, detail: str) -> DatasetError:
    """The error of a part that is not as it was planned."""
    return DatasetError(
        f"{path}: expected the samples that were planned, got other ones; was the bag changed? {detail}"
    )
