# SPDX-License-Identifier: Apache-2.0
"""What every policy's configuration has, and its form in a LeRobot ``config.json``."""

from __future__ import annotations

import dataclasses
import math
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from policy_ros.data import ACTION, OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE, FeatureSpec, FeatureType
from policy_ros.errors import ConfigurationError, closest
from policy_ros.policies.features import feature_type, features_from_json, features_to_json
from policy_ros.policies.limits import MAX_HORIZON, MAX_OBS_STEPS, MAX_OBSERVATION_VALUES, check_range
from policy_ros.policies.modes import NormalizationMode

# Keys that LeRobot keeps about training and publishing. They do not change what the network computes, so they are
# read past; ``device`` too, because the machine that runs a policy is not the one that trained it.
BOOKKEEPING = frozenset(
    {"device", "license", "pretrained_path", "pretrained_revision", "private", "push_to_hub", "repo_id", "tags"}
    | {"type", "use_amp", "use_peft"}
)

ConfigT = TypeVar("ConfigT", bound="PolicyConfig")


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Base of all policy configurations; field names and defaults are LeRobot's.

    Attributes:
        input_features: observation key to type and shape; the order of images is the order the network sees them in.
        output_features: must hold ``action``, ``(A,)``.
        normalization_mapping: mode per feature type; a type that is not listed is not normalised.
        n_obs_steps: observations a prediction looks at, the current one included.
        n_action_steps: rows of a chunk that ``select_action`` executes before it asks for the next chunk.
        supports_guidance: whether the policy can be guided towards a committed prefix. Declared, never probed.
        uses_noise: whether ``predict`` starts from noise and so accepts ``noise=``.
        unmet_in_recordings: what training needs that a recording of a robot does not have; empty: nothing.

    Raises:
        ConfigurationError: a value is missing or out of range; the message names it.
    """

    supports_guidance: ClassVar[bool] = False
    uses_noise: ClassVar[bool] = False
    unmet_in_recordings: ClassVar[str] = ""
    # LeRobot refuses keys that it does not know, so these are written only where they differ from their defaults.
    options_of_our_own: ClassVar[frozenset[str]] = frozenset()
    # Further keys of LeRobot's, of this policy alone, that are read past as BOOKKEEPING is.
    further_bookkeeping: ClassVar[frozenset[str]] = frozenset()

    input_features: Mapping[str, FeatureSpec]
    output_features: Mapping[str, FeatureSpec]
    normalization_mapping: Mapping[FeatureType, NormalizationMode] = field(default_factory=dict)
    n_obs_steps: int = 1
    n_action_steps: int = 1

    def __post_init__(self) -> None:
        action = self.output_features.get(ACTION)
        if action is None or action.type is not FeatureType.ACTION:
            raise ConfigurationError(
                f"output_features: expected '{ACTION}' of type ACTION, got {_keys(self.output_features)}"
            )
        if not self.input_features:
            raise ConfigurationError("input_features: expected at least one feature, got none")
        for key, spec in self.input_features.items():
            if spec.type is FeatureType.ACTION:
                raise ConfigurationError(f"input_features: '{key}' is of type ACTION, which only an output can be")
        check_range("n_obs_steps", self.n_obs_steps, 1, MAX_OBS_STEPS)
        values = self.n_obs_steps * sum(math.prod(spec.shape) for spec in self.observed_features.values())
        check_range("values in an observation (input_features, n_obs_steps)", values, 0, MAX_OBSERVATION_VALUES)
        check_range("chunk_size", self.chunk_size, 1, MAX_HORIZON)
        check_range("n_action_steps", self.n_action_steps, 1, self.chunk_size)

    @property
    def chunk_size(self) -> int:
        """H, the rows that ``predict`` returns."""
        raise NotImplementedError

    @property
    def target_rows(self) -> range:
        """The rows of actions that training shows; row 0 is the one that ``predict`` starts with.

        Policies that learn the past as well begin before it. The last one is at least H - 1.
        """
        return range(self.chunk_size)

    @property
    def action_dim(self) -> int:
        """A, the values in one row."""
        return self.output_features[ACTION].shape[0]

    @property
    def execution_rows(self) -> int:
        """Rows of a chunk that are meant to be executed before the policy looks again."""
        return self.n_action_steps

    @property
    def denoises(self) -> bool:
        """Whether it learns to turn noise into actions, which wants other defaults for training."""
        return self.uses_noise

    @property
    def pretraining_steps(self) -> int:
        """Steps at the beginning of a training that are for a part of the network alone; mostly none."""
        return 0

    @property
    def speed_advice(self) -> str:
        """Which of its options make inference faster without another training; empty: none."""
        return ""

    @property
    def unfit_for_robots(self) -> str:
        """Why its rows are no positions of joints, so that a robot cannot be led by them; empty: they are."""
        return ""

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Of the noise that one chunk starts from, for policies that use noise."""
        return self.chunk_size, self.action_dim

    @property
    def image_features(self) -> dict[str, FeatureSpec]:
        """The cameras, in the order the network sees them."""
        return {key: spec for key, spec in self.input_features.items() if spec.type is FeatureType.VISUAL}

    @property
    def state_feature(self) -> FeatureSpec | None:
        """``observation.state``, if the policy has it."""
        return self._vector(OBSERVATION_STATE, FeatureType.STATE)

    @property
    def environment_feature(self) -> FeatureSpec | None:
        """``observation.environment_state``, if the policy has it."""
        return self._vector(OBSERVATION_ENVIRONMENT_STATE, FeatureType.ENV)

    @property
    def observed_features(self) -> dict[str, FeatureSpec]:
        """The inputs that the network reads, and that an observation must therefore bring.

        LeRobot lists further vectors of a data set (velocities, efforts) among the inputs, which its networks ignore.
        """
        named = (OBSERVATION_STATE, OBSERVATION_ENVIRONMENT_STATE)
        return {k: spec for k, spec in self.input_features.items() if spec.type is FeatureType.VISUAL or k in named}

    def mode(self, kind: FeatureType) -> NormalizationMode:
        """How features of this type are normalised."""
        return self.normalization_mapping.get(kind, NormalizationMode.IDENTITY)

    @classmethod
    def from_dict(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
        """Build from the content of a ``config.json``, or from overrides in the same form.

        Raises:
            ConfigurationError: a key is unknown, a required one is missing, or a value has the wrong type or range.
        """
        hints = typing.get_type_hints(cls)
        known = {f.name for f in dataclasses.fields(cls)}
        if values.get("use_peft"):
            raise ConfigurationError("use_peft: expected false, got true; merge the adapter into the weights first")
        arguments: dict[str, Any] = {}
        for key, value in values.items():
            if key in known:
                arguments[key] = _field(key, value, hints[key])
            elif key not in BOOKKEEPING | cls.further_bookkeeping:
                raise ConfigurationError(f"{key!r:.80} is no option of {cls.__name__}: {closest(key, known)}")
        for key in ("input_features", "output_features"):
            if key not in arguments:
                raise ConfigurationError(
                    f"{key} is missing: expected {{key: {{'type': STATE, ENV, VISUAL or ACTION, 'shape': […]}}}}"
                )
        return cls(**arguments)

    def to_dict(self) -> dict[str, Any]:
        """The policy's own part of ``config.json``; :meth:`from_dict` reads it back."""
        values: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name in self.options_of_our_own and value == item.default:
                continue
            if item.name in ("input_features", "output_features"):
                value = features_to_json(value)
            elif item.name == "normalization_mapping":
                value = {kind.value: mode.value for kind, mode in value.items()}
            elif dataclasses.is_dataclass(value) and not isinstance(value, type):
                value = dataclasses.asdict(value)
            elif isinstance(value, Mapping):
                value = dict(value)
            values[item.name] = list(value) if isinstance(value, tuple) else value
        return values

    def _vector(self, key: str, kind: FeatureType) -> FeatureSpec | None:
        spec = self.input_features.get(key)
        if spec is not None and spec.type is not kind:
            raise ConfigurationError(f"input_features['{key}']: expected type {kind.value}, got {spec.type.value}")
        return spec


def normalization_mapping_from_json(where: str, value: object) -> dict[FeatureType, NormalizationMode]:
    """``{"STATE": "MEAN_STD", …}`` to enums.

    Raises:
        ConfigurationError: not such a mapping, or a type or mode that does not exist.
    """
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where}: expected {{feature type: mode}}, got {value!r:.80}")
    mapping = {}
    for kind, mode in value.items():
        try:
            mapping[feature_type(where, kind)] = NormalizationMode(mode)
        except ValueError:
            known = ", ".join(m.value for m in NormalizationMode)
            raise ConfigurationError(f"{where}[{kind!r:.80}]: expected one of {known}, got {mode!r:.80}") from None
    return mapping


