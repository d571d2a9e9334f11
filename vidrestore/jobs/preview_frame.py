"""One frame before and after, as the full run would give it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from vidrestore.contracts import BlendedFrame, RestoredFace, RGBImage
from vidrestore.errors import OutputError, RangeError
from vidrestore.jobs.contact_sheet import upright_rgb
from vidrestore.jobs.drawing import save_png
from vidrestore.jobs.face_selection import FaceSelection
from vidrestore.jobs.networks import choose_models, loaded_networks
from vidrestore.jobs.restore import seconds_of
from vidrestore.media.read import VideoReader
from vidrestore.media.target import claim_target
from vidrestore.pipeline import Span, restoring
from vidrestore.runtime.timing import StageClock
from vidrestore.settings import Moment, RestoreSettings, TimeSpan

logger = logging.getLogger(__name__)

_BACK_SECONDS = Fraction(2)
"""How far before its end the last frame of a film is looked for."""


@dataclass(frozen=True, slots=True)
class FrameFace:
    """A face in a frame."""

    track_id: int
    face_id: int | None
    """Its number in the faces file."""
    box_xyxy: tuple[float, float, float, float]
    """Smallest box around its five landmarks, in pixels of the upright picture."""
    width_px: float
    """About twice the distance between its eyes."""
    strength: float
    """How much of the restored face is shown, 0..1."""
    held_back: str | None
    """Why it is not shown fully, if it was judged so."""


@dataclass(frozen=True, slots=True)
class FramePreview:
    """What ``preview_frame`` leaves behind."""

    path: Path
    seconds: float
    """Time of the frame, from the start of the film."""
    faces: tuple[FrameFace, ...]


def preview_frame(
    source: str | Path,
    at: Moment,
    target: str | Path | None = None,
    settings: RestoreSettings | None = None,
) -> FramePreview:
    """Restore one frame and write it before and after, side by side, as PNG.

    Args:
        source: Any film that FFmpeg reads.
        at: Which frame: the first one at that time or after it; of the film's last moments the
            last.
        target: A ``.png``; None: ``NAME-frame-AT.png`` beside the source.
        settings: As for ``restore_video``; the span is not heeded.

    Raises:
        VidrestoreError: As for ``restore_video``.
    """
    source, settings = Path(source), settings or RestoreSettings()
    word = str(at).replace("@", "")
    path = source.with_name(f"{source.stem}-frame-{word}.png") if target is None else Path(target)
    if path.suffix.lower() != ".png":
        raise OutputError(f"one frame is written as PNG: call it {path.with_suffix('.png').name}")
    claim_target(path, source, overwrite=settings.encode.overwrite)
    item = _finished_frame(source, at, settings)
    save_png(path, np.hstack(_before_and_after(item)))
    return FramePreview(path, item.frame.seconds, _faces(item))


def frame_before_after(
    source: str | Path, at: Moment, settings: RestoreSettings | None = None
) -> tuple[RGBImage, RGBImage, tuple[FrameFace, ...]]:
    """Restore one frame in memory.

    Args:
        source: Any film that FFmpeg reads.
        at: Which frame; see ``preview_frame``.
        settings: As for ``restore_video``; the span is not heeded.

    Returns:
        The picture before and after, upright and with square pixels, shape (H, W, 3), uint8 RGB,
        both of one size; and the faces in it.

    Raises:
        VidrestoreError: As for ``restore_video``, but nothing is written.
    """
    item = _finished_frame(Path(source), at, settings or RestoreSettings())
    return (*_before_and_after(item), _faces(item))


def _finished_frame(source: Path, at: Moment, settings: RestoreSettings) -> BlendedFrame:
    """Run the pipeline as far as one frame needs it."""
    faces = FaceSelection(source, settings)
    chosen = choose_models(settings.model)
    with VideoReader(source, settings.read) as reader:
        moment = _frame_time(reader, at)
        span = Span(moment, moment + 1 / (2 * reader.info.video.nominal_rate))
        with loaded_networks(chosen, settings) as (networks, facts, choices):
            for choice in (*chosen.choices, *reader.notes, *choices):
                logger.info("%s", choice)
            for doubt in faces.doubts(facts):
                logger.warning("%s", doubt)

            def encode(items: Iterator[BlendedFrame]) -> Iterator[BlendedFrame]:
                return items

            clock = StageClock()
            with restoring(
                reader, networks, encode, span, settings, clock, faces.chooser
            ) as frames:
                item = next(frames, None)
    if item is None:
        raise RangeError(f"{source} has no frame at {at}")
    return item


def _frame_time(reader: VideoReader, at: Moment) -> Fraction:
    """Return when the frame at a moment is shown, exactly."""
    wanted = seconds_of(TimeSpan(start=at), reader).start or Fraction(0)
    with closing(reader.frames(wanted)) as frames:
        found = next(frames, None)
    if found is None:
        with closing(reader.frames(max(Fraction(0), wanted - _BACK_SECONDS))) as frames:
            for found in frames:  # noqa: B007 - the last one is wanted
                pass
    if found is None:
        raise RangeError(f"{reader.info.path} has no frame at {at} or in the 2 s before it")
    return found.pts * found.time_base - reader.info.origin


def _before_and_after(item: BlendedFrame) -> tuple[RGBImage, RGBImage]:
    before, after = upright_rgb(item.original), upright_rgb(item.frame)
    if before.shape != after.shape:  # the background was enlarged
        size = (after.shape[1], after.shape[0])
        before = np.asarray(cv2.resize(before, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return before, after


def _faces(item: BlendedFrame) -> tuple[FrameFace, ...]:
    return tuple(_face(face) for face in item.faces)


def _face(face: RestoredFace) -> FrameFace:
    track = face.aligned.track
    left, top = track.landmarks.min(axis=0).tolist()
    right, bottom = track.landmarks.max(axis=0).tolist()
    width = 2 * float(np.linalg.norm(track.landmarks[1] - track.landmarks[0]))
    return FrameFace(
        track.track_id,
        track.face_id,
        (left, top, right, bottom),
        width,
        face.strength,
        face.held_back,
    )
