"""A film becomes frames: in order, each with an exact time, from any moment on.

Damage is counted and decoding goes on; nothing is filtered or turned here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.stream import Discard
from av.video.frame import VideoFrame

from vidrestore.contracts import Frame, FrameGeometry
from vidrestore.errors import RangeError
from vidrestore.media.opening import open_source, reading, require_film_stream
from vidrestore.media.pixels import PictureReader
from vidrestore.media.probe import SourceInfo, probe

_BACK_OFF_SECONDS = (0, 1, 4, 16)
"""How much further back to seek when a container's index lands late (MPEG-TS and -PS do)."""
_HEADER_DURATION = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "asf")
"""Containers whose headers say how long the film should be; others measure what is there."""
_TRUNCATED_SECONDS = Fraction(1, 2)


@dataclass(slots=True)
class Damage:
    """What was wrong with the pictures read so far."""

    bad_packets: int = 0
    """Packets the decoder refused; the pictures in them are lost."""
    corrupt_frames: int = 0
    """Pictures the decoder itself flagged as damaged; they are kept."""
    is_truncated: bool = False
    """The film ended well before its container says."""


class _Clock:
    """Gives every decoded picture a strictly increasing timestamp.

    Old containers leave out presentation times or contradict themselves. As in FFmpeg's
    best-effort timestamp, presentation times are believed until they have run backwards more often
    than decoding times have.
    """

    def __init__(self, rate: Fraction, time_base: Fraction) -> None:
        self.step = max(1, round(1 / (rate * time_base)))
        self._pts_faults = self._dts_faults = 0
        self._pts: int | None = None
        self._dts: int | None = None
        self._last: int | None = None

    def time_of(self, picture: VideoFrame) -> int:
        pts, dts = picture.pts, picture.dts
        if dts is not None:
            self._dts_faults += self._dts is not None and dts <= self._dts
        if pts is not None:
            self._pts_faults += self._pts is not None and pts <= self._pts
        self._dts = dts if dts is not None else pts if pts is not None else self._dts
        self._pts = pts if pts is not None else dts if dts is not None else self._pts
        believes_pts = dts is None or self._pts_faults <= self._dts_faults
        time = pts if pts is not None and believes_pts else dts
        if time is None:
            time = 0 if self._last is None else self._last + self.step
        if self._last is not None and time <= self._last:
            time = self._last + 1
        self._last, self.step = time, picture.duration or self.step
        return time


class _Decoding:
    """One open handle on the film, decoding its pictures from wherever it was sent."""

    def __init__(self, info: SourceInfo, damage: Damage) -> None:
        self._info = info
        self._damage = damage
        self._container = open_source(info.path)
        self._stream = require_film_stream(self._container, info.path)
        self._stream.thread_type = "AUTO"  # PyAV would choose slices only
        for other in self._container.streams:
            if other.index != self._stream.index:
                other.discard = Discard.all
        self.is_open = True

    def seek(self, seconds: Fraction) -> bool:
        """Go to the last key frame before ``seconds`` (container time); False if it cannot."""
        try:
            self._container.seek(
                int(seconds / self._info.video.time_base), stream=self._stream, backward=True
            )
        except av.FFmpegError:  # raw streams have nothing to seek by; the handle is then useless
            return False
        return True

    def pictures(self) -> Iterator[tuple[int, VideoFrame]]:
        """Decode to the end: timestamps in units of the stream's time base, and pictures."""
        video = self._info.video
        clock = _Clock(video.nominal_rate, video.time_base)
        time: int | None = None
        for packet in self._container.demux(self._stream):
            try:
                pictures = packet.decode()
            except av.InvalidDataError:
                self._damage.bad_packets += 1
                continue
            for picture in pictures:
                time = clock.time_of(picture)
                yield time, picture
                if not self.is_open:
                    raise ValueError("the reader was closed while its frames were being read")
        end = self._promised_end()
        if end is not None and time is not None:
            missing = end - (time + clock.step) * video.time_base
            self._damage.is_truncated |= missing > _TRUNCATED_SECONDS

    def packet_times(self) -> list[int | None]:
        """Read the presentation times of all shown packets, in stored order."""
        return [
            packet.pts
            for packet in self._container.demux(self._stream)
            if packet.size and not packet.is_discard
        ]

    def _promised_end(self) -> Fraction | None:
        """Return when the pictures should end by the container's header, in container time."""
        if self._info.container not in _HEADER_DURATION:
            return None
        base = self._info.video.time_base
        if self._stream.duration:
            return ((self._stream.start_time or 0) + self._stream.duration) * base
        stated = self._stream.metadata.get("DURATION", "")  # Matroska: 00:00:10.333000000
        if stated.count(":") == 2:
            hours, minutes, seconds = stated.split(":")
            return Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds)
        if self._container.duration and not self._info.audio:
            return Fraction(self._container.duration, av.time_base)
        return None

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._stream.codec_context.flush_buffers()  # a half-read threaded decoder may hang
            self._container.close()


