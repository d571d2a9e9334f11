"""Frames become a new film, written beside its final name and renamed when it is complete.

Times, colours, shape and rotation are the source's; what cannot be kept is said in the notes,
before the work begins.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidrestore.contracts import Frame, PixelLayout
from vidrestore.errors import OutputError
from vidrestore.media.clock import Window
from vidrestore.media.containers import Container, container_for
from vidrestore.media.encoders import add_video_stream, choose_encoder, fine_time_base
from vidrestore.media.opening import explain
from vidrestore.media.passthrough import Passthrough
from vidrestore.media.pixels import PictureConverter, picture_of
from vidrestore.media.plan import plan_pictures, plan_tracks
from vidrestore.media.probe import SourceInfo
from vidrestore.media.target import claim_target, part_path
from vidrestore.settings import EncodeSettings

# Tags that MP4 and MOV store in their own way; any other needs QuickTime's list of free names.
_PLAIN_TAGS = frozenset(
    {
        *("title", "artist", "album", "album_artist", "composer", "date", "comment", "genre"),
        *("copyright", "description", "synopsis", "show", "track", "disc", "creation_time"),
    }
)
_NOT_TAGS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "duration"})
_LARGEST_DELAY = 1 << 40
"""Decoding times further than this before the showing are garbage (libx265, one or two frames)."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What must be the same in all pictures of a film."""

    size: tuple[int, int]
    layout: PixelLayout

    @classmethod
    def of(cls, frame: Frame) -> _Shape:
        return cls((frame.geometry.width, frame.geometry.height), frame.layout)

    def __str__(self) -> str:
        kind = "full range" if self.layout.is_full_range else "limited range"
        return f"{self.size[0]}x{self.size[1]} {self.layout.name} ({kind})"


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
        self._tracks = plan_tracks(source, self._container)
        start = start_seconds or Fraction(0)
        self._window = Window(
            shift=source.origin + start,
            has_start=start > 0,
            length=None if end_seconds is None else end_seconds - start,
            hides_start=self._container.is_quicktime,
        )
        self._part = part_path(self._path)
        self._converter = PictureConverter()
        self._out: OutputContainer | None = None
        self._video: VideoStream | None = None
        self._rest: Passthrough | None = None
        self._shape: _Shape | None = None
        self._foreign: set[_Shape] = set()
        self._last_pts: int | None = None
        self._is_finished = False
        self.notes: list[str] = [
            *plan_pictures(source.video, self._encoder, self._container),
            *(track.note for track in self._tracks if track.note),
        ]
        """Automatic choices and warnings, one sentence each; later ones are appended."""
        self.num_frames = 0
        """Frames written so far."""
        self.streams: list[dict[str, Any]] = [self._describe_video(), *self._describe_tracks({})]
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

    def write(self, frame: Frame) -> None:
        """Write the next frame, and the sound up to it.

        Size, shape and format of the first frame decide the film's; later frames that differ are
        converted.

        Raises:
            OutputError: The disk is full, or FFmpeg cannot go on.
            MediaError: The sound cannot be read on.
        """
        time = frame.pts * frame.time_base - self._window.shift
        with self._writing():
            video, rest = self._streams_for(frame)
            picture = self._picture(frame, video)
            tick = video.codec_context.time_base
            picture.pts = round(time / tick)
            if self._last_pts is not None:
                picture.pts = max(picture.pts, self._last_pts + 1)
            self._last_pts = picture.pts
            length = frame.duration * frame.time_base or 1 / self._source.video.nominal_rate
            picture.duration, picture.time_base = round(length / tick), tick
            self._mux(video.encode(picture))
            rest.pump(time)
        self.num_frames += 1

    def close(self) -> None:
        """Complete the film and give it its name; nothing happens the second time.

        Raises:
            OutputError: No frame was written, or the film could not be completed. There is no
                output then.
        """
        if self._is_finished:
            return
        try:
            if self._out is None or self._video is None or self._rest is None:
                raise OutputError(f"nothing to write: not one frame came for {self._path}")
            with self._writing():
                self._mux(self._video.encode(None))
                self._rest.finish()
                self.notes += self._rest.notes
                self._out.close()
                self._out = None
                with self._part.open("rb+") as file:
                    os.fsync(file.fileno())
                self._part.replace(self._path)
        finally:
            self._abandon()

    def _abandon(self) -> None:
        """Let go of everything; what was not completed disappears."""
        self._is_finished = True
        out, self._out = self._out, None
        # Without the file, closing does not move a long film's pictures behind its index.
        with suppress(PermissionError):  # Windows does not remove open files
            self._part.unlink(missing_ok=True)
        if out is not None:
            with suppress(av.FFmpegError):  # a full disk fails once more
                out.close()
            self._part.unlink(missing_ok=True)
        if self._rest is not None:
            self._rest.close()
        self._video = self._rest = None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn errors of FFmpeg and of the disk into an OutputError."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            if error.errno == errno.ENOSPC:
                raise OutputError(f"the disk is full: {self._path} was not written") from error
            reason = explain(error) if isinstance(error, av.FFmpegError) else error.strerror
            raise OutputError(f"writing {self._path} failed: {reason}") from error

    def _streams_for(self, frame: Frame) -> tuple[VideoStream, Passthrough]:
        """Return the open streams; the first frame opens them, all before the header."""
        if self._video is not None and self._rest is not None:
            return self._video, self._rest
        if self._is_finished:
            raise ValueError(f"{self._path} is closed")
        self._shape = _Shape.of(frame)
        self._out = av.open(
            str(self._part.absolute()),
            "w",
            format=self._container.format,
            container_options=self._container_options(),
        )
        video = add_video_stream(
            self._out, self._encoder, self._source, frame.geometry, frame.layout
        )
        rest = Passthrough(self._source, self._tracks, self._window, self._out)
        self._video, self._rest = video, rest
        self._out.start_encoding()
        self.streams = [self._describe_video(), *self._describe_tracks(rest.numbers)]
        return video, rest

    def _container_options(self) -> dict[str, str]:
        if not self._container.is_quicktime:
            return {}
        names = {name.lower() for name in self._source.tags} - _NOT_TAGS
        free = "" if names <= _PLAIN_TAGS else "+use_metadata_tags"
        # the clock of the edit lists: as fine as the pictures', so that a late start stays exact
        scale = fine_time_base(self._source.video.time_base).denominator
        return {"movflags": f"+faststart{free}", "movie_timescale": str(scale)}

    def _picture(self, frame: Frame, video: VideoStream) -> VideoFrame:
        """Copy a frame into a picture as the encoder takes it."""
        assert self._shape is not None
        shape, context = self._shape, video.codec_context
        size, name = (context.width, context.height), context.pix_fmt
        assert name is not None
        is_alike = _Shape.of(frame) == shape
        if is_alike:
            picture = picture_of(frame, *size)
        else:
            self._note_change(frame, shape)
            picture = picture_of(frame)
        if not is_alike or name != shape.layout.name:
            picture = self._converter.convert(picture, frame.layout, shape.layout, size, name)
        picture.colorspace, picture.color_range = context.colorspace, context.color_range
        picture.color_primaries, picture.color_trc = context.color_primaries, context.color_trc
        return picture

    def _note_change(self, frame: Frame, shape: _Shape) -> None:
        """Say once for each kind of picture that it is not as the first was."""
        found = _Shape.of(frame)
        if found not in self._foreign:
            self._foreign.add(found)
            self.notes.append(
                f"from {frame.seconds:.2f} s on, pictures of {found} are converted to {shape}, "
                "as which the film began"
            )

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        assert self._out is not None
        for packet in packets:
            dts, pts = packet.dts, packet.pts
            if pts is not None and (dts is None or not 0 <= pts - dts < _LARGEST_DELAY):
                packet.dts = pts
        self._out.mux(packets)

    def _describe_video(self) -> dict[str, Any]:
        video, context = self._source.video, None
        if self._video is not None:
            context = self._video.codec_context
        return {
            "index": 0,
            "source_index": video.index,
            "kind": "video",
            "codec": str(self._encoder.codec),
            "action": "encoded",
            "reason": "",
            "language": video.language,
            "encoder": self._encoder.name,
            "options": dict(self._encoder.options),
            "width": video.width if context is None else context.width,
            "height": video.height if context is None else context.height,
            "pixel_format": None if context is None else context.pix_fmt,
        }

    def _describe_tracks(self, numbers: dict[int, int]) -> list[dict[str, Any]]:
        return [
            {
                "index": numbers.get(track.source_index),
                "source_index": track.source_index,
                "kind": track.kind,
                "codec": track.codec,
                "action": str(track.action),
                "reason": track.reason,
                "language": track.language,
            }
            for track in self._tracks
        ]