def _field(name: str, value: object, hint: Any) -> Any:
    if name in ("input_features", "output_features"):
        return features_from_json(name, value)
    if name == "normalization_mapping":
        return normalization_mapping_from_json(name, value)
    return coerce(name, value, hint)


def _group(name: str, value: object, hint: Any) -> Any:
    """A mapping as the dataclass of a group of options; what is absent keeps its default."""
    if isinstance(value, hint):
        return value
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name}: expected {{option: value}}, got {value!r:.80}")
    hints = typing.get_type_hints(hint)
    for key in value:
        if key not in hints:
            raise ConfigurationError(f"{name}: {key!r:.80} is no option: {closest(str(key), hints)}")
    return hint(**{key: coerce(f"{name}.{key}", entry, hints[key]) for key, entry in value.items()})


def coerce(name: str, value: object, hint: Any) -> Any:
    """``value`` as the annotated type; JSON's integers stand for floats and booleans, nothing else converts."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None:
            return None
        hint = next(option for option in typing.get_args(hint) if option is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return _group(name, value, hint)
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ConfigurationError(f"{name}: expected one of {', '.join(map(str, choices))}, got {value!r:.80}")
        return value
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        item = typing.get_args(hint)[0]
        return tuple(coerce(name, entry, item) for entry in value)
    if typing.get_origin(hint) is Mapping and isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        item = typing.get_args(hint)[1]
        return {
            key: entry if item is Any else coerce(f"{name}[{key!r:.80}]", entry, item) for key, entry in value.items()
        }
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # False for NaN and infinity, and for integers beyond every float, both of which JSON can hold.
    if hint is float and number and abs(typing.cast(float, value)) <= sys.float_info.max:
        return float(typing.cast(float, value))
    if hint is bool and (isinstance(value, bool) or (type(value) is int and value in (0, 1))):
        return bool(value)
    if hint in (int, str) and type(value) is hint:
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise ConfigurationError(f"{name}: expected {wanted}, got {type(value).__name__} {value!r:.80}")


def _keys(features: Mapping[str, FeatureSpec]) -> str:
    return ", ".join(f"'{key}' ({spec.type.value})" for key, spec in features.items()) or "nothing"
