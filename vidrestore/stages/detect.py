"""Frame → DetectedFrame: look for faces in every n-th frame and after every cut."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator
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
from vidrestore.core.geometry import compose, display_from_frame, similarity_transform
from vidrestore.core.views import to_display, upright_view, view_size
from vidrestore.core.warping import crop_from_planes
from vidrestore.settings import DetectSettings

_LEAST_SPREAD = 0.12
"""RMS distance of the landmarks from their centre, in heights of the box; about 0.2 on a face,
frontal or profile. Below this they lie in a heap, as they do where the detector is mistaken."""


def detect_faces(
    frames: Iterator[Frame],
    detector: FaceDetector,
    settings: DetectSettings,
    embedder: FaceEmbedder | None = None,
) -> Iterator[DetectedFrame]:
    """Find cuts, and the faces of the frames that are due for a search.

    A frame is due when its tick passes a multiple of ``settings.every``, so that the same frames
    are searched wherever decoding began. Frames wait until ``detector.batch_size`` of them are
    due and go through the network together.

    Args:
        frames: As decoded.
        detector: Looks at them.
        settings: How often, and what is believed.
        embedder: For whom chips of the faces are cut out, if one is installed.

    Yields:
        One item for each frame, in order; observations are in display pixels.
    """
    waiting: deque[tuple[Frame, bool, bool]] = deque()
    due: list[Frame] = []
    previous = 0  # the first frame is a cut, and due as such
    for frame, is_cut in _with_cuts(frames):
        is_due = is_cut or previous // settings.every != frame.tick // settings.every
        previous = frame.tick
        if (
            due
            and is_due
            and view_size(due[0], settings.max_side) != view_size(frame, settings.max_side)
        ):
            # one batch holds pictures of one size
            yield from _search(waiting, due, detector, settings, embedder)
        waiting.append((frame, is_due, is_cut))
        if is_due:
            due.append(frame)
        if not due or len(due) >= detector.batch_size:
            yield from _search(waiting, due, detector, settings, embedder)
    yield from _search(waiting, due, detector, settings, embedder)


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
    waiting: deque[tuple[Frame, bool, bool]],
    due: list[Frame],
    detector: FaceDetector,
    settings: DetectSettings,
    embedder: FaceEmbedder | None,
) -> Iterator[DetectedFrame]:
    found: Iterator[tuple[FaceObservation, ...]] = iter(())
    if due:
        found = iter(detector.detect([upright_view(f, settings.max_side) for f in due]))
        due.clear()
    while waiting:
        frame, was_searched, is_cut = waiting.popleft()
        seen = next(found) if was_searched else ()
        observations = [to_display(o, frame, settings.max_side) for o in seen]
        believed = [o for o in observations if is_believed(o, settings)]
        if embedder is not None:
            believed = [_with_chip(o, frame, embedder) for o in believed]
        yield DetectedFrame(
            frame=frame,
            was_searched=was_searched,
            observations=tuple(believed),
            is_cut=is_cut,
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
