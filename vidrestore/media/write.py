"""Frames become a new film: in segments at first, joined and given its name when it is complete.

Times, colours, shape and rotation are the source's; what cannot be kept is said in the notes,
before the work begins.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from vidrestore.contracts import Frame
from vidrestore.errors import OutputError
from vidrestore.media.clock import Window
from vidrestore.media.containers import Container, container_for
from vidrestore.media.encoders import add_video_stream, choose_encoder, fine_time_base
from vidrestore.media.fitting import PictureFitter
from vidrestore.media.join import FilmPlan, join_segments, rehearse
from vidrestore.media.opening import explain
from vidrestore.media.plan import plan_pictures, plan_tracks
from vidrestore.media.probe import SourceInfo
from vidrestore.media.segments import (
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    Segment,
    SegmentEncoder,
    Shape,
    digest_and_sync,
    reorder_depth,
)
from vidrestore.media.stream_report import describe_pictures, describe_tracks
from vidrestore.media.target import claim_target
from vidrestore.media.work_folder import (
    Plain,
    WorkFolder,
    scratch_path,
    sync_folder,
    work_path,
)
from vidrestore.settings import EncodeSettings

_REHEARSAL = "rehearsal.part"


class _Leaves(Enum):
    """What a writer that is let go of leaves in its work folder."""

    NOTHING = auto()
    ALL_AS_IT_WAS = auto()
    """It holds another job."""
    WHAT_IS_FINISHED = auto()


@dataclass(frozen=True, slots=True)
class Kept:
    """What an earlier run of the same job left."""

    num_frames: int
    next_seconds: Fraction | None
    """Time of the first frame that is missing, in seconds of the film; None if none is."""
    states: tuple[Plain, ...]
    """What ``VideoWriter.state`` returned at the end of each segment."""


class VideoWriter:
    """Writes one film.

    Example:
        with VideoWriter(path, reader.info, EncodeSettings()) as writer:
            for frame in reader.frames():
                writer.write(frame)
    """

    def __init__(
        self,
        path: Path,
        source: SourceInfo,
        settings: EncodeSettings,
        *,
        start_seconds: Fraction | None = None,
        end_seconds: Fraction | None = None,
    ) -> None:
        """Check everything that can be checked before the work begins; nothing is created.

        Args:
            path: The film to be; its extension chooses the container.
            source: The film whose frames will come; its sound and the rest are copied from it.
            settings: Codec, quality, and whether an existing file may be replaced.
            start_seconds: Start of a range in seconds of the film; it becomes time 0.
            end_seconds: Its end.

        Raises:
            OutputError: The folder is missing or cannot be written to, the output exists or is the
                source itself, the extension is unknown, or the encoder refuses its options.
        """
        self._path, self._source, self._settings = Path(path), source, settings
        self._container: Container = container_for(self._path)
        claim_target(self._path, source.path, overwrite=settings.overwrite)
        self._encoder = choose_encoder(settings, self._container)
        self._tracks = plan_tracks(source, self._container, settings)
        start = start_seconds or Fraction(0)
        self._window = Window(
            shift=source.origin + start,
            has_start=start > 0,
            length=None if end_seconds is None else end_seconds - start,
            hides_start=self._container.is_quicktime,
        )
        self._tick = fine_time_base(source.video.time_base)
        self._fitter: PictureFitter | None = None
        self._folder: WorkFolder | None = None
        self._leaves = _Leaves.NOTHING
        self._segments: list[Segment] = []
        self._open: SegmentEncoder | None = None
        self._shape: Shape | None = None
        self._segment_begin = self._num_in_segment = self._num_notes = 0
        self._last_pts: int | None = None
        self._is_finished = False
        self.is_complete = False
        """The film is there, under its name."""
        self.state: Callable[[], Plain] = dict
        """Called whenever a segment is finished, for what was learnt since the one before; it is
        kept with it."""
        self.notes: list[str] = [
            *plan_pictures(source.video, self._encoder, self._container),
            *(track.note for track in self._tracks if track.note),
        ]
        """Automatic choices and warnings, one sentence each; later ones are appended."""
        self.num_frames = 0
        """Frames written so far, those of an earlier run included."""
        self.num_joined = 0
        """Frames in the joined film so far: how far ``close`` is."""
        self.streams: list[dict[str, Any]] = self._describe_streams({})
        """What becomes of each stream of the source, for the report."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    @property
    def kept_folder(self) -> Path | None:
        """Where finished segments lie for a later run to go on with; None if nowhere."""
        return work_path(self._path) if self.is_resumable and self._segments else None

    @property
    def is_resumable(self) -> bool:
        """What is finished outlives a run that is cut short."""
        return self._leaves is _Leaves.WHAT_IS_FINISHED

    @property
    def num_frames_kept(self) -> int:
        """How many frames lie in finished segments."""
        return sum(segment.num_frames for segment in self._segments)

    def take_up(self, job: Mapping[str, Any], *, resume: bool) -> Kept | None:
        """Make the output one that a later run can go on with, and go on if there is something.

        To be called before the first frame, or not at all.

        Args:
            job: Everything that decides how the pictures come out, as plain nested data.
            resume: False starts over.

        Returns:
            What is there already; the frames from ``next_seconds`` on are to be written then.

        Raises:
            SettingsError: An unfinished run to this output began otherwise.
            OutputError: The folder cannot be written, or another run is at work in it.
        """
        with self._writing():
            folder = self._folder = WorkFolder(work_path(self._path), self._path)
            self._leaves = _Leaves.ALL_AS_IT_WAS
            found = folder.take_up(job) if resume else []
            self._leaves = _Leaves.WHAT_IS_FINISHED
            self._segments = [segment for segment, _ in found]
            lost = folder.num_manifests() - len(found)
            if resume and lost:
                self.notes.append(f"damage in the work folder: {lost} segments are made again")
            if not found:
                folder.start_over(job)
                return None
            folder.keep_first(len(found))
            self._shape = found[0][0].shape
            rehearse(self._film_plan(self._shape), self._segments, folder.path / _REHEARSAL)
        last = self._segments[-1]
        self._last_pts, self.num_frames = last.last, self.num_frames_kept
        self.notes += [note for segment in self._segments for note in segment.notes]
        return Kept(self.num_frames, last.next_seconds, tuple(state for _, state in found))

    def write(self, frame: Frame) -> None:
        """Write the next frame.

        Size, shape and format of the first frame decide the film's; later frames that differ are
        converted.

        Raises:
            OutputError: The disk is full, or FFmpeg cannot go on.
            MediaError: The source has gone meanwhile.
        """
        if self._is_finished:
            raise ValueError(f"{self._path} is closed")
        time = frame.pts * frame.time_base - self._window.shift
        pts = round(time / self._tick)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)
        with self._writing():
            if self._open is not None and self._is_boundary(frame, pts):
                self._finish_segment(frame.pts * frame.time_base - self._source.origin)
            if self._open is None:
                self._begin_segment(frame, pts)
            assert self._open is not None
            assert self._fitter is not None
            picture = self._fitter.fit(frame, self._open.video.codec_context)
            length = frame.duration * frame.time_base or 1 / self._source.video.nominal_rate
            picture.pts, picture.time_base = pts, self._tick
            picture.duration = round(length / self._tick)
            self._open.encode(picture)
        self._last_pts = pts
        self._num_in_segment += 1
        self.num_frames += 1

    def close(self) -> None:
        """Complete the film and give it its name; nothing happens the second time.

        Raises:
            OutputError: No frame was written, or the film could not be completed. There is no
                output then.
            MediaError: The source's other tracks cannot be read.
        """
        if self._is_finished:
            return
        try:
            with self._writing():
                if self._open is not None:
                    self._finish_segment(None)
                if self._folder is None or not self._segments:
                    raise OutputError(f"nothing to write: not one frame came for {self._path}")
                self._join(self._folder)
        finally:
            self._abandon()

    def _join(self, folder: WorkFolder) -> None:
        draft = folder.path / f"joined{self._container.suffix}.part"
        try:
            joined = join_segments(
                folder.path,
                self._segments,
                self._film_plan(self._segments[0].shape),
                draft,
                self._count_joined,
            )
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            if self._path.exists() and not self._settings.overwrite:
                raise OutputError(f"{self._path} has appeared meanwhile: move it elsewhere")
            draft.replace(self._path)
            self._leaves, self.is_complete = _Leaves.NOTHING, True
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        sync_folder(self._path.parent)
        self.notes += joined.notes
        self.streams = self._describe_streams(joined.numbers)

    def _count_joined(self) -> None:
        self.num_joined += 1

    def _abandon(self) -> None:
        """Let go of everything; what cannot be gone on with disappears."""
        self._is_finished = True
        if self._open is not None:
            with suppress(av.FFmpegError):  # a full disk fails once more
                self._open.abandon()
            self._open = None
        folder, self._folder = self._folder, None
        if folder is None:
            return
        if self._leaves is _Leaves.ALL_AS_IT_WAS:
            folder.release()
        elif self.kept_folder is not None:
            with suppress(OSError):  # the drive may be gone
                folder.keep_first(len(self._segments))
            folder.release()
        else:
            folder.remove()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn errors of FFmpeg and of the disk into an OutputError."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            if error.errno == errno.ENOSPC:
                raise OutputError(
                    f"the disk is full: {self._path} was not written; free some space first"
                ) from error
            reason = explain(error) if isinstance(error, av.FFmpegError) else error.strerror
            raise OutputError(f"writing {self._path} failed: {reason}") from error

    def _is_boundary(self, frame: Frame, pts: int) -> bool:
        """Tell whether a frame begins a segment, by what stands in the film alone."""
        seconds = (pts - self._segment_begin) * self._tick
        return seconds >= (SHORTEST_SECONDS if frame.is_key else LONGEST_SECONDS)

    def _begin_segment(self, frame: Frame, pts: int) -> None:
        if self._folder is None:
            self._folder = WorkFolder(scratch_path(self._path), self._path)
            self._folder.start_over({})
        if self._shape is None:
            self._shape = Shape.of(frame)
            rehearse(self._film_plan(self._shape), [], self._folder.path / _REHEARSAL)
        if self._fitter is None:
            self._fitter = PictureFitter(self._shape, self.notes)
        plan = self._film_plan(self._shape)
        self._open = SegmentEncoder(self._draft(), plan.add_video)
        self._segment_begin, self._num_in_segment = pts, 0
        self._num_notes = len(self.notes)

    def _draft(self) -> Path:
        assert self._folder is not None
        return self._folder.path / f"{len(self._segments):05}.nut.part"

    def _finish_segment(self, next_seconds: Fraction | None) -> None:
        assert self._open is not None
        assert self._folder is not None
        assert self._shape is not None
        encoder = self._open
        begin, coded, last_duration, header = encoder.finish()
        self._open = None
        draft = self._draft()
        num_bytes, sha256 = digest_and_sync(draft)
        segment = Segment(
            number=len(self._segments),
            begin=begin,
            last=begin + max(coded),
            last_duration=last_duration,
            num_frames=len(coded),
            reorder=reorder_depth(coded),
            header=header,
            num_bytes=num_bytes,
            sha256=sha256,
            shape=self._shape,
            next_seconds=next_seconds,
            notes=tuple(self.notes[self._num_notes :]),
        )
        if segment.num_frames != self._num_in_segment:
            raise OutputError(
                f"the {self._encoder.title} encoder was given {self._num_in_segment} pictures "
                f"and gave out {segment.num_frames}"
            )
        self._folder.publish(draft, segment, self.state())
        self._segments.append(segment)

    def _film_plan(self, shape: Shape) -> FilmPlan:
        video = self._source.video
        geometry = shape.geometry(video.turn, video.pixel_aspect)

        def add_video(out: OutputContainer) -> VideoStream:
            return add_video_stream(out, self._encoder, self._source, geometry, shape.layout)

        return FilmPlan(self._source, self._container, self._tracks, self._window, add_video)

    def _describe_streams(self, numbers: Mapping[int, int]) -> list[dict[str, Any]]:
        pictures = describe_pictures(
            self._source.video, self._encoder, self._shape, len(self._segments)
        )
        return [pictures, *describe_tracks(self._tracks, numbers)]
