"""Frame → DetectedFrame: look for faces in every n-th frame and after every cut.

Where a coarse look now and then sees nobody, nothing is searched.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np

from vidrestore.contracts import (
    DetectedFrame,
    FaceDetector,
    FaceEmbedder,
    FaceObservation,
    Frame,
)
from vidrestore.core.cuts import LONGEST_PAUSE_TICKS, Thumbnail, find_cuts, luma_thumbnail
from vidrestore.core.geometry import compose, display_from_frame, display_size, similarity_transform
from vidrestore.core.views import to_display, upright_view, view_size
from vidrestore.core.warping import crop_from_planes
from vidrestore.settings import DetectSettings

_LEAST_SPREAD = 0.12
"""RMS distance of the landmarks from their centre, in heights of the box; about 0.2 on a face,
frontal or profile. Below this they lie in a heap, as they do where the detector is mistaken."""
_LEAST_WATCH_SIDE = 320
"""Pixels of the longer side of the view in which a film is watched, at least."""
_MOST_WATCH_SHARE = 0.75
"""If that is more than this share of the view that is searched, the film is watched in the latter:
what is seen there need not be searched again."""


def detect_faces(
    frames: Iterator[Frame],
    detector: FaceDetector,
    settings: DetectSettings,
    embedder: FaceEmbedder | None = None,
) -> Iterator[DetectedFrame]:
    """Find cuts, and the faces of the frames that are due for a search.

    A frame is due when its tick passes a multiple of ``settings.every``. But the film is *watched*
    first, in a coarse view once in ``settings.watch_every`` ticks and at cuts, and only the
    neighbourhood of what might be a face is searched: where there is nobody, hardly anything is
    done. Which frames are searched depends on nothing further away than ``settings.watch_every``
    ticks, so that the same ones are wherever decoding began. Frames wait for the next look.

    Args:
        frames: As decoded.
        detector: Looks at them; to give out what is half as sure as ``settings.threshold``, too.
        settings: How often, and what is believed.
        embedder: For whom chips of the faces are cut out, if one is installed.

    Yields:
        One item for each frame, in order; observations are in display pixels. A frame that was
        watched, and nothing seen in it nor in its neighbours, counts as searched.
    """
    search = partial(_search, detector=detector, settings=settings, embedder=embedder)
    stretch: list[_Waiting] = []
    was_near = False  # something was seen when the film was last watched, in the same shot
    previous = 0  # the first frame is a cut, and watched as such
    for frame, is_cut in _with_cuts(frames):
        is_watched = is_cut or _passes(previous, frame.tick, settings.watch_every)
        is_due = is_watched or _passes(previous, frame.tick, settings.every)
        previous = frame.tick
        item = _Waiting(frame, is_cut, is_due)
        if is_watched:
            item.watch(detector, settings)
            if stretch:
                yield from search(stretch, was_near, item.is_near and not is_cut)
                was_near = stretch[0].is_near and not is_cut
            stretch = []
        stretch.append(item)
    if stretch:
        yield from search(stretch, was_near, False)


def _passes(previous: int, tick: int, every: int) -> bool:
    """Say whether a multiple of ``every`` lies between two ticks."""
    return previous // every != tick // every


@dataclass(slots=True, eq=False)
class _Waiting:
    """A frame that waits until it is known whether there is somebody about."""

    frame: Frame
    is_cut: bool
    is_due: bool
    is_near: bool = False
    """It was watched, and there may be a face."""
    found: tuple[FaceObservation, ...] | None = None
    """What the detector says of the whole view, in its pixels; None if it was not asked."""

    def watch(self, detector: FaceDetector, settings: DetectSettings) -> None:
        """Look at the frame coarsely."""
        side = _watch_side(self.frame, settings)
        (seen,) = detector.detect([upright_view(self.frame, side)])
        self.is_near = any(o.score >= settings.doubtful for o in seen)
        if side == settings.max_side:
            self.found = seen


def _watch_side(frame: Frame, settings: DetectSettings) -> int:
    """Return the most pixels on a side of what is watched: half the film's if that saves work."""
    side = max(_LEAST_WATCH_SIDE, max(display_size(frame.geometry)) / 2)
    saves_work = side <= _MOST_WATCH_SHARE * max(view_size(frame, settings.max_side))
    return round(side) if saves_work else settings.max_side


