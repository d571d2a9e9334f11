"""How large pictures get: coding them for nothing, and counting what the source took.

No file is written here.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.packet import Packet
from av.video.stream import VideoStream

from vidrestore.contracts import Frame
from vidrestore.errors import OutputError
from vidrestore.media.containers import container_for
from vidrestore.media.encoders import add_video_stream, choose_encoder, fine_time_base
from vidrestore.media.fitting import PictureFitter
from vidrestore.media.opening import Packets, explain, open_source, reading
from vidrestore.media.probe import SourceInfo
from vidrestore.media.segments import SHORTEST_SECONDS, Shape
from vidrestore.settings import EncodeSettings

_LONGEST_LOOK_SECONDS = 30
"""How far behind a range the next key frame of the source is looked for."""


class TrialEncoder:
    """Codes frames as a run would, keeps nothing, and counts bytes and seconds.

    Example:
        with TrialEncoder(reader.info, settings.encode, Path("out.mp4")) as trial:
            for frame in frames:
                trial.write(frame)
        trial.bytes_for_frame()
    """

    def __init__(self, source: SourceInfo, settings: EncodeSettings, target: Path) -> None:
        """Choose the encoder; it is opened with the first frame.

        Args:
            source: The film whose frames will come.
            settings: Codec and quality.
            target: The film to be, of which only the extension matters.

        Raises:
            OutputError: The encoder is missing, or refuses its options.
        """
        self._source = source
        self._encoder = choose_encoder(settings, container_for(target))
        self._out = av.open(os.devnull, "w", format="null")
        self._video: VideoStream | None = None
        self._fitter: PictureFitter | None = None
        self._first_pts: Fraction | None = None
        self._sizes: list[int] = []
        self.num_frames = 0
        self.seconds = 0.0
        """Time that coding took so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self._video is not None:
                begun = time.perf_counter()
                self._count(self._video.encode(None))
                self.seconds += time.perf_counter() - begun
        finally:
            self._out.close()

    def write(self, frame: Frame) -> None:
        """Code the next frame.

        Raises:
            OutputError: The encoder refuses it.
        """
        begun = time.perf_counter()
        try:
            self._write(frame)
        except av.FFmpegError as error:
            raise OutputError(f"coding on trial failed: {explain(error)}") from error
        self.seconds += time.perf_counter() - begun
        self.num_frames += 1

    def bytes_for_frame(self) -> float:
        """Return what a frame takes in a long film, on the average of the frames written.

        Every encoder begins with a key frame, and in a long film one comes in ten seconds, as long
        as a segment is at least: of the first one only its share counts.
        """
        if not self._sizes:
            return 0.0
        total, count = float(sum(self._sizes)), len(self._sizes)
        if count > 1:
            usual = (total - self._sizes[0]) / (count - 1)
            share = min(1.0, count / float(SHORTEST_SECONDS * self._source.video.nominal_rate))
            total -= (self._sizes[0] - usual) * (1 - share)
        return total / count

    def _write(self, frame: Frame) -> None:
        if self._video is None or self._fitter is None:
            shape, video = Shape.of(frame), self._source.video
            geometry = shape.geometry(video.turn, video.pixel_aspect)
            self._video = add_video_stream(
                self._out, self._encoder, self._source, geometry, shape.layout
            )
            self._fitter = PictureFitter(shape, [])
        picture = self._fitter.fit(frame, self._video.codec_context)
        moment = frame.pts * frame.time_base
        if self._first_pts is None:
            self._first_pts = moment
        tick = fine_time_base(self._source.video.time_base)
        length = frame.duration * frame.time_base or 1 / self._source.video.nominal_rate
        picture.pts, picture.time_base = round((moment - self._first_pts) / tick), tick
        picture.duration = round(length / tick)
        self._count(self._video.encode(picture))

    def _count(self, packets: list[Packet[VideoStream]]) -> None:
        self._sizes += [packet.size for packet in packets]


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """What a stretch of a film takes on the disk."""

    pictures: int
    others: int
    """Sound and everything else."""
    seconds: Fraction
    """Length of the stretch."""


def stored_bytes(info: SourceInfo, start: Fraction, stop: Fraction) -> StoredBytes | None:
    """Count the packets from the key frame before a range to the one behind it.

    Args:
        info: The film.
        start: In seconds of the film.
        stop: Likewise.

    Returns:
        None where the film cannot be seeked in, or the place was not found.

    Raises:
        MediaError: It cannot be read.
    """
    if not info.timeline.can_seek:
        return None
    pictures = others = 0
    first = last = None
    with reading(info.path), closing(open_source(info.path)) as container:
        container.seek(int((start + info.origin) * av.time_base))
        for packet in Packets(container, tuple(container.streams)):
            if packet.dts is None or not packet.size or packet.time_base is None:
                continue
            shown = packet.dts if packet.pts is None else packet.pts
            seconds = shown * packet.time_base - info.origin
            if packet.stream.index != info.video.index:
                others += packet.size if first is not None else 0
                continue
            first = seconds if first is None else first
            last = seconds
            if seconds >= stop and (packet.is_keyframe or seconds > stop + _LONGEST_LOOK_SECONDS):
                break
            pictures += packet.size
        else:
            last = info.duration_seconds or last
    if first is None or last is None or last <= first:
        return None
    return StoredBytes(pictures, others, last - first)


def sound_rate(path: Path) -> float:
    """Return the bytes that a second of a film's sound and subtitles takes.

    Raises:
        MediaError: It cannot be read.
    """
    with reading(path), closing(open_source(path)) as container:
        streams = tuple(s for s in container.streams if s.type in ("audio", "subtitle"))
        if not streams or not container.duration:
            return 0.0
        num_bytes = sum(packet.size for packet in Packets(container, streams))
        return num_bytes * av.time_base / container.duration
