"""One film in, one film out."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from vidrestore.contracts import BlendedFrame, PictureModel
from vidrestore.errors import MediaOpenError, RangeError
from vidrestore.jobs.face_selection import FaceSelection
from vidrestore.jobs.networks import choose_models, loaded_networks
from vidrestore.jobs.progress import OnProgress, Progress
from vidrestore.jobs.resuming import describe_job, keeping, state_of, take_up
from vidrestore.jobs.space import check_space
from vidrestore.media.decoding import Damage
from vidrestore.media.plan import resized
from vidrestore.media.read import VideoReader
from vidrestore.media.write import VideoWriter
from vidrestore.pipeline import Span, restoring
from vidrestore.report import (
    SCHEMA_VERSION,
    FrameRecorder,
    RestoreReport,
    RunHistory,
    describe_machine,
    describe_times,
    describe_versions,
)
from vidrestore.runtime.timing import StageClock, StageTimes, peak_memory_bytes
from vidrestore.runtime.watchdog import watching
from vidrestore.settings import Moment, RestoreSettings, TimeSpan
from vidrestore.stages.encode import encode_frames

logger = logging.getLogger(__name__)

Encode = Callable[[Iterator[BlendedFrame], VideoWriter], Iterator[BlendedFrame]]
OnHang = Callable[[str], None]


def restore_video(
    source: str | Path,
    target: str | Path,
    settings: RestoreSettings | None = None,
    on_progress: OnProgress | None = None,
    on_hang: OnHang | None = None,
) -> RestoreReport:
    """Restore the faces of a film and write the film anew, its sound and the rest copied.

    The source is opened read-only. The target appears under its name when it is complete, or not
    at all. A run that is cut short, in whatever way, leaves a folder ``TARGET.unfinished`` beside
    it once the first segment of the film (10 to 20 s) is finished; the same call goes on from
    there, and the result is the same. What is decided automatically is logged
    (``logging.getLogger("vidrestore")``, level INFO) before the work starts, and written in the
    report.

    Args:
        source: Any film that FFmpeg reads.
        target: ``.mp4``, ``.m4v``, ``.mov`` or ``.mkv``.
        settings: None takes the defaults.
        on_progress: Called after each frame that was written.
        on_hang: Called with a sentence, from another thread, when nothing has moved for
            ``settings.patience_seconds``: a codec hangs, which only the end of the process ends.
            None logs it.

    Returns:
        What was found and done.

    Raises:
        MediaError: The source cannot be read, or the range holds no frame.
        WeightsError: A model is not installed, or its file is not what it should be.
        DeviceError: The device asked for cannot be had.
        OutputError: The target cannot be written.
        SettingsError: Options contradict each other.
    """
    return run_job(
        Path(source), Path(target), settings or RestoreSettings(), on_progress, on_hang=on_hang
    ).report


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a run leaves behind."""

    report: RestoreReport
    times: tuple[StageTimes, ...]
    wall_seconds: float
    num_frames_in_film: int | None
    """An estimate for the whole film; None where the file does not tell."""


