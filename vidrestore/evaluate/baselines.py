"""What anyone can do without a network: a model that is no better than these is no use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np

from vidrestore.contracts import RGBImage

_NLM_STRENGTH = 5.0
_NLM_COLOUR_STRENGTH = 10.0


def through_half_size(image: RGBImage) -> RGBImage:
    """Halve a picture by averaging and enlarge it with bicubic interpolation: a plain low-pass."""
    height, width = image.shape[:2]
    half = cv2.resize(
        image, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA
    )
    return np.asarray(cv2.resize(half, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def non_local_means(image: RGBImage) -> RGBImage:
    """Denoise with OpenCV's non-local means (Buades, Coll, Morel 2005), strength 5, colour 10."""
    # the function converts what it takes for BGR to L*a*b*
    bgr = np.ascontiguousarray(image[..., ::-1])
    smooth = cv2.fastNlMeansDenoisingColored(bgr, None, _NLM_STRENGTH, _NLM_COLOUR_STRENGTH)
    return np.asarray(smooth[..., ::-1], np.uint8)


BASELINES: Mapping[str, Callable[[RGBImage], RGBImage]] = MappingProxyType(
    {"bicubic": through_half_size, "non-local means": non_local_means}
)
