"""Stand-ins for the networks and for decoded frames: no weights, no files, known answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from vidrestore.contracts import (
    Embedding,
    FaceObservation,
    Frame,
    FrameGeometry,
    PendingCrops,
    PixelLayout,
    Points,
    RGBImage,
)

LAYOUT = PixelLayout(
    name="yuv420p",
    bits=8,
    chroma_shift_x=1,
    chroma_shift_y=1,
    is_full_range=False,
    kr=0.299,
    kb=0.114,
)

FACE = np.array([[-0.59, -0.62], [0.58, -0.62], [-0.01, 0.04], [-0.49, 0.60], [0.51, 0.60]])
"""Landmarks of a frontal face about its centre, in units of its size."""


def frame_at(
    tick: int,
    luma: int = 90,
    width: int = 64,
    height: int = 48,
    rate: int = 25,
    geometry: FrameGeometry | None = None,
) -> Frame:
    """A grey frame of one brightness, with a mark in a corner that makes it unlike others."""
    geometry = geometry or FrameGeometry(width, height)
    width, height = geometry.width, geometry.height
    y = np.full((height, width), luma, np.uint8)
    c = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    c[-1, -1] = 96 + tick % 64

    def render(w: int, h: int) -> RGBImage:
        return np.full((h, w, 3), luma, np.uint8)

    return Frame(
        planes=(y, c, c),
        pts=tick,
        time_base=Fraction(1, rate),
        duration=1,
        seconds=tick / rate,
        tick=tick,
        layout=LAYOUT,
        geometry=geometry,
        render_rgb=render,
    )


def landmarks_at(x: float, y: float, size: float, angle: float = 0.0) -> Points:
    """Landmarks of a face with its centre at (x, y)."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return ((FACE - FACE.mean(axis=0)) @ turn.T * size + (x, y)).astype(np.float32)


def observation(landmarks: Points, score: float = 0.98) -> FaceObservation:
    """What a detector would say of a face with these landmarks."""
    centre = landmarks.mean(axis=0)
    half = 1.7 * float(np.linalg.norm(landmarks[1] - landmarks[0]))
    box = np.array([*(centre - half * np.array([0.8, 1])), *(centre + half * np.array([0.8, 1]))])
    return FaceObservation(box_xyxy=box.astype(np.float32), landmarks=landmarks, score=score)


class FakeDetector:
    """Answers from a function of the picture; remembers what it was shown."""

    description = "fake"

    def __init__(
        self,
        find: Callable[[RGBImage], tuple[FaceObservation, ...]],
        batch_size: int = 1,
    ) -> None:
        self._find = find
        self.batch_size = batch_size
        self.calls: list[int] = []

    def detect(self, images: Sequence[RGBImage]) -> list[tuple[FaceObservation, ...]]:
        assert 1 <= len(images) <= self.batch_size
        assert len({image.shape for image in images}) == 1
        self.calls.append(len(images))
        return [self._find(image) for image in images]

    def close(self) -> None:
        pass


class FakeEmbedder:
    """Tells people apart by the brightness of their chips; remembers how often it was asked."""

    description = "fake"
    size = 16
    template = landmarks_at(8, 8, 3)

    def __init__(self) -> None:
        self.num_asked = 0

    def describe(self, chip: RGBImage) -> Embedding:
        assert chip.shape == (self.size, self.size, 3)
        self.num_asked += 1
        return np.array([chip.mean() / 100, 0.0])

    @classmethod
    def chip_of(cls, person: int) -> RGBImage:
        """Return a chip of somebody; two people are at least 0.8 apart."""
        return np.full((cls.size, cls.size, 3), 80 * person, np.uint8)


class _Done:
    def __init__(self, crops: list[RGBImage], on_result: Callable[[], None]) -> None:
        self._crops, self._on_result = crops, on_result

    def result(self) -> list[RGBImage]:
        self._on_result()
        return self._crops


class FakeRestorer:
    """Applies a function to each crop; remembers sizes of batches and how many are under way."""

    description = "fake"

    def __init__(
        self,
        change: Callable[[RGBImage], RGBImage] = lambda crop: crop,
        size: int = 64,
        batch_size: int = 1,
    ) -> None:
        self._change = change
        self.size = size
        self.batch_size = batch_size
        self.template = landmarks_at(size / 2, size / 2, size / 6)
        self.notes: list[str] = []
        self.batches: list[int] = []
        self.num_pending = 0
        self.most_pending = 0

    def submit(self, crops: Sequence[RGBImage]) -> PendingCrops:
        assert 1 <= len(crops) <= self.batch_size
        self.batches.append(len(crops))
        self.num_pending += 1
        self.most_pending = max(self.most_pending, self.num_pending)
        return _Done([self._change(crop) for crop in crops], self._awaited)

    def close(self) -> None:
        pass

    def _awaited(self) -> None:
        self.num_pending -= 1