def _with_cuts(frames: Iterator[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Say of each frame whether a shot begins; where pictures are missing one does.

    What is before a pause and what is behind it are judged apart, so that no more of the film than
    a few pictures has a say.
    """
    number, previous = 0, 0

    def stretch(frame: Frame) -> int:
        nonlocal number, previous
        number += frame.tick - previous > LONGEST_PAUSE_TICKS
        previous = frame.tick
        return number

    for _, together in groupby(frames, stretch):
        yield from _cuts_in(together)


def _cuts_in(frames: Iterator[Frame]) -> Iterator[tuple[Frame, bool]]:
    held: deque[Frame] = deque()

    def thumbnails() -> Iterator[Thumbnail]:
        for frame in frames:
            held.append(frame)
            yield luma_thumbnail(frame)

    for is_cut in find_cuts(thumbnails()):
        yield held.popleft(), is_cut


def _search(
    stretch: Sequence[_Waiting],
    was_near: bool,
    will_be_near: bool,
    *,
    detector: FaceDetector,
    settings: DetectSettings,
    embedder: FaceEmbedder | None,
) -> Iterator[DetectedFrame]:
    """Search the frames from one that was watched to the next, if it or a neighbour saw something.

    Args:
        stretch: The frames, the first of them watched.
        was_near: The frame that was watched before saw something.
        will_be_near: So does the frame that follows the stretch.
        detector: See ``detect_faces``.
        settings: Likewise.
        embedder: Likewise.
    """
    is_near = stretch[0].is_near or will_be_near
    due = [item for item in stretch[1:] if item.is_due and is_near]
    if (is_near or was_near) and stretch[0].found is None:
        due.insert(0, stretch[0])
    # one batch holds pictures of one size
    for _, group in groupby(due, lambda item: view_size(item.frame, settings.max_side)):
        alike = list(group)
        for first in range(0, len(alike), detector.batch_size):
            batch = alike[first : first + detector.batch_size]
            views = [upright_view(item.frame, settings.max_side) for item in batch]
            for item, found in zip(batch, detector.detect(views), strict=True):
                item.found = found
    for item in stretch:
        frame = item.frame
        observations = [to_display(o, frame, settings.max_side) for o in item.found or ()]
        believed = [o for o in observations if is_believed(o, settings)]
        if embedder is not None:
            believed = [_with_chip(o, frame, embedder) for o in believed]
        yield DetectedFrame(
            frame=frame,
            was_searched=item.found is not None or item is stretch[0],
            observations=tuple(believed),
            is_cut=item.is_cut,
        )


def _with_chip(
    observation: FaceObservation, frame: Frame, embedder: FaceEmbedder
) -> FaceObservation:
    chip_from_display = similarity_transform(observation.landmarks, embedder.template)
    if chip_from_display is None:
        return observation
    chip_from_frame = compose(chip_from_display, display_from_frame(frame.geometry))
    chip = crop_from_planes(frame, chip_from_frame, embedder.size)
    return dataclasses.replace(observation, chip=chip)


def is_believed(observation: FaceObservation, settings: DetectSettings) -> bool:
    """Say whether a detection in display pixels is sure, large and shaped enough for a face."""
    left, top, right, bottom = observation.box_xyxy
    spread = float(np.sqrt(observation.landmarks.var(axis=0).sum()))
    return bool(
        observation.score >= settings.threshold
        and right - left >= settings.min_face_px
        and spread >= _LEAST_SPREAD * (bottom - top)
    )
