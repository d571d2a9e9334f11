"""Which parts of a film a preview shows: what was asked for, or moments that were found."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidrestore.jobs.moments import Look, telling_moments
from vidrestore.jobs.restore import seconds_of
from vidrestore.media.probe import SourceInfo
from vidrestore.media.read import VideoReader
from vidrestore.settings import Moment, TimeSpan

PREVIEW_SECONDS = Fraction(6)
"""Length of a preview whose end is not given, or of a film without faces."""


@dataclass(frozen=True, slots=True)
class Part:
    """A clip to be made."""

    path: Path
    span: TimeSpan
    start: Fraction
    stop: Fraction
    """What the span is, in seconds of the film."""
    why: str | None = None

    @property
    def sheet(self) -> Path:
        """Where its pictures go."""
        return self.path.with_suffix(".png")


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


def telling_parts(look: Look, info: SourceInfo, target: Path | None) -> list[Part]:
    """Make clips of the moments that tell most: none where no face was seen."""
    duration = info.duration_seconds
    if duration is None:
        return []
    parts = []
    base = target or info.path.with_name(f"{info.path.stem}-preview.mp4")
    for k, found in enumerate(telling_moments(look, duration)):
        path = base.with_name(f"{base.stem}-{k + 1}-{found.name}{base.suffix}")
        span = TimeSpan(Moment(found.start), Moment(found.stop))
        parts.append(Part(path, span, found.start, found.stop, found.why))
    return parts


def asked_part(reader: VideoReader, asked: TimeSpan, target: Path | None) -> Part:
    """Make one clip of the range that was asked for; see `default_range`."""
    span = default_range(reader.info, asked)
    exact = seconds_of(span, reader)
    start = exact.start or Fraction(0)
    duration = reader.info.duration_seconds
    stop = min((k for k in (exact.stop, duration) if k is not None), default=start)
    word = str(span.start).replace("@", "frame-")
    source = reader.info.path
    path = target or source.with_name(f"{source.stem}-preview-{word}.mp4")
    return Part(path, span, start, stop)