def run_job(
    source: Path,
    target: Path,
    settings: RestoreSettings,
    on_progress: OnProgress | None,
    *,
    encode: Encode = encode_frames,
    is_kept: bool = True,
    on_hang: OnHang | None = None,
) -> JobResult:
    """Do what ``restore_video`` says, with any last stage.

    Args:
        source: The film.
        target: Where the result goes.
        settings: Everything a user can choose.
        on_progress: Called after each frame that was written.
        encode: Called with the finished frames and the writer.
        is_kept: What is finished outlives a run that is cut short, for the next to go on with.
        on_hang: Called when nothing moves any more.
    """
    begun = time.perf_counter()
    faces = FaceSelection(source, settings)
    chosen = choose_models(settings.model)
    with VideoReader(source, settings.read) as reader:
        span = seconds_of(settings.span, reader)
        clock = StageClock()
        film = resized(reader.info, settings.background)
        with (
            VideoWriter(
                target,
                film,
                settings.encode,
                start_seconds=span.start,
                end_seconds=span.stop,
            ) as writer,
            keeping(writer, target),
        ):
            num_notes = len(writer.notes)
            room, tight = check_space(
                target,
                reader.info,
                settings.encode,
                _length(span, reader),
                float(settings.background.upscale**2),
            )
            choices = [
                *chosen.choices,
                *reader.notes,
                *settings.background.choices(film.video.width, film.video.height),
                *filter(None, [room]),
            ]
            planned = [*writer.notes, *filter(None, [tight])]
            with loaded_networks(chosen, settings) as (networks, facts, network_choices):
                choices += network_choices
                planned += faces.doubts(facts)
                _tell(choices, planned)
                started = time.perf_counter()
                job = describe_job(source, settings, facts, faces.digest) if is_kept else None
                earlier = take_up(writer, job, span, resume=settings.resume)
                reader.is_damaged = earlier.damage.is_visible
                recorder = FrameRecorder(
                    settings.record_landmarks,
                    earlier.frames,
                    RunHistory(settings.blend.strength) if settings.record_history else None,
                )
                seen = _Seen(reader, earlier.damage)
                writer.state = partial(state_of, recorder, seen.damage, seen.places)

                def write(items: Iterator[BlendedFrame]) -> Iterator[BlendedFrame]:
                    return encode(items, writer)

                with _guarded(
                    reader, writer, networks.background, settings.patience_seconds, on_hang
                ):
                    if earlier.rest is not None:
                        with restoring(
                            reader, networks, write, earlier.rest, settings, clock, faces.chooser
                        ) as frames:
                            num_expected = num_frames_in(reader, span)
                            _pull(frames, recorder, seen, num_expected, on_progress)
                    _require_frames(recorder, reader, settings.span)
                    with clock.busy("encode"):
                        writer.close()
                device_notes = networks.notes()
        wall_seconds = time.perf_counter() - started
        damage = seen.damage(to_the_end=span.stop is None)
        late = [*writer.notes[num_notes:], *device_notes, *damage.sentences(), *faces.notes()]
        _tell([], late)
        timings = describe_times(
            clock.times(),
            wall_seconds,
            started - begun,
            recorder.num_frames - earlier.num_frames,
        )
        report = RestoreReport(
            schema_version=SCHEMA_VERSION,
            versions=describe_versions(),
            machine=describe_machine(),
            input=dataclasses.asdict(reader.info),
            output=_describe_output(target, writer, span),
            settings=dataclasses.asdict(settings),
            models=facts,
            frames=recorder.counts() | dataclasses.asdict(damage) | {"kept": earlier.num_frames},
            cuts=recorder.cuts,
            tracks=recorder.tracks(),
            timings={**timings, "peak_memory_bytes": peak_memory_bytes()},
            choices=choices,
            warnings=[*planned, *late],
            damage=recorder.damage,
            history=None if recorder.history is None else recorder.history.to_plain(),
        )
        return JobResult(report, clock.times(), wall_seconds, num_frames_in(reader, Span()))


class _Seen:
    """Which frames this run has written, and what was wrong with the film up to them."""

    def __init__(self, reader: VideoReader, earlier: Damage) -> None:
        """Begin with what was wrong with the frames of an earlier run."""
        self._reader, self._earlier = reader, earlier
        self._first: int | None = None
        self._last: int | None = None
        self._told: int | None = None

    def add(self, pts: int) -> None:
        """Take note of the next frame."""
        self._first, self._last = pts if self._first is None else self._first, pts

    def damage(self, *, to_the_end: bool = False) -> Damage:
        """Count what was wrong, up to the latest frame or with all that was read behind it."""
        if self._first is None:
            return self._earlier
        last = None if to_the_end else self._last
        return self._earlier.plus(self._reader.damage_between(self._first, last))

    def places(self) -> list[tuple[float, str]]:
        """Return where something was wrong, up to the latest frame and since the last call."""
        if self._first is None or self._last is None:
            return []
        after = self._first - 1 if self._told is None else self._told
        self._told = self._last
        return list(self._reader.damaged_places(after, self._last))


