# SPDX-License-Identifier: Apache-2.0
"""Short names of a policy's inputs, ``proprio``, ``head``, ``prompt``, and the features that they stand for.

Under its name an input has a leading axis of its own number of steps, oldest first: ``proprio`` ``(T, n)``, a camera
``(N, 3, H, W)``. A feature has the longest of them, and none where that is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from policy_ros.data import (
    ACTION,
    OBSERVATION_ENVIRONMENT_STATE,
    OBSERVATION_IMAGE_PREFIX,
    OBSERVATION_STATE,
    TASK,
    FeatureSpec,
    FeatureType,
)
from policy_ros.errors import ConfigurationError, ObservationError, closest
from policy_ros.policies.features import features_from_json
from policy_ros.policies.inputs import Array, RawObservation
from policy_ros.policies.limits import MAX_OBS_STEPS, MAX_PROMPT_BYTES, check_range

PROPRIO = "proprio"
ENVIRONMENT_STATE = "environment_state"
PROMPT = "prompt"

_TYPES = {OBSERVATION_STATE: FeatureType.STATE, OBSERVATION_ENVIRONMENT_STATE: FeatureType.ENV}
_KEYS = {PROPRIO: OBSERVATION_STATE, ENVIRONMENT_STATE: OBSERVATION_ENVIRONMENT_STATE}


@dataclass(frozen=True)
class NamedInput:
    """One input.

    Attributes:
        name: that the policy's code calls it by.
        key: of the feature, such as ``observation.images.head``.
        spec: of the feature, for one step.
        steps: how many the policy looks at, the newest included.
    """

    name: str
    key: str
    spec: FeatureSpec
    steps: int = 1


@dataclass(frozen=True)
class Naming:
    """All inputs of a policy.

    Attributes:
        inputs: name to input; the order of images is the order the network sees them in.
        prompt_bytes: L, the longest prompt in UTF-8; 0 for a policy that takes none.
    """

    inputs: Mapping[str, NamedInput]
    prompt_bytes: int = 0

    @property
    def steps(self) -> int:
        """The longest history."""
        return max((item.steps for item in self.inputs.values()), default=1)

    @property
    def features(self) -> dict[str, FeatureSpec]:
        """Feature key to type and shape."""
        return {item.key: item.spec for item in self.inputs.values()}

    def to_named(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features ``(B, *shape)`` or ``(B, T, *shape)`` as inputs ``(B, steps, *shape)`` under their names."""
        named = {}
        for name, item in self.inputs.items():
            value = batch[item.key]
            if value.dim() == len(item.spec.shape) + 1:
                value = value.unsqueeze(1)
            named[name] = value[:, -item.steps :]
        return named

    def to_features(self, observation: RawObservation) -> RawObservation:
        """Inputs under their names as features; an observation that has features already stays as it is.

        Raises:
            ObservationError: an input is missing or has another shape; the message names it.
        """
        if any(item.key in observation for item in self.inputs.values()):
            return observation
        missing = [name for name in self.inputs if name not in observation]
        if missing:
            raise ObservationError(
                f"observation: expected {', '.join(self.inputs)} or {', '.join(self.features)}; "
                f"missing {', '.join(missing)}; got {', '.join(observation)}"
            )
        found: dict[str, Array | str] = {
            item.key: self._feature(item, observation[name]) for name, item in self.inputs.items()
        }
        if PROMPT in observation:
            found[TASK] = observation[PROMPT]
        return found

    def encode_prompt(self, prompt: object) -> Array:
        """``(L,)`` int64: the bytes of the text plus one, zero behind its end.

        Raises:
            ObservationError: no text, or too long.
        """
        if not isinstance(prompt, str):
            raise ObservationError(f"observation '{TASK}': expected a text, got {type(prompt).__name__}")
        text = prompt.encode()
        if len(text) > self.prompt_bytes:
            raise ObservationError(
                f"observation '{TASK}': expected at most {self.prompt_bytes} bytes, got {len(text)}; say it shorter"
            )
        tokens = np.zeros(self.prompt_bytes, np.int64)
        tokens[: len(text)] = np.frombuffer(text, np.uint8).astype(np.int64) + 1
        return tokens

    def _feature(self, item: NamedInput, value: object) -> Array:
        inner = len(item.spec.shape)
        if not isinstance(value, np.ndarray) or value.ndim != inner + 1 or len(value) != item.steps:
            shape = "3, H, W" if item.spec.type is FeatureType.VISUAL else str(item.spec.shape[0])
            got = value.shape if isinstance(value, np.ndarray) else type(value).__name__
            raise ObservationError(f"observation '{item.name}': expected ({item.steps}, {shape}), got {got}")
        if self.steps == 1:
            only: Array = value[0]
            return only
        # What lies before an input's own history is never looked at.
        return np.concatenate([np.repeat(value[:1], self.steps - item.steps, axis=0), value])