class VideoReader:
    """Reads the pictures of one film.

    Frames own their memory: they stay valid when the reader has gone on and when it is closed.

    Example:
        with VideoReader(path) as reader:
            for frame in reader.frames(Fraction(90)):
                ...
    """

    def __init__(self, path: Path) -> None:
        """Look into the film.

        Raises:
            MediaOpenError: See `probe`.
        """
        self.info: SourceInfo = probe(Path(path))
        self.damage = Damage()
        self._pictures = PictureReader()
        self._open: list[_Decoding] = []
        self._frame_times: list[Fraction] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._open:
            self._open.pop().close()

    def frames(self, start_seconds: Fraction | None = None) -> Generator[Frame, None, None]:
        """Decode from a moment to the end of the film.

        Every call has its own handle on the file, so that it may run on a thread of its own.

        Args:
            start_seconds: Time of the film (counted from ``info.origin``) of the first frame
                wanted; frames before it are decoded if need be but not delivered. None: all.

        Yields:
            Frames in the order they are shown, timestamps strictly increasing. Which frames
            come, and everything in them, does not depend on ``start_seconds``.

        Raises:
            MediaError: The file could not be read on.
        """
        with reading(self.info.path):
            first = None if start_seconds is None else start_seconds + self.info.origin
            for time, picture in self._from(first):
                self.damage.corrupt_frames += picture.is_corrupt
                yield self._frame(time, picture)

    def _from(self, first: Fraction | None) -> Iterator[tuple[int, VideoFrame]]:
        if first is not None:
            for back in _BACK_OFF_SECONDS:
                if first - back <= self.info.origin + 1:
                    break  # from the start it is as quick
                found = yield from self._try_from(first, first - back)
                if found:
                    return
        yield from self._all_from(first)

    def _try_from(
        self, first: Fraction, seek_to: Fraction
    ) -> Generator[tuple[int, VideoFrame], None, bool]:
        """Deliver from ``first`` on after seeking; False, and nothing, if that landed too late.

        Only what is shown after a key frame counts: the pictures that lead one refer to pictures
        that were not decoded.
        """
        base = self.info.video.time_base
        has_key = False
        with closing(self._decoding()) as decoding:
            if not decoding.seek(seek_to):
                return False
            for time, picture in decoding.pictures():
                seconds = time * base
                has_key = has_key or (picture.key_frame and seconds <= first)
                if seconds >= first:
                    if not has_key:
                        return False
                    yield time, picture
        return has_key

    def _all_from(self, first: Fraction | None) -> Iterator[tuple[int, VideoFrame]]:
        base = self.info.video.time_base
        with closing(self._decoding()) as decoding:
            for time, picture in decoding.pictures():
                if first is None or time * base >= first:
                    yield time, picture

    def _decoding(self) -> _Decoding:
        self._open = [decoding for decoding in self._open if decoding.is_open]
        self._open.append(_Decoding(self.info, self.damage))
        return self._open[-1]

    def _frame(self, time: int, picture: VideoFrame) -> Frame:
        video = self.info.video
        planes, layout, render_rgb = self._pictures.read(picture)
        seconds = time * video.time_base - self.info.origin
        return Frame(
            planes=planes,
            pts=time,
            time_base=video.time_base,
            duration=max(0, picture.duration),
            seconds=float(seconds),
            tick=round(seconds * video.nominal_rate),
            layout=layout,
            geometry=FrameGeometry(
                width=picture.width,
                height=picture.height,
                turn=video.turn,
                pixel_aspect=video.pixel_aspect,
            ),
            render_rgb=render_rgb,
            is_corrupt=picture.is_corrupt,
        )

    def time_of_frame(self, number: int) -> Fraction:
        """Return when a picture is shown, in seconds of the film.

        The first call reads the whole file without decoding it, or decodes it where the container
        does not say when pictures are shown.

        Args:
            number: Counted from 0 in the order of showing.

        Raises:
            RangeError: The film has no such frame.
        """
        if self._frame_times is None:
            with reading(self.info.path):
                self._frame_times = self._read_frame_times()
        if not 0 <= number < len(self._frame_times):
            raise RangeError(
                f"there is no frame @{number}: {self.info.path} has {len(self._frame_times)} "
                f"frames, @0 to @{len(self._frame_times) - 1}"
            )
        return self._frame_times[number]

    def _read_frame_times(self) -> list[Fraction]:
        base, origin = self.info.video.time_base, self.info.origin
        with closing(_Decoding(self.info, Damage())) as decoding:
            packets = decoding.packet_times()
        times = [time for time in packets if time is not None]
        with closing(_Decoding(self.info, Damage())) as decoding:
            if len(times) == len(packets):
                # pictures before the first decodable one are never shown
                first = next(time for time, _ in decoding.pictures())
                times = sorted({time for time in times if time >= first})
            else:
                times = [time for time, _ in decoding.pictures()]
        return [time * base - origin for time in times]