@contextmanager
def _guarded(
    reader: VideoReader,
    writer: VideoWriter,
    background: PictureModel | None,
    seconds: float,
    on_hang: OnHang | None,
) -> Iterator[None]:
    """Raise the alarm when no picture is decoded, enhanced in part, or written for too long."""

    def progress() -> object:
        if writer.num_joined and writer.num_joined == writer.num_frames:
            return object()  # the system writes a large file, which takes as long as it takes
        num_parts = 0 if background is None else background.num_parts
        return reader.damage.num_pictures, num_parts, writer.num_frames, writer.num_joined

    def alarm() -> None:
        text = f"nothing has moved for {seconds:.0f} s: a codec, or the disk, hangs"
        if writer.kept_folder is not None:
            text += f"; what is finished is kept in {writer.kept_folder}"
        if on_hang is None:
            logger.error("%s", text)
        else:
            on_hang(text)

    with watching(progress, seconds, alarm):
        yield


def _tell(choices: Sequence[str], warnings: Sequence[str]) -> None:
    for choice in choices:
        logger.info("%s", choice)
    for warning in warnings:
        logger.warning("%s", warning)


def _pull(
    frames: Iterator[BlendedFrame],
    recorder: FrameRecorder,
    seen: _Seen,
    num_frames_expected: int | None,
    on_progress: OnProgress | None,
) -> None:
    """Run the pipeline to its end."""
    num_kept = recorder.num_frames
    for item in frames:
        recorder.add(item)
        seen.add(item.frame.pts)
        if on_progress is not None:
            seconds, done = item.frame.seconds, recorder.num_frames
            on_progress(Progress(done, num_frames_expected, seconds, num_kept))


def seconds_of(span: TimeSpan, reader: VideoReader) -> Span:
    """Turn the moments of a range into seconds from the start of the film.

    Raises:
        RangeError: The range begins beyond the end of the film.
    """
    start = None if span.start is None else _seconds(span.start, reader)
    stop = None if span.end is None else _seconds_or_end(span.end, reader)
    duration = reader.info.duration_seconds
    if start is not None and duration is not None and start >= duration:
        length = f"{float(duration):.2f} s"
        raise RangeError(f"the range starts at {span.start}, but {reader.info.path} is {length}")
    if start is not None and stop is not None and start >= stop:
        raise RangeError(f"the range starts at {span.start} but ends at {span.end}")
    return Span(start, stop)


def _length(span: Span, reader: VideoReader) -> Fraction | None:
    """Return the length of a range; None if it is the whole film, or nobody knows."""
    stop = span.stop or reader.info.duration_seconds
    return None if span == Span() or stop is None else stop - (span.start or 0)


def num_frames_in(reader: VideoReader, span: Span) -> int | None:
    """Estimate how many frames a part of the film has; None where the file does not tell."""
    duration = reader.info.duration_seconds
    if duration is None:
        return None
    start = span.start or Fraction(0)
    stop = duration if span.stop is None else min(span.stop, duration)
    if span == Span() and reader.info.video.num_frames_estimate:
        return reader.info.video.num_frames_estimate
    return max(0, round((stop - start) * reader.info.video.nominal_rate))


def _seconds(moment: Moment, reader: VideoReader) -> Fraction:
    if moment.frame is not None:
        return reader.time_of_frame(moment.frame)
    assert moment.seconds is not None
    return moment.seconds


def _seconds_or_end(moment: Moment, reader: VideoReader) -> Fraction | None:
    try:
        return _seconds(moment, reader)
    except RangeError:
        return None  # a range may end beyond the film


def _require_frames(recorder: FrameRecorder, reader: VideoReader, span: TimeSpan) -> None:
    if recorder.num_frames:
        return
    if span == TimeSpan():
        raise MediaOpenError(f"{reader.info.path}: no frame could be decoded")
    raise RangeError(f"{reader.info.path} has no frame between {span.start or 0} and {span.end}")


def _describe_output(target: Path, writer: VideoWriter, span: Span) -> dict[str, Any]:
    return {
        "path": target,
        "num_bytes": target.stat().st_size,
        "num_frames": writer.num_frames,
        "streams": writer.streams,
        "start_seconds": span.start,
        "stop_seconds": span.stop,
    }
