"""The moments at which a face is seen best, and how it looks then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vidrestore.contracts import FaceTrack, Frame, Points, RGBImage
from vidrestore.core.face_index import KnownFace, place_of
from vidrestore.core.geometry import compose, display_from_frame, similarity_transform
from vidrestore.core.warping import crop_from_planes

PORTRAIT_SIZE = 128
"""Side of a portrait in pixels."""

_TEMPLATE = PORTRAIT_SIZE * np.array(
    [[0.39, 0.44], [0.61, 0.44], [0.5, 0.56], [0.41, 0.67], [0.59, 0.67]], np.float32
)
"""Where the landmarks lie in a portrait: eyes level, room for hair and chin."""
_ENOUGH_PX = 160.0
"""A face wider than this is not the better seen for being wider."""
_SLOT_SECONDS = 0.25
_MAX_SLOTS = 16
_LEAST_SHARE = 1 / 6
"""Portraits of one face are at least this share of its time apart."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """A face at a good moment."""

    seconds: float
    quality: float
    """Grows with size, frontality and sharpness; for comparing portraits of one face."""
    jpeg: bytes
    """Shape (S, S, 3) coded as JPEG, eyes level; ``image`` decodes it."""

    def image(self) -> RGBImage:
        """Return the picture, shape (S, S, 3), uint8 RGB, S being ``PORTRAIT_SIZE``."""
        bgr = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None  # made below
        return np.asarray(bgr[:, :, ::-1], np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """A face of a film, and pictures of it."""

    known: KnownFace
    portraits: tuple[Portrait, ...]
    """At its best moments, by time."""


def take_portrait(frame: Frame, track: FaceTrack) -> Portrait | None:
    """Cut a face out of its frame, upright; None where the landmarks determine no pose."""
    crop_from_display = similarity_transform(track.landmarks, _TEMPLATE)
    if crop_from_display is None:
        return None
    matrix = compose(crop_from_display, display_from_frame(frame.geometry))
    image = crop_from_planes(frame, matrix, PORTRAIT_SIZE)
    width = min(float(place_of(track.landmarks)[2]), _ENOUGH_PX)
    quality = width * facing(track.landmarks) * _sharpness(image)
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return Portrait(frame.seconds, quality, coded.tobytes())


def facing(landmarks: Points) -> float:
    """Return how far a face looks into the camera, 1 straight to 0 sideways.

    The measure is where the nose lies along the line of the eyes: in their middle, or over one.

    >>> eyes_and_mouth = [[0, 0], [2, 0]], [[0.2, 2], [1.8, 2]]
    >>> def face(nose_x): return np.array([*eyes_and_mouth[0], [nose_x, 1], *eyes_and_mouth[1]])
    >>> [round(facing(face(x)), 2) for x in (1, 1.5, 2)]
    [1.0, 0.5, 0.0]
    """
    left, right, nose = landmarks[:3].astype(np.float64)
    eyes = right - left
    along = float((nose - (left + right) / 2) @ eyes) / max(float(eyes @ eyes), 1e-6)
    return float(np.clip(1 - 2 * abs(along), 0, 1))


class Album:
    """Keeps the best portraits of one face while its film goes by, in bounded memory."""

    def __init__(self) -> None:
        self._slot_seconds = _SLOT_SECONDS
        self._best: dict[int, Portrait] = {}
        """The best of each stretch of time."""

    @property
    def is_empty(self) -> bool:
        """Nothing has been offered yet."""
        return not self._best

    def offer(self, portrait: Portrait) -> None:
        """Take a portrait if it is the best of its time."""
        self._keep(int(portrait.seconds // self._slot_seconds), portrait)
        if len(self._best) > _MAX_SLOTS:
            self._slot_seconds *= 2
            earlier, self._best = self._best, {}
            for slot, kept in earlier.items():
                self._keep(slot // 2, kept)

    def best(self, count: int) -> tuple[Portrait, ...]:
        """Return at most ``count`` portraits, the best ones that are apart in time, by time."""
        by_time = sorted(self._best.values(), key=lambda p: p.seconds)
        if not by_time:
            return ()
        apart = (by_time[-1].seconds - by_time[0].seconds) * _LEAST_SHARE
        chosen: list[Portrait] = []
        for portrait in sorted(by_time, key=lambda p: -p.quality):
            if len(chosen) < count and _is_apart(portrait, chosen, apart):
                chosen.append(portrait)
        return tuple(sorted(chosen, key=lambda p: p.seconds))

    def _keep(self, slot: int, portrait: Portrait) -> None:
        if slot not in self._best or self._best[slot].quality < portrait.quality:
            self._best[slot] = portrait


def _is_apart(portrait: Portrait, others: Sequence[Portrait], seconds: float) -> bool:
    return all(abs(portrait.seconds - other.seconds) >= seconds for other in others)


def _sharpness(image: RGBImage) -> float:
    """Return the strength of fine detail over that of the whole picture, in the middle of it."""
    edge = PORTRAIT_SIZE // 4
    middle = image[edge:-edge, edge:-edge].mean(axis=2).astype(np.float32)
    return float(np.std(cv2.Laplacian(middle, cv2.CV_32F)) / (np.std(middle) + 4))
