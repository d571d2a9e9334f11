"""Changes clean faces before they are damaged, so that few faces serve as many."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import RGBImage
from vidrestore.train.config import AugmentConfig

_LUMA = (0.299, 0.587, 0.114)
_SIDE_LIGHT = 0.35
"""Largest change of brightness at one edge of the face; the opposite at the other."""


def augment(image: RGBImage, config: AugmentConfig, rng: np.random.Generator) -> RGBImage:
    """Return another view of a face.

    Args:
        image: Shape (S, S, 3), uint8 RGB, aligned.
        config: How often and how far.
        rng: Says which; the same state gives the same view.

    Returns:
        A new picture of the same shape.
    """
    if rng.random() < config.flip:
        image = image[:, ::-1]
    image = np.ascontiguousarray(image)
    if rng.random() < config.move:
        image = _move(image, config, rng)
    if rng.random() < config.colour:
        image = _recolour(image, config, rng)
    if rng.random() < config.side_light:
        image = _light_from_side(image, rng)
    if rng.random() < config.grey:
        image = np.repeat(_grey(image)[..., None], 3, axis=2)
    return image


def _move(image: RGBImage, config: AugmentConfig, rng: np.random.Generator) -> RGBImage:
    side = image.shape[0]
    middle = (side - 1) / 2
    angle = rng.uniform(-config.rotation, config.rotation)
    scale = np.exp(rng.uniform(*np.log(config.scale)))
    matrix = cv2.getRotationMatrix2D((middle, middle), angle, scale)
    matrix[:, 2] += rng.uniform(-config.shift, config.shift, 2) * side
    # Lanczos: a softer kernel would teach the network that clean faces are soft
    moved = cv2.warpAffine(
        image, matrix, (side, side), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved, dtype=np.uint8)


def _recolour(image: RGBImage, config: AugmentConfig, rng: np.random.Generator) -> RGBImage:
    gamma = np.exp(rng.uniform(-1, 1) * np.log(config.gamma))
    gains = rng.uniform(1 - config.gain, 1 + config.gain, 3)
    levels = np.linspace(0, 1, 256)[:, None] ** gamma * gains
    table = _rounded(levels * 255)
    image = np.asarray(cv2.LUT(image, table[None]), dtype=np.uint8)
    saturation = rng.uniform(*config.saturation)
    grey = np.repeat(_grey(image)[..., None], 3, axis=2)
    mixed = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
    return np.asarray(mixed, dtype=np.uint8)


def _light_from_side(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Brighten one half of the face and darken the other, with a soft edge between."""
    side = image.shape[0]
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.meshgrid(*[np.linspace(-1, 1, side, dtype=np.float32)] * 2)
    across = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    softness = np.float32(rng.uniform(1, 6))
    ramp = np.tanh(across * softness) * np.float32(rng.uniform(0, _SIDE_LIGHT))
    return _rounded(image * (1 + ramp)[..., None])


def _grey(image: RGBImage) -> RGBImage:
    return np.asarray(cv2.transform(image, np.array([_LUMA])), dtype=np.uint8).reshape(
        image.shape[:2]
    )


def _rounded(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    rounded: npt.NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded
