"""One film in, one film out."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidrestore.contracts import BlendedFrame
from vidrestore.errors import MediaOpenError, RangeError
from vidrestore.jobs.networks import choose_models, loaded_networks
from vidrestore.jobs.progress import OnProgress, Progress
from vidrestore.media.read import Damage, VideoReader
from vidrestore.media.write import VideoWriter
from vidrestore.pipeline import Span, restoring
from vidrestore.report import (
    SCHEMA_VERSION,
    FrameRecorder,
    RestoreReport,
    describe_machine,
    describe_times,
    describe_versions,
)
from vidrestore.runtime.timing import StageClock, StageTimes, peak_memory_bytes
from vidrestore.settings import Moment, RestoreSettings, TimeSpan
from vidrestore.stages.encode import encode_frames

logger = logging.getLogger(__name__)

Encode = Callable[[Iterator[BlendedFrame], VideoWriter], Iterator[BlendedFrame]]


def restore_video(
    source: str | Path,
    target: str | Path,
    settings: RestoreSettings | None = None,
    on_progress: OnProgress | None = None,
) -> RestoreReport:
    """Restore the faces of a film and write the film anew, its sound and the rest copied.

    The source is opened read-only. The target appears under its name when it is complete, or not
    at all. What is decided automatically is logged (``logging.getLogger("vidrestore")``, level
    INFO) before the work starts, and written in the report.

    Args:
        source: Any film that FFmpeg reads.
        target: ``.mp4``, ``.m4v``, ``.mov`` or ``.mkv``.
        settings: None takes the defaults.
        on_progress: Called after each frame that was written.

    Returns:
        What was found and done.

    Raises:
        MediaError: The source cannot be read, or the range holds no frame.
        WeightsError: A model is not installed, or its file is not what it should be.
        DeviceError: The device asked for cannot be had.
        OutputError: The target cannot be written.
        SettingsError: Options contradict each other.
    """
    return run_job(Path(source), Path(target), settings or RestoreSettings(), on_progress).report


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
    encode: Encode = encode_frames,
) -> JobResult:
    """Do what ``restore_video`` says, with any last stage.

    Args:
        source: The film.
        target: Where the result goes.
        settings: Everything a user can choose.
        on_progress: Called after each frame that was written.
        encode: Called with the finished frames and the writer.
    """
    begun = time.perf_counter()
    chosen = choose_models(settings.model)
    with VideoReader(source) as reader:
        span = seconds_of(settings.span, reader)
        recorder = FrameRecorder(settings.record_landmarks)
        clock = StageClock()
        with VideoWriter(
            target,
            reader.info,
            settings.encode,
            start_seconds=span.start,
            end_seconds=span.stop,
        ) as writer:
            with loaded_networks(chosen, settings) as (networks, facts, network_choices):
                choices = [*chosen.choices, *network_choices]
                planned = list(writer.notes)
                _tell(choices, planned)
                started = time.perf_counter()

                def write(items: Iterator[BlendedFrame]) -> Iterator[BlendedFrame]:
                    return encode(items, writer)

                with restoring(reader, networks, write, span, settings, clock) as frames:
                    _pull(frames, recorder, num_frames_in(reader, span), on_progress)
                device_notes = list(networks.restorer.notes)
            _require_frames(recorder, reader, settings.span)
            with clock.busy("encode"):
                writer.close()
        wall_seconds = time.perf_counter() - started
        late = [*writer.notes[len(planned) :], *device_notes, *_describe_damage(reader.damage)]
        _tell([], late)
        timings = describe_times(clock.times(), wall_seconds, started - begun, recorder.num_frames)
        report = RestoreReport(
            schema_version=SCHEMA_VERSION,
            versions=describe_versions(),
            machine=describe_machine(),
            input=dataclasses.asdict(reader.info),
            output=_describe_output(target, writer, span),
            settings=dataclasses.asdict(settings),
            models=facts,
            frames=recorder.counts() | dataclasses.asdict(reader.damage),
            cuts=recorder.cuts,
            tracks=recorder.tracks(),
            timings={**timings, "peak_memory_bytes": peak_memory_bytes()},
            choices=choices,
            warnings=[*planned, *late],
        )
        return JobResult(report, clock.times(), wall_seconds, num_frames_in(reader, Span()))


def _tell(choices: Sequence[str], warnings: Sequence[str]) -> None:
    for choice in choices:
        logger.info("%s", choice)
    for warning in warnings:
        logger.warning("%s", warning)


def _pull(
    frames: Iterator[BlendedFrame],
    recorder: FrameRecorder,
    num_frames_expected: int | None,
    on_progress: OnProgress | None,
) -> None:
    """Run the pipeline to its end."""
    for item in frames:
        recorder.add(item)
        if on_progress is not None:
            on_progress(Progress(recorder.num_frames, num_frames_expected, item.frame.seconds))


def _describe_damage(damage: Damage) -> list[str]:
    found = []
    if damage.bad_packets:
        found.append(f"{damage.bad_packets} damaged packets could not be decoded; left out")
    if damage.corrupt_frames:
        found.append(f"{damage.corrupt_frames} frames are damaged; kept as the decoder gave them")
    if damage.clock_restarts:
        found.append(
            f"the film's clock starts anew {damage.clock_restarts} times; time goes on there"
        )
    if damage.is_truncated:
        found.append("the film ends earlier than its file says: it is cut off")
    return found


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
