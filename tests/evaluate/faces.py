"""Faces for these tests: the astronaut that scikit-image carries, aligned as the tests need it."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from skimage.data import astronaut

from vidrestore.contracts import RGBImage
from vidrestore.core.geometry import similarity_transform
from vidrestore.models.registry import Template, landmark_template

LANDMARKS = np.array([[205, 101], [247, 103], [224, 129], [202, 138], [244, 141]], np.float32)
"""Of the photograph, to about two pixels."""


@cache
def portrait(size: int = 256) -> RGBImage:
    """The face on the FFHQ template, read-only."""
    matrix = similarity_transform(LANDMARKS, landmark_template(Template.FFHQ, size))
    assert matrix is not None
    made = cv2.warpAffine(astronaut(), matrix, (size, size), flags=cv2.INTER_CUBIC)
    made.setflags(write=False)
    return np.asarray(made, np.uint8)
