"""Short clips before and after, their pictures, and what the whole film would take."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidrestore.contracts import BlendedFrame
from vidrestore.jobs.compare import Comparer
from vidrestore.jobs.contact_sheet import SheetGatherer
from vidrestore.jobs.drawing import clock_time, save_png
from vidrestore.jobs.estimating import Estimate, PartCost, cost_of, estimate
from vidrestore.jobs.moments import NUM_PLACES, Look, look_through, telling_moments
from vidrestore.jobs.networks import choose_models, loaded_detector
from vidrestore.jobs.preview_frame import (
    FrameFace,
    FramePreview,
    frame_before_after,
    preview_frame,
)
from vidrestore.jobs.progress import OnProgress, Progress
from vidrestore.jobs.restore import OnHang, num_frames_in, run_job, seconds_of
from vidrestore.media.probe import SourceInfo
from vidrestore.media.read import VideoReader
from vidrestore.media.target import claim_target
from vidrestore.media.trial import TrialEncoder, sound_rate, stored_bytes
from vidrestore.media.write import VideoWriter
from vidrestore.pipeline import Span
from vidrestore.report import RestoreReport
from vidrestore.settings import Compare, FaceChoice, Moment, RestoreSettings, TimeSpan

__all__ = [
    "FrameFace",
    "FramePreview",
    "Preview",
    "PreviewClip",
    "frame_before_after",
    "preview_frame",
    "preview_video",
]

logger = logging.getLogger(__name__)

PREVIEW_SECONDS = Fraction(6)
"""Length of a preview whose end is not given, or of a film without faces."""


@dataclass(frozen=True, slots=True)
class PreviewClip:
    """One clip and its sheet of pictures."""

    path: Path
    sheet: Path
    report: RestoreReport
    why: str | None
    """Why this moment was chosen; None where the user chose."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a preview leaves behind."""

    clips: tuple[PreviewClip, ...]
    """At least one."""
    estimate: Estimate | None
    """What the whole film would take; None where its length is not known."""

    @property
    def path(self) -> Path:
        """The first clip."""
        return self.clips[0].path

    @property
    def sheet(self) -> Path:
        """Its pictures: PNG."""
        return self.clips[0].sheet

    @property
    def report(self) -> RestoreReport:
        """Its report."""
        return self.clips[0].report

    @property
    def seconds_for_film(self) -> float | None:
        """Estimated time for the whole film on this machine."""
        return None if self.estimate is None else self.estimate.seconds

    @property
    def bytes_for_film(self) -> int | None:
        """Estimated size of the whole film."""
        return None if self.estimate is None else self.estimate.num_bytes


@dataclass(frozen=True, slots=True)
class _Part:
    """A clip to be made."""

    path: Path
    span: TimeSpan
    start: Fraction
    stop: Fraction
    """What the span is, in seconds of the film."""
    why: str | None = None

    @property
    def sheet(self) -> Path:
        return self.path.with_suffix(".png")


def preview_video(
    source: str | Path,
    target: str | Path | None = None,
    settings: RestoreSettings | None = None,
    on_progress: OnProgress | None = None,
    on_hang: OnHang | None = None,
    *,
    compare: Compare = Compare.SIDE,
) -> Preview:
    """Restore a range and show it before and after, with sound, and as a sheet of pictures.

    The restored frames are those that a full run would give to its encoder: the frames around the
    range that influence them are decoded and followed too.

    Without a range the film is searched here and there, in bounded time, for up to three telling
    moments: faces large, many, and hard to make out; each becomes a clip. Of a film in which no
    face was seen 6 seconds from the first third are shown.

    Args:
        source: Any film that FFmpeg reads.
        target: None: ``NAME-preview-START.mp4`` beside the source. The sheet has the same name
            and ends in ``.png``. Of chosen moments it is ``NAME-preview-1-large.mp4`` and so on,
            or the target's name with ``-1-large``.
        settings: As for ``restore_video``.
        on_progress: Called after each frame that was written.
        on_hang: As for ``restore_video``.
        compare: How before and after are shown.

    Raises:
        VidrestoreError: As for ``restore_video``.
    """
    source, settings = Path(source), settings or RestoreSettings()
    target = None if target is None else Path(target)
    with VideoReader(source, settings.read) as reader:
        info, num_frames = reader.info, num_frames_in(reader, Span())
        look = _look(reader, settings) if settings.span == TimeSpan() else None
        parts = [] if look is None else _telling_parts(look, info, target)
        if not parts:
            parts = [_part(reader, settings.span, target)]
    for part in parts:
        for path in (part.path, part.sheet):
            claim_target(path, source, overwrite=settings.encode.overwrite)
    clips, costs = [], []
    progress = _Progress(on_progress, parts, info.video.nominal_rate)
    for part in parts:
        logger.info(
            "preview from %s to %s", clock_time(float(part.start)), clock_time(float(part.stop))
        )
        clip, cost = _make(source, part, info, settings, progress.take, on_hang, compare)
        clips.append(clip)
        costs.append(cost)
        progress.next_part()
    faces_per_frame, basis = _density(look, settings)
    return Preview(tuple(clips), estimate(costs, info, num_frames, faces_per_frame, basis))


