"""Finds the faces of a photograph, small and large."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import FaceDetector, FaceObservation, Points, RGBImage
from vidrestore.settings import DetectSettings
from vidrestore.stages.detect import is_believed

_VIEW_GROWTH = 2.5
"""Each view is so many times as large as the one before."""
_LARGEST_VIEW = 2500
"""Longer side of the largest view, in pixels. In a photograph of 24 megapixels faces 60 pixels wide
are found there, against 150 in the first view alone, for 0.5 s; at 4000 the time trebles."""
_SAME_FACE = 0.6
"""Two boxes are of one face where so much of the smaller one lies in the other. Where a face is too
large for the detector, it sees further ones in its parts."""


def find_faces(
    picture: RGBImage, detector: FaceDetector, settings: DetectSettings
) -> list[FaceObservation]:
    """Look for faces at several sizes of the picture, best score first.

    The first view has at most ``settings.max_side`` pixels on its longer side, as a frame of a film
    has; it shows faces that fill the picture. In larger views of the same picture the small faces
    of a group are found. A face that is found in several views counts once, as it was seen best.

    Args:
        picture: Shape (H, W, 3), upright.
        detector: Looks at each view.
        settings: What is believed.

    Returns:
        The faces in pixels of the picture.
    """
    found: list[FaceObservation] = []
    for side in view_sides(max(picture.shape[:2]), settings.max_side):
        view, factors = _view(picture, side)
        (seen,) = detector.detect([view])
        found += [_enlarged(face, factors) for face in seen]
    believed = [face for face in found if is_believed(face, settings)]
    return _without_repeats(sorted(believed, key=lambda face: -face.score))


def view_sides(longest: int, first: int) -> list[int]:
    """Return the longer sides of the views of a picture, increasing.

    >>> view_sides(6000, 1000), view_sides(1500, 1000), view_sides(400, 1000)
    ([1000, 2500], [1000, 1500], [400])
    """
    sides = [min(first, longest)]
    while sides[-1] < min(longest, _LARGEST_VIEW):
        sides.append(min(longest, _LARGEST_VIEW, round(sides[-1] * _VIEW_GROWTH)))
    return sides


def _view(picture: RGBImage, side: int) -> tuple[RGBImage, Points]:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return np.ascontiguousarray(picture), np.ones(2, np.float32)
    view = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(view, np.uint8), np.array([width / size[0], height / size[1]], np.float32)


def _enlarged(face: FaceObservation, factors: Points) -> FaceObservation:
    def moved(points: Points) -> Points:
        # pixel centres are at integers, so the corner of the picture is at -0.5
        return ((points + 0.5) * factors - 0.5).astype(np.float32)

    box = moved(face.box_xyxy.reshape(2, 2)).reshape(4)
    return FaceObservation(box_xyxy=box, landmarks=moved(face.landmarks), score=face.score)


def _without_repeats(faces: Sequence[FaceObservation]) -> list[FaceObservation]:
    kept: list[FaceObservation] = []
    for face in faces:
        if all(_shared(face.box_xyxy, other.box_xyxy) < _SAME_FACE for other in kept):
            kept.append(face)
    return kept


def _shared(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Return how much of the smaller of two boxes lies in the other, 0..1."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    smaller = min(float(np.prod(box[2:] - box[:2])) for box in (a, b))
    return float(np.prod(sides.clip(min=0))) / smaller


def face_size(landmarks: Points) -> float:
    """Return the spread of the landmarks in pixels, for comparing sizes."""
    return math.sqrt(float(landmarks.var(axis=0).sum()))
