# SPDX-License-Identifier: Apache-2.0
"""Observations in: checked against the policy's features, and turned into tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import ObservationError
from policy_ros.policies.limits import MAX_IMAGE_SIDE

Array = NDArray[Any]  # an image is uint8, a vector floating point
RawObservation = Mapping[str, "Array | str"]


def rename(observation: RawObservation, renamed: Mapping[str, str]) -> RawObservation:
    """The observation under the policy's own keys; keys that ``renamed`` does not list stay.

    Raises:
        ObservationError: two keys end up with the same name.
    """
    if not renamed:
        return observation
    result = {renamed.get(key, key): value for key, value in observation.items()}
    if len(result) != len(observation):
        twice = sorted(target for source, target in renamed.items() if source in observation and target in observation)
        raise ObservationError(f"observation: {', '.join(twice)} given twice, under its own and under its renamed key")
    return result


def check(observation: RawObservation, features: Mapping[str, FeatureSpec], steps: int | None) -> dict[str, Array]:
    """The arrays of the given features; further keys are left out.

    Args:
        observation: images ``(3, H, W)`` uint8 of any size, vectors ``(n,)`` floating point.
        features: what must be there.
        steps: length of the leading time axis, None where there is none.

    Raises:
        ObservationError: a feature is missing or of the wrong shape or type; the message names it.
    """
    missing = [key for key in features if key not in observation]
    if missing:
        raise ObservationError(
            f"observation: expected {', '.join(features)}; missing {', '.join(missing)}; got {', '.join(observation)}"
        )
    return {key: _array(key, observation[key], spec, steps) for key, spec in features.items()}


def stack(observations: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Checked observations, B of them, as feature key to ``(B, …)``.

    Raises:
        ObservationError: there is none, or images of one feature differ in size.
    """
    if not observations:
        raise ObservationError("observations: expected at least one, got none")
    return {key: _stacked(key, [observation[key] for observation in observations]) for key in observations[0]}


def image_to_float(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Images ``(…, 3, h, w)``, uint8 or float in 0 to 1, to float32 in 0 to 1 of ``size`` (height, width).

    Another size is brought to it by antialiased bilinear interpolation on the image's device, ignoring the aspect
    ratio. uint8 images stay on whole grey levels, as in a data set of resized images; torchvision's resize is equal.
    """
    if tuple(image.shape[-2:]) != size:
        flat = _resize(image.reshape(-1, *image.shape[-3:]), size)
        image = flat.reshape(*image.shape[:-2], *size)
    return image.float() / 255 if image.dtype == torch.uint8 else image.float()


def _stacked(key: str, arrays: Sequence[Array]) -> Array:
    if len(arrays) == 1:
        # Mostly a view, since live images are large; torch takes no array that runs backwards, as a flipped image does.
        return np.ascontiguousarray(arrays[0])[np.newaxis]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        listed = ", ".join(map(str, sorted(shapes)))
        raise ObservationError(f"observation '{key}': expected one size in a batch, got {listed}")
    return np.stack(arrays)


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.dtype == torch.uint8 and images.device.type != "cpu":  # only the CPU has an integer kernel
        return _resize(images.float(), size).round().clamp(0, 255).to(torch.uint8)
    return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)


def _array(key: str, value: object, spec: FeatureSpec, steps: int | None) -> Array:
    visual = spec.type is FeatureType.VISUAL
    wanted = ("" if steps is None else f"{steps}, ") + ("3, H, W" if visual else f"{spec.shape[0]},")
    wanted = f"({wanted}) {'uint8' if visual else 'float32'}"
    if not isinstance(value, np.ndarray):
        raise ObservationError(f"observation '{key}': expected an array {wanted}, got {type(value).__name__}")
    kind = value.dtype == np.uint8 if visual else np.issubdtype(value.dtype, np.floating)
    leading = () if steps is None else (steps,)
    shape = (*leading, spec.shape[0], *value.shape[-2:]) if visual else (*leading, *spec.shape)
    sides = value.shape[-2:] if visual else ()
    if not kind or value.shape != shape or not all(1 <= side <= MAX_IMAGE_SIDE for side in sides):
        raise ObservationError(f"observation '{key}': expected {wanted}, got {value.shape} {value.dtype}")
    return value if visual else value.astype(np.float32, copy=False)
