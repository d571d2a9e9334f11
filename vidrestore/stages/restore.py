"""AlignedFrame → RestoredFrame: crops of several faces and frames, in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from vidrestore.contracts import (
    AlignedFrame,
    FaceRestorer,
    PendingCrops,
    RestoredFace,
    RestoredFrame,
    RGBImage,
)

_BATCHES_IN_FLIGHT = 2
"""One computes while the next is prepared."""
_FRAMES_FOR_EACH_CROP = 2
"""A batch that is not full goes off once it has waited for this many frames a crop."""


@dataclass(slots=True, eq=False)
class _Crop:
    """A crop that is on its way, for one frame or for several that repeat it."""

    original: RGBImage
    restored: RGBImage | None = None

    def result(self) -> RGBImage:
        assert self.restored is not None
        return self.restored


@dataclass(slots=True, eq=False)
class _Waiting:
    """A frame, and the crop of each of its faces."""

    item: AlignedFrame
    crops: list[_Crop] = field(default_factory=list)

    def is_done(self) -> bool:
        return all(crop.restored is not None for crop in self.crops)


def restore_faces(
    frames: Iterator[AlignedFrame], restorer: FaceRestorer
) -> Iterator[RestoredFrame]:
    """Restore every crop, but one that repeats that of the frame before only once.

    Crops are gathered across faces and frames into batches of ``restorer.batch_size``. Up to two
    batches are under way; the oldest is awaited when a third is ready to go. Frames wait for
    their crops in order.

    Yields:
        One item for each frame, in order.
    """
    queue = _CropQueue(restorer)
    for item in frames:
        queue.add(item)
        yield from queue.finished(_BATCHES_IN_FLIGHT)
    queue.submit()
    yield from queue.finished(0)


class _CropQueue:
    """Frames in order, their crops in batches."""

    def __init__(self, restorer: FaceRestorer) -> None:
        self._restorer = restorer
        self._frames: deque[_Waiting] = deque()
        self._previous: dict[int, _Crop] = {}
        """Of the latest frame, by the track's id."""
        self._crops: list[_Crop] = []
        self._pending: deque[tuple[PendingCrops, list[_Crop]]] = deque()
        self._frames_since_submit = 0

    def add(self, item: AlignedFrame) -> None:
        """Take a frame, and start each batch that it fills."""
        waiting = _Waiting(item)
        self._frames.append(waiting)
        for face in item.faces:
            crop = self._previous.get(face.track.track_id)
            if crop is None or not np.array_equal(crop.original, face.crop):
                crop = _Crop(face.crop)
                self._crops.append(crop)
            waiting.crops.append(crop)
            if len(self._crops) >= self._restorer.batch_size:
                self.submit()
        numbers = (face.track.track_id for face in item.faces)
        self._previous = dict(zip(numbers, waiting.crops, strict=True))
        self._frames_since_submit += 1
        if self._frames_since_submit >= _FRAMES_FOR_EACH_CROP * self._restorer.batch_size:
            self.submit()

    def submit(self) -> None:
        """Start what has been gathered."""
        self._frames_since_submit = 0
        if self._crops:
            while len(self._pending) >= _BATCHES_IN_FLIGHT:
                self._await_oldest()
            pending = self._restorer.submit([crop.original for crop in self._crops])
            self._pending.append((pending, self._crops))
            self._crops = []

    def _await_oldest(self) -> None:
        pending, crops = self._pending.popleft()
        for crop, restored in zip(crops, pending.result(), strict=True):
            crop.restored = restored

    def finished(self, max_pending: int) -> Iterator[RestoredFrame]:
        """Await batches while too many are under way or too many frames wait; give out the rest.

        Where no crop is under way nothing is awaited: frames without faces pass at once.
        """
        max_held = _BATCHES_IN_FLIGHT * _FRAMES_FOR_EACH_CROP * self._restorer.batch_size
        while self._pending and (len(self._pending) > max_pending or len(self._frames) > max_held):
            self._await_oldest()
        while self._frames and self._frames[0].is_done():
            waiting = self._frames.popleft()
            item = waiting.item
            faces = tuple(
                RestoredFace(aligned=face, crop=crop.result(), strength=face.track.strength)
                for face, crop in zip(item.faces, waiting.crops, strict=True)
            )
            yield RestoredFrame(frame=item.frame, faces=faces, is_cut=item.is_cut)
