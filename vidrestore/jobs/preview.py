"""A short stretch before and after, side by side, and what the whole film would take."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidrestore.contracts import BlendedFrame, Frame, Plane
from vidrestore.jobs.progress import OnProgress
from vidrestore.jobs.restore import JobResult, OnHang, run_job
from vidrestore.media.probe import SourceInfo
from vidrestore.media.read import VideoReader
from vidrestore.media.write import VideoWriter
from vidrestore.report import RestoreReport
from vidrestore.settings import Moment, RestoreSettings, TimeSpan

logger = logging.getLogger(__name__)

PREVIEW_SECONDS = Fraction(6)
"""Length of a preview whose end, or start and end, are not given."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a preview leaves behind."""

    path: Path
    report: RestoreReport
    seconds_for_film: float | None
    """Estimated time for the whole film on this machine; None where its length is not known."""


def preview_video(
    source: str | Path,
    target: str | Path | None = None,
    settings: RestoreSettings | None = None,
    on_progress: OnProgress | None = None,
    on_hang: OnHang | None = None,
) -> Preview:
    """Restore a range and show it beside the original, with sound.

    The frames on the restored side are those that a full run would give to its encoder: the frames
    around the range that influence them are decoded and followed too.

    Args:
        source: Any film that FFmpeg reads.
        target: None: ``NAME-preview-START.mp4`` beside the source.
        settings: As for ``restore_video``. Without a range, 6 seconds from the first third.
        on_progress: Called after each frame that was written.
        on_hang: As for ``restore_video``.

    Raises:
        VidrestoreError: As for ``restore_video``.
    """
    source = Path(source)
    settings = settings or RestoreSettings()
    if settings.span.start is None or settings.span.end is None:
        with VideoReader(source, settings.read) as reader:
            span = default_range(reader.info, settings.span)
        settings = dataclasses.replace(settings, span=span)
    logger.info("preview from %s to %s", settings.span.start, settings.span.end)
    start = str(settings.span.start).replace("@", "frame-")
    path = (
        source.with_name(f"{source.stem}-preview-{start}.mp4") if target is None else Path(target)
    )
    result = run_job(source, path, settings, on_progress, encode=_encode_pairs, is_kept=False)
    return Preview(path, result.report, estimate_seconds(result))


def default_range(film: SourceInfo, asked: TimeSpan) -> TimeSpan:
    """Complete a range: 6 seconds from its start, up to its end, or from the first third."""
    if asked.start is not None:
        if asked.start.frame is not None:
            return TimeSpan(asked.start, Moment(frame=asked.start.frame + _num_frames(film)))
        assert asked.start.seconds is not None
        return TimeSpan(asked.start, Moment(asked.start.seconds + PREVIEW_SECONDS))
    if asked.end is not None and asked.end.seconds is not None:
        return TimeSpan(Moment(max(Fraction(0), asked.end.seconds - PREVIEW_SECONDS)), asked.end)
    if asked.end is not None and asked.end.frame is not None:
        first = max(0, asked.end.frame - _num_frames(film))
        return TimeSpan(Moment(frame=first), asked.end)
    duration = film.duration_seconds
    start = Fraction(0)
    if duration is not None and duration > PREVIEW_SECONDS:
        start = min(duration / 3, duration - PREVIEW_SECONDS)
    return TimeSpan(Moment(start), Moment(start + PREVIEW_SECONDS))


def _num_frames(film: SourceInfo) -> int:
    return round(PREVIEW_SECONDS * film.video.nominal_rate)


def estimate_seconds(result: JobResult) -> float | None:
    """Estimate the time for the whole film from a preview's.

    The preview's wall time is scaled as the work of the stages is: each stage's time for one item,
    times the frames of the film. The frames around the range, which are only decoded and searched,
    are items of those stages and so taken into account; the encoder's time is halved, because a
    preview's pictures are twice as wide.
    """
    if result.num_frames_in_film is None:
        return None
    stages = [t for t in result.times if t.num_items]
    work = sum(t.busy_seconds for t in stages)
    if work <= 0:
        return None
    for_one_frame = sum(
        t.busy_seconds / t.num_items / (2 if t.name == "encode" else 1) for t in stages
    )
    startup = float(result.report.timings["startup_seconds"])
    return startup + result.wall_seconds / work * for_one_frame * result.num_frames_in_film


def _encode_pairs(frames: Iterator[BlendedFrame], writer: VideoWriter) -> Iterator[BlendedFrame]:
    """Write each frame with its original to the left of it, as seen on the screen."""
    for item in frames:
        writer.write(side_by_side(item.original, item.frame))
        yield item


def side_by_side(left: Frame, right: Frame) -> Frame:
    """Put two frames of the same shape side by side in display orientation.

    An odd last column (or row, if the picture is turned) is left out where the chroma planes would
    not meet.
    """
    layout, geometry = left.layout, left.geometry
    a, _, c, _ = geometry.turn
    is_turned = a == 0
    axis = 0 if is_turned else 1
    first, second = (left, right) if (c if is_turned else a) > 0 else (right, left)
    shift = layout.chroma_shift_y if is_turned else layout.chroma_shift_x
    length = (geometry.height if is_turned else geometry.width) >> shift << shift

    def joined(plane: int) -> Plane:
        keep = length if plane == 0 else length >> shift
        part = (slice(keep),) if is_turned else (slice(None), slice(keep))
        return np.concatenate([f.planes[plane][part] for f in (first, second)], axis=axis)

    planes = (joined(0), joined(1), joined(2))
    height, width = planes[0].shape
    return dataclasses.replace(
        right, planes=planes, geometry=dataclasses.replace(geometry, width=width, height=height)
    )
