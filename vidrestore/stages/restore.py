"""AlignedFrame → RestoredFrame: crops of several faces and frames, in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

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
class _Waiting:
    """A frame whose crops are on their way."""

    item: AlignedFrame
    crops: list[RGBImage] = field(default_factory=list)

    def is_done(self) -> bool:
        return len(self.crops) == len(self.item.faces)


def restore_faces(
    frames: Iterator[AlignedFrame], restorer: FaceRestorer
) -> Iterator[RestoredFrame]:
    """Restore every crop.

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
        self._crops: list[tuple[_Waiting, RGBImage]] = []
        self._pending: deque[tuple[PendingCrops, list[_Waiting]]] = deque()
        self._frames_since_submit = 0

    def add(self, item: AlignedFrame) -> None:
        """Take a frame, and start each batch that it fills."""
        waiting = _Waiting(item)
        self._frames.append(waiting)
        for face in item.faces:
            self._crops.append((waiting, face.crop))
            if len(self._crops) >= self._restorer.batch_size:
                self.submit()
        self._frames_since_submit += 1
        if self._frames_since_submit >= _FRAMES_FOR_EACH_CROP * self._restorer.batch_size:
            self.submit()

    def submit(self) -> None:
        """Start what has been gathered."""
        self._frames_since_submit = 0
        if self._crops:
            while len(self._pending) >= _BATCHES_IN_FLIGHT:
                self._await_oldest()
            owners = [waiting for waiting, _ in self._crops]
            self._pending.append((self._restorer.submit([c for _, c in self._crops]), owners))
            self._crops.clear()

    def _await_oldest(self) -> None:
        pending, owners = self._pending.popleft()
        for waiting, crop in zip(owners, pending.result(), strict=True):
            waiting.crops.append(crop)

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
                RestoredFace(aligned=face, crop=crop, strength=face.track.strength)
                for face, crop in zip(item.faces, waiting.crops, strict=True)
            )
            yield RestoredFrame(frame=item.frame, faces=faces, is_cut=item.is_cut)
