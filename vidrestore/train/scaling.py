"""At which size a degradation happens: a face crop's source was smaller, a frame is its own."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

FloatImage = npt.NDArray[np.float32]
"""Picture, shape (H, W, 3) or one channel (H, W), float32, 0..255, not rounded."""

SMALLEST_SOURCE, LARGEST_SOURCE = 64, 256
"""Sides in pixels that a face crop is thought to have had in its film."""

FILTERS = MappingProxyType(
    {
        "area": cv2.INTER_AREA,
        "linear": cv2.INTER_LINEAR,
        "cubic": cv2.INTER_CUBIC,
        "lanczos": cv2.INTER_LANCZOS4,
    }
)
"""Resampling filters by name. Only ``area`` averages when it reduces; the others alias."""


def is_face_crop(shape: tuple[int, ...]) -> bool:
    """Tell an aligned face crop, which is square, from a whole frame of a film."""
    return shape[0] == shape[1]


def draw_source_px(rng: np.random.Generator) -> int:
    """Draw the side of the crop in its film, evenly in the logarithm."""
    low, high = math.log(SMALLEST_SOURCE), math.log(LARGEST_SOURCE)
    return round(math.exp(rng.uniform(low, high)))


def resize(image: npt.NDArray[Any], height: int, width: int, name: str) -> FloatImage:
    """Resample a picture to another size with a filter of `FILTERS`.

    Values may overshoot 0..255 with ``cubic`` and ``lanczos``.
    """
    pixels = image.astype(np.float32, copy=False)
    if pixels.shape[:2] == (height, width):
        return pixels
    resized: FloatImage = cv2.resize(pixels, (width, height), interpolation=FILTERS[name]).astype(
        np.float32, copy=False
    )
    return resized


def to_levels(image: FloatImage) -> npt.NDArray[np.uint8]:
    """Round to the nearest of 0..255.

    A weighted sum that rounds and saturates as it stores: five times as fast as NumPy's steps.
    """
    return cv2.addWeighted(image, 1, image, 0, 0, dtype=cv2.CV_8U).astype(np.uint8, copy=False)