def default_range(film: SourceInfo, asked: TimeSpan) -> TimeSpan:
    """Complete a range: 6 seconds from its start, up to its end, or from the first third."""
    if asked.start is not None and asked.end is not None:
        return asked
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


def _look(reader: VideoReader, settings: RestoreSettings) -> Look | None:
    """Search the film for faces; None where its length is not known."""
    if not reader.info.duration_seconds:
        return None
    chosen = choose_models(settings.model)
    logger.info("looking for faces at up to %d places of the film", NUM_PLACES)
    with loaded_detector(chosen, settings.model, settings.detect) as (detector, _, _):
        look = look_through(reader, detector, settings.detect)
    seen = sum(bool(place.widths_px) for place in look.places)
    logger.info(
        "faces at %d of %d places%s",
        seen,
        len(look.places),
        "" if seen else ": the preview shows the first third of the film",
    )
    if look.is_cut_short:
        logger.info("seeking is slow here: no more places were looked at")
    return look


def _telling_parts(look: Look, info: SourceInfo, target: Path | None) -> list[_Part]:
    duration = info.duration_seconds
    if duration is None:
        return []
    parts = []
    base = target or info.path.with_name(f"{info.path.stem}-preview.mp4")
    for k, found in enumerate(telling_moments(look, duration)):
        path = base.with_name(f"{base.stem}-{k + 1}-{found.name}{base.suffix}")
        span = TimeSpan(Moment(found.start), Moment(found.stop))
        parts.append(_Part(path, span, found.start, found.stop, found.why))
    return parts


def _part(reader: VideoReader, asked: TimeSpan, target: Path | None) -> _Part:
    span = default_range(reader.info, asked)
    exact = seconds_of(span, reader)
    start = exact.start or Fraction(0)
    duration = reader.info.duration_seconds
    stop = min((k for k in (exact.stop, duration) if k is not None), default=start)
    word = str(span.start).replace("@", "frame-")
    source = reader.info.path
    path = target or source.with_name(f"{source.stem}-preview-{word}.mp4")
    return _Part(path, span, start, stop)


def _make(
    source: Path,
    part: _Part,
    info: SourceInfo,
    settings: RestoreSettings,
    on_progress: OnProgress,
    on_hang: OnHang | None,
    compare: Compare,
) -> tuple[PreviewClip, PartCost]:
    """Make one clip and its sheet."""
    start, stop = float(part.start), float(part.stop)
    comparer, sheet = Comparer(compare, start, stop - start), SheetGatherer(start, stop)
    with TrialEncoder(info, settings.encode, part.path) as trial:

        def encode(frames: Iterator[BlendedFrame], writer: VideoWriter) -> Iterator[BlendedFrame]:
            for item in frames:
                writer.write(comparer.combine(item.original, item.frame))
                sheet.add(item)
                trial.write(item.frame)
                yield item

        result = run_job(
            source,
            part.path,
            dataclasses.replace(settings, span=part.span),
            on_progress,
            encode=encode,
            is_kept=False,
            on_hang=on_hang,
        )
    save_png(part.sheet, sheet.draw(source.name, result.report.tracks))
    stored = stored_bytes(info, part.start, part.stop)
    cost = cost_of(result, trial, stored, sound_rate(part.path))
    return PreviewClip(part.path, part.sheet, result.report, part.why), cost


def _density(look: Look | None, settings: RestoreSettings) -> tuple[float | None, str]:
    """Return the faces that are restored in a picture of the film, and what is known of it."""
    choice = settings.blend.faces
    if look is None or not look.places or isinstance(choice, tuple):
        return None, "if all of it is like this part"
    density = look.faces_per_frame(1 if choice is FaceChoice.LARGEST else None)
    return density, f"{density:.1f} faces in a picture, by a look at {len(look.places)} places"


class _Progress:
    """Makes one progress of those of several clips."""

    def __init__(
        self, on_progress: OnProgress | None, parts: Sequence[_Part], rate: Fraction
    ) -> None:
        self._tell = on_progress
        self._expected = sum(max(1, round((p.stop - p.start) * rate)) for p in parts)
        self._before = self._done = 0

    def take(self, progress: Progress) -> None:
        """Pass on what one clip says, counted from the first frame of the first clip."""
        self._done = self._before + progress.num_frames_done
        if self._tell is not None:
            self._tell(
                dataclasses.replace(
                    progress, num_frames_done=self._done, num_frames_expected=self._expected
                )
            )

    def next_part(self) -> None:
        """Take note that a clip is finished."""
        self._before = self._done
