"""A film becomes frames: in order, each with an exact time, from any moment on.

Damage is counted and decoding goes on; nothing is filtered or turned here.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
from av.stream import Discard
from av.video.frame import VideoFrame

from vidrestore.contracts import Frame, FrameGeometry
from vidrestore.errors import RangeError
from vidrestore.media.clock import PictureClock
from vidrestore.media.opening import DAMAGE, Packets, open_source, reading, require_film_stream
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
    """The film ended well before its container says, or could not be read on."""
    clock_restarts: int = 0
    """Joints at which the film's own timestamps start anew; time goes on there."""


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
        clock = PictureClock(video.nominal_rate, video.time_base)
        time: int | None = None
        try:
            packets = Packets(self._container, [self._stream])
            for packet in packets:
                try:
                    pictures = cast("list[VideoFrame]", packet.decode())
                except DAMAGE:
                    self._damage.bad_packets += 1
                    continue
                for picture in pictures:
                    time = clock.time_of(picture)
                    yield time, picture
                    if not self.is_open:
                        raise ValueError("the reader was closed while its frames were being read")
        finally:
            self._damage.clock_restarts += clock.num_restarts
        self._damage.is_truncated |= packets.is_broken
        end = self._promised_end()
        if end is not None and time is not None:
            missing = end - (time + clock.step) * video.time_base
            self._damage.is_truncated |= missing > _TRUNCATED_SECONDS

    def shown_times(self) -> list[int] | None:
        """Read when packets are shown, sorted, without decoding; None if they do not tell."""
        times: list[int] = []
        latest, second = 0, round(1 / self._info.video.time_base)
        for packet in Packets(self._container, [self._stream]):
            if packet.size and not packet.is_discard:
                if packet.pts is None or (times and packet.pts < latest - second):
                    return None  # the clock starts anew in the middle
                times.append(packet.pts)
                latest = max(times[-1], latest) if len(times) > 1 else times[-1]
        return sorted(times)

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
            pictures = PictureReader()
            held: tuple[int, VideoFrame] | None = None
            for time, picture in self._from(first):
                if held is not None:
                    # containers leave lengths out, or give them in the order of decoding
                    yield self._frame(pictures, *held, time - held[0])
                held = (time, picture)
            if held is not None:
                video = self.info.video
                usual = round(1 / (video.nominal_rate * video.time_base))
                yield self._frame(pictures, *held, max(held[1].duration or usual, 1))

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
        has_key = has_frames = False
        with closing(self._decoding()) as decoding:
            if not decoding.seek(seek_to):
                return False
            for time, picture in decoding.pictures():
                seconds = time * base
                has_key = has_key or (picture.key_frame and seconds <= first)
                if seconds >= first:
                    if not has_key:
                        return False
                    has_frames = True
                    yield time, picture
        return has_frames

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

    def _frame(
        self, pictures: PictureReader, time: int, picture: VideoFrame, duration: int
    ) -> Frame:
        video = self.info.video
        self.damage.corrupt_frames += picture.is_corrupt
        planes, layout, render_rgb = pictures.read(picture)
        seconds = time * video.time_base - self.info.origin
        return Frame(
            planes=planes,
            pts=time,
            time_base=video.time_base,
            duration=duration,
            seconds=float(seconds),
            # from the first picture: half a frame between sound and picture would make ticks rock
            tick=math.floor((seconds - video.start_seconds) * video.nominal_rate + Fraction(1, 2)),
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
            times = decoding.shown_times()
        with closing(_Decoding(self.info, Damage())) as decoding:
            if times is None:
                times = [time for time, _ in decoding.pictures()]
            else:
                # pictures before the first decodable one are never shown
                first = next(time for time, _ in decoding.pictures())
                times = sorted({time for time in times if time >= first})
        return [time * base - origin for time in times]
