# SPDX-License-Identifier: Apache-2.0
"""From stamped samples to one aligned observation."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import TASK, JointScaling, Observation, StreamHealth
from policy_ros.errors import ConfigurationError, DecodeError, closest
from policy_ros.observation.alignment import Selection, select
from policy_ros.observation.config import JOINT_STREAM, CameraStream, ObservationConfig
from policy_ros.observation.decoding import ImageDecoder
from policy_ros.observation.errors import NotReady, NotReadyCause
from policy_ros.observation.frozen import FrozenWatch, digest
from policy_ros.observation.images import Image
from policy_ros.observation.joints import JointMerger
from policy_ros.observation.ring import Ring, Sample
from policy_ros.observation.statistics import ArrivalCounter, DropCause, StreamStatistics

NS_PER_S = 1_000_000_000


class _Undecodable(Exception):
    """A selected frame that has to be given up."""

    def __init__(self, stream: str, sample: Sample[Image], text: str) -> None:
        super().__init__(text)
        self.stream = stream
        self.sample = sample
        self.text = text


class ObservationAssembler:
    """Stores the newest samples of every stream and aligns them into observations.

    Thread-safe: samples are pushed from one thread, observations assembled in a second, health read from a third.
    One lock guards the rings and is never held while an image is decoded. What is assembled depends on the samples
    pushed, not on when: ``now_ns`` only decides whether they are fresh enough.

    Args:
        config: what an observation consists of.
        decoder: makes pictures out of image messages.
    """

    def __init__(self, config: ObservationConfig, decoder: ImageDecoder) -> None:
        self._config = config
        self._decoder = decoder
        self._scaling = config.scaling or JointScaling.identity(config.joints)
        self._max_ages_s = config.max_ages_s()
        self._cameras: dict[str, CameraStream] = {c.name: c for c in config.cameras}
        self._lock = threading.Lock()
        self._generation = 0
        self._task: str | None = None
        self._joints = JointMerger(
            config.joints, tolerance_rad=config.conflict_tolerance_rad, window_s=config.conflict_window_s
        )
        span_ns = round(config.span_s * NS_PER_S)
        self._vectors: dict[str, Ring[NDArray[np.float64]]] = {}
        if config.joints:
            self._vectors[JOINT_STREAM] = Ring(span_ns, config.capacity(config.joint_max_rate_hz))
        if config.environment_state is not None:
            vector = config.environment_state
            self._vectors[vector.stream] = Ring(span_ns, config.capacity(vector.max_rate_hz))
        self._images: dict[str, Ring[Image]] = {
            c.stream: Ring(span_ns, config.capacity(c.max_rate_hz)) for c in config.cameras
        }
        self._frozen = {c.stream: FrozenWatch() for c in config.cameras if c.frozen_after_s > 0.0}
        self._arrivals = {stream: ArrivalCounter() for stream in self._max_ages_s}
        self._drops = dict.fromkeys(DropCause, 0)
        self._last_errors: dict[str, str] = {}
        self._decoded: dict[Sample[Image], NDArray[np.uint8]] = {}  # of the newest observation, for its successor

    # Samples in

    def push_joints(
        self, names: Sequence[str], positions: Sequence[float], *, stamp_ns: int, receive_ns: int, source: str = ""
    ) -> None:
        """Merge a joint state: any subset of the joints, in any order; joints that are not configured are ignored.

        Dropped and counted, as a whole: lengths that differ or doubled names, a position that is not finite, a stamp
        in the future, and everything a joint with two sources says. Out of order: only the joints heard of later.

        Args:
            names: joint names.
            positions: their positions, as many; robot units [rad, m].
            stamp_ns: when they were measured; 0: when they were received.
            receive_ns: when they were received, on the clock of the stamps.
            source: who published them, where that is known.
        """
        with self._lock:
            if not self._joints.concerns(names):
                return
            measured_ns = self._admit(JOINT_STREAM, stamp_ns, receive_ns)
            if measured_ns is None:
                return
            cause = self._joints.update(names, positions, measured_ns, source)
            if cause is not None:
                self._drop(JOINT_STREAM, cause, self._joints.explain(cause, names, positions))
            snapshot = self._joints.snapshot()
            if snapshot is not None:
                self._vectors[JOINT_STREAM].append(snapshot.stamp_ns, snapshot.positions)

    def push_image(self, camera: str, image: Image, *, stamp_ns: int, receive_ns: int) -> None:
        """Store an image; it is checked but not decoded.

        Dropped and counted: an image that fails the decoder's check, a stamp in the future or older than the newest.

        Args:
            camera: name of a configured camera.
            image: the message's content; its data is held, so it must not be written to afterwards.
            stamp_ns: when it was taken; 0: when it was received.
            receive_ns: when it was received, on the clock of the stamps.

        Raises:
            ConfigurationError: no such camera.
        """
        if camera not in self._cameras:
            raise ConfigurationError(f"expected a configured camera, got '{camera}'; {closest(camera, self._cameras)}")
        stream = self._cameras[camera].stream
        error = self._check(image)
        value = digest(image) if error is None and stream in self._frozen else None
        with self._lock:
            taken_ns = self._admit(stream, stamp_ns, receive_ns)
            if taken_ns is None:
                return
            if error is not None:
                self._drop(stream, DropCause.MALFORMED, error)
            elif not self._images[stream].append(taken_ns, image):
                self._drop(stream, DropCause.OUT_OF_ORDER, "expected stamps that increase, got an older image")
            elif value is not None:
                self._frozen[stream].saw(value, taken_ns)

    def push_vector(
        self, stream: str, values: Sequence[float] | NDArray[np.floating], *, stamp_ns: int, receive_ns: int
    ) -> None:
        """Store an environment state ``(n,)``.

        Dropped and counted: another length, a value that is not finite, a stamp in the future or older than the newest.

        Args:
            stream: name of the configured vector stream.
            values: as many as configured; copied.
            stamp_ns: when they were measured; 0: when they were received.
            receive_ns: when they were received, on the clock of the stamps.

        Raises:
            ConfigurationError: no such stream.
        """
        vector = self._config.environment_state
        if vector is None or stream != vector.stream:
            known = () if vector is None else (vector.stream,)
            raise ConfigurationError(f"expected a configured vector stream, got '{stream}'; {closest(stream, known)}")
        array = np.array(values, dtype=np.float64)
        with self._lock:
            measured_ns = self._admit(stream, stamp_ns, receive_ns)
            if measured_ns is None:
                return
            if array.shape != (vector.dim,):
                self._drop(stream, DropCause.MALFORMED, f"expected {vector.dim} values, got shape {array.shape}")
            elif not np.all(np.isfinite(array)):
                self._drop(stream, DropCause.NON_FINITE, f"expected finite values, got {array.tolist()}")
            elif not self._vectors[stream].append(measured_ns, array):
                self._drop(stream, DropCause.OUT_OF_ORDER, "expected stamps that increase, got an older sample")

    def set_task(self, text: str | None) -> None:
        """Set the instruction that goes with every observation; None: there is none. ``clear`` keeps it."""
        with self._lock:
            self._task = text

    def forgive(self) -> None:
        """Forget conflicts between sources of a joint; samples stay. A conflict that lasts is found again."""
        with self._lock:
            self._joints.forgive()

    def clear(self) -> None:
        """Forget all samples, conflicts and last errors: the clock jumped, a bag looped, the node was deactivated.

        Counters stay. An observation being assembled meanwhile is not delivered.
        """
        with self._lock:
            self._generation += 1
            self._joints.clear()
            for vectors in self._vectors.values():
                vectors.clear()
            for images in self._images.values():
                images.clear()
            for watch in self._frozen.values():
                watch.clear()
            for arrivals in self._arrivals.values():
                arrivals.forget_times()
            self._last_errors.clear()
            self._decoded = {}

    # Observations out

    def assemble(self, now_ns: int) -> Observation:
        """Align the newest samples into one observation.

        The anchor is the oldest of the streams' newest stamps, and every stream contributes its sample nearest to it.
        With ``n_obs_steps > 1`` step ``k`` back is each stream's sample nearest to ``anchor - k * dt_s``; where the
        history does not reach that far yet, its oldest sample is repeated.

        An image that turns out to be undecodable is dropped and counted, and the next newest takes its place.

        Args:
            now_ns: the present, on the clock of the stamps.

        Raises:
            NotReady: something was never received, is stale, conflicting or undecodable, or stamps lie too far apart.
        """
        given_up: dict[str, str] = {}
        while True:
            with self._lock:
                generation, task = self._generation, self._task
                selection = self._select(now_ns, given_up)
            try:
                pictures = self._decode(selection)
            except _Undecodable as bad:
                given_up[bad.stream] = bad.text
                self._discard(bad)
            else:
                self._keep(pictures, generation, selection.anchor_stream)
                return self._observation(selection, pictures, task)

    def health(self, now_ns: int) -> StreamHealth:
        """How old every stream is, and which are too old to infer from or to go on moving.

        A joint counts by itself: the age of the joint stream is that of the joint heard of the longest ago.
        """
        with self._lock:
            ages = self._ages_s(now_ns)
            frozen = tuple(c.stream for c in self._cameras.values() if c.frozen_holds and self._frozen_s(c) > 0.0)
        stale = tuple(s for s, age in ages.items() if age > self._max_ages_s[s])
        expired = tuple(s for s in stale if ages[s] > self._max_ages_s[s] + self._tail_s(s))
        return StreamHealth(MappingProxyType(ages), stale, expired, frozen)

    def missing(self) -> tuple[str, ...]:
        """Of what nothing usable was received since the start or the last ``clear``.

        Streams by name; where only some joints are missing, those as ``joint_states/<joint>``. ``last_errors`` tells
        whether a stream sends something that cannot be used.
        """
        with self._lock:
            joints = self._joints.missing()
            names = [JOINT_STREAM] if joints and len(joints) == len(self._config.joints) else []
            if not names:
                names = [f"{JOINT_STREAM}/{joint}" for joint in joints]
            rings: dict[str, Ring[NDArray[np.float64]] | Ring[Image]] = {**self._images, **self._vectors}
            names += [s for s in self._max_ages_s if s != JOINT_STREAM and not len(rings[s])]
            return tuple(names)

    def joint_positions(self) -> NDArray[np.float64] | None:
        """The newest merged positions ``(J,)`` in robot units [rad, m], or None while a joint was never seen."""
        with self._lock:
            snapshot = self._joints.snapshot()
        return None if snapshot is None else snapshot.positions

    def conflicts(self) -> tuple[str, ...]:
        """Joints with two sources, a line for each. From then on such a joint's samples are dropped until ``clear``."""
        with self._lock:
            return tuple(str(c) for c in self._joints.conflicts())

    @property
    def drops(self) -> Mapping[DropCause, int]:
        """Samples dropped since the assembler was made, by cause."""
        with self._lock:
            return MappingProxyType(dict(self._drops))

    @property
    def last_errors(self) -> Mapping[str, str]:
        """Stream to the reason of its newest dropped sample, one line each."""
        with self._lock:
            return MappingProxyType(dict(self._last_errors))

    def statistics(self, now_ns: int) -> dict[str, StreamStatistics]:
        """Received count, rate and age of every stream."""
        with self._lock:
            ages = self._ages_s(now_ns)
            frozen = {c.stream: self._frozen_s(c) for c in self._cameras.values()}
            return {
                s: StreamStatistics(a.received, a.rate_hz(now_ns), ages[s], a.dropped, frozen.get(s, 0.0))
                for s, a in self._arrivals.items()
            }

    # Inside; the first group expects the lock to be held

    def _admit(self, stream: str, stamp_ns: int, receive_ns: int) -> int | None:
        """Count an arrival; returns the stamp to use, or None for one in the future."""
        self._arrivals[stream].arrived(receive_ns)
        if stamp_ns == 0:
            return receive_ns
        ahead_s = (stamp_ns - receive_ns) / NS_PER_S
        if ahead_s <= self._config.future_tolerance_s:
            return stamp_ns
        self._drop(
            stream,
            DropCause.FUTURE,
            f"expected a stamp at most {self._config.future_tolerance_s:g} s ahead, got {ahead_s:.3f} s; "
            "synchronise the clocks or check use_sim_time",
        )
        return None

    def _drop(self, stream: str, cause: DropCause, text: str) -> None:
        self._drops[cause] += 1
        self._arrivals[stream].dropped += 1
        self._last_errors[stream] = text

    def _frozen_s(self, camera: CameraStream) -> float:
        """For how long the camera has been frozen, 0 if it is not [s]."""
        watch = self._frozen.get(camera.stream)
        return watch.unchanged_s if watch is not None and watch.unchanged_s > camera.frozen_after_s else 0.0

    def _ages_s(self, now_ns: int) -> dict[str, float]:
        ages = {}
        for stream in self._max_ages_s:
            newest = self._vectors[stream].newest() if stream in self._vectors else self._images[stream].newest()
            ages[stream] = float("inf") if newest is None else max(0.0, (now_ns - newest.stamp_ns) / NS_PER_S)
        return ages

    def _select(self, now_ns: int, given_up: Mapping[str, str]) -> Selection:
        """The samples to use, or NotReady; ``given_up`` explains a stream that lacks some because of what they held."""
        try:
            self._require_fresh(now_ns)
            return select(self._vectors, self._images, self._config)
        except NotReady as error:
            if error.stream in given_up:
                raise NotReady(NotReadyCause.UNDECODABLE, error.stream, given_up[error.stream]) from error
            raise

    def _require_fresh(self, now_ns: int) -> None:
        conflicts = self._joints.conflicts()
        if conflicts:
            raise NotReady(NotReadyCause.CONFLICT, JOINT_STREAM, "; ".join(str(c) for c in conflicts))
        missing = self._joints.missing()
        if missing:
            raise NotReady(
                NotReadyCause.NEVER_RECEIVED,
                JOINT_STREAM,
                f"expected all joints, never received {', '.join(missing)}; check their names and publisher",
            )
        for stream, age_s in self._ages_s(now_ns).items():
            if age_s == float("inf"):
                message = "expected samples, never received any; check the topic and its QoS"
                raise NotReady(NotReadyCause.NEVER_RECEIVED, stream, message)
            if age_s > self._max_ages_s[stream]:
                message = (
                    f"expected a sample of the last {self._max_ages_s[stream]:g} s, the newest is {age_s:.3f} s old"
                )
                raise NotReady(NotReadyCause.STALE, stream, f"{message}; check its publisher")

    # These take the lock themselves, or need none

    def _tail_s(self, stream: str) -> float:
        return 0.0 if stream == JOINT_STREAM else self._config.tail_s

    def _check(self, image: Image) -> str | None:
        try:
            self._decoder.check(image)
        except DecodeError as error:
            return str(error)
        return None

    def _discard(self, bad: _Undecodable) -> None:
        with self._lock:
            if self._images[bad.stream].remove(bad.sample):
                self._drop(bad.stream, DropCause.MALFORMED, bad.text)

    def _keep(self, pictures: dict[Sample[Image], NDArray[np.uint8]], generation: int, stream: str) -> None:
        """Keep the pictures for the next observation, unless the buffers were cleared while they were decoded."""
        with self._lock:
            if generation != self._generation:
                message = "expected samples, got none since the buffers were cleared a moment ago; wait for new ones"
                raise NotReady(NotReadyCause.NEVER_RECEIVED, stream, message)
            self._decoded = pictures

    def _decode(self, selection: Selection) -> dict[Sample[Image], NDArray[np.uint8]]:
        """Pictures of all selected frames; those of the previous observation are not decoded again."""
        known = self._decoded
        pictures: dict[Sample[Image], NDArray[np.uint8]] = {}
        for stream, samples in selection.images.items():
            for sample in reversed(samples):  # newest first: it sets the size for the others
                if sample not in pictures:
                    pictures[sample] = known[sample] if sample in known else self._decode_one(stream, sample)
                expected, got = pictures[samples[-1]].shape, pictures[sample].shape
                if got != expected:
                    raise _Undecodable(
                        stream, sample, f"expected the size of the newest frame {expected}, got {got} in the history"
                    )
        return pictures

    def _decode_one(self, stream: str, sample: Sample[Image]) -> NDArray[np.uint8]:
        try:
            picture = self._decoder.decode(sample.value)
        except DecodeError as error:
            raise _Undecodable(stream, sample, str(error)) from error
        picture.setflags(write=False)
        return picture

    def _observation(
        self, selection: Selection, pictures: Mapping[Sample[Image], NDArray[np.uint8]], task: str | None
    ) -> Observation:
        features: dict[str, NDArray[Any] | str] = {}
        if self._config.joints and self._config.state_feature is not None:
            positions = np.stack([s.value for s in selection.vectors[JOINT_STREAM]])
            features[self._config.state_feature] = self._shaped(self._scaling.to_policy(positions))
        vector = self._config.environment_state
        if vector is not None:
            values = np.stack([s.value for s in selection.vectors[vector.stream]])
            features[vector.feature] = self._shaped(values.astype(np.float32))
        for camera in self._config.cameras:
            frames = [pictures[s] for s in selection.images[camera.stream]]
            features[camera.feature] = frames[0] if self._config.n_obs_steps == 1 else np.stack(frames)
        if task is not None:
            features[TASK] = task
        return Observation(features, selection.stamps_ns(), selection.anchor_ns)

    def _shaped(self, steps: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(T, n)`` as it is with a history, ``(n,)`` without."""
        return steps if self._config.n_obs_steps > 1 else steps[0]