def naming_from_json(values: Mapping[str, Any]) -> tuple[Naming, FeatureSpec]:
    """The inputs of a section ``features``, and the action.

    Raises:
        ConfigurationError: a name, an option or a shape that cannot be.
    """
    inputs: dict[str, NamedInput] = {}
    prompt_bytes = 0
    action = None
    for name, options in values.items():
        where = f"features.{name}"
        if not isinstance(options, Mapping):
            raise ConfigurationError(f"{where}: expected {{shape: […]}}, got {options!r:.80}")
        if name == PROMPT:
            prompt_bytes = _prompt_bytes(where, options)
        elif name == ACTION:
            _check_keys(where, options, {"shape"})
            action = _spec(where, ACTION, options)
        else:
            inputs[name] = _input(where, name, options)
    if action is None:
        raise ConfigurationError(f"features: expected '{ACTION}', got {', '.join(values) or 'nothing'}")
    keys = [item.key for item in inputs.values()]
    if len(set(keys)) != len(keys):
        raise ConfigurationError(f"features: expected each feature once, got {', '.join(keys)}")
    return Naming(inputs, prompt_bytes), action


def naming_to_json(naming: Naming, action: FeatureSpec) -> dict[str, dict[str, Any]]:
    """Inverse of :func:`naming_from_json`."""
    section: dict[str, dict[str, Any]] = {}
    for name, item in naming.inputs.items():
        section[name] = {"shape": list(item.spec.shape)}
        if item.key != _default_key(name, item.spec.shape):
            section[name]["from"] = item.key
        if item.steps != 1:
            section[name]["steps"] = item.steps
    if naming.prompt_bytes:
        section[PROMPT] = {"bytes": naming.prompt_bytes}
    return {**section, ACTION: {"shape": list(action.shape)}}


def _input(where: str, name: str, options: Mapping[str, Any]) -> NamedInput:
    _check_keys(where, options, {"shape", "from", "steps"})
    shape = options.get("shape")
    key = options.get("from", _default_key(name, shape if isinstance(shape, list) else []))
    if not isinstance(key, str):
        raise ConfigurationError(f"{where}.from: expected the key of a feature, got {key!r:.80}")
    steps = options.get("steps", 1)
    if type(steps) is not int:
        raise ConfigurationError(f"{where}.steps: expected a whole number, got {steps!r:.80}")
    check_range(f"{where}.steps", steps, 1, MAX_OBS_STEPS)
    return NamedInput(name, key, _spec(where, key, options), steps)


def _spec(where: str, key: str, options: Mapping[str, Any]) -> FeatureSpec:
    shape = options.get("shape")
    if key == ACTION:
        kind = FeatureType.ACTION
    elif isinstance(shape, list) and len(shape) == 3:
        kind = FeatureType.VISUAL
    elif key in _TYPES:
        kind = _TYPES[key]
    else:
        raise ConfigurationError(
            f"{where}: expected an image, {PROPRIO} or {ENVIRONMENT_STATE}, or one of {', '.join(_TYPES)} as 'from', "
            f"got the vector {key!r:.80}"
        )
    return features_from_json(where, {key: {"type": kind.value, "shape": shape}})[key]


def _prompt_bytes(where: str, options: Mapping[str, Any]) -> int:
    _check_keys(where, options, {"bytes"})
    length = options.get("bytes")
    if type(length) is not int:
        raise ConfigurationError(f"{where}.bytes: expected a whole number, the longest prompt, got {length!r:.80}")
    check_range(f"{where}.bytes", length, 1, MAX_PROMPT_BYTES)
    return length


def _default_key(name: str, shape: Any) -> str:
    return OBSERVATION_IMAGE_PREFIX + name if len(shape) == 3 else _KEYS.get(name, name)


def _check_keys(where: str, options: Mapping[str, Any], known: set[str]) -> None:
    for key in options:
        if key not in known:
            raise ConfigurationError(f"{where}: {key!r:.80} is no option: {closest(str(key), known)}")
