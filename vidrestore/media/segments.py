"""Stretches of the film, each coded on its own: the unit in which work is kept and gone on with.

A segment begins with a picture that needs no other, and holds exactly what the encoder gave out,
in a NUT file: of the containers at hand the one that keeps every codec's packets, headers and
times as they are. ``join.py`` makes one film of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidrestore.contracts import Frame, FrameGeometry, PixelLayout
from vidrestore.errors import OutputError

SEGMENT_FORMAT = "nut"
SHORTEST_SECONDS, LONGEST_SECONDS = 10, 20
"""A segment ends before the first key frame of the source that is so far from its beginning, or
before any frame when that is long in coming."""
_LARGEST_DELAY = 1 << 40
"""Decoding times further than this before the showing are garbage (libx265, one or two frames)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What must be the same in all pictures of a film."""

    width: int
    height: int
    layout: PixelLayout

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """Return the shape of a frame."""
        return cls(frame.geometry.width, frame.geometry.height, frame.layout)

    def __str__(self) -> str:
        kind = "full range" if self.layout.is_full_range else "limited range"
        return f"{self.width}x{self.height} {self.layout.name} ({kind})"

    def geometry(self, turn: tuple[int, int, int, int], pixel_aspect: Fraction) -> FrameGeometry:
        """Return the geometry of such pictures in a film that is turned and pressed like that."""
        return FrameGeometry(self.width, self.height, turn, pixel_aspect)


@dataclass(frozen=True, slots=True)
class Segment:
    """One finished segment. Times are in units of the output's time base, from the output's 0."""

    number: int
    begin: int
    """Time of its first picture."""
    last: int
    """Time of its last picture."""
    last_duration: int
    num_frames: int
    reorder: int
    """By how many pictures the coder went ahead of the order of showing, at most."""
    header: str
    """SHA-256 of the coder's own header; the same in all segments of a film."""
    num_bytes: int
    sha256: str
    shape: Shape
    next_seconds: Fraction | None
    """When the next picture is shown, in seconds of the film; None if there is no other."""
    notes: tuple[str, ...]
    """What was said while it was made."""

    @property
    def file_name(self) -> str:
        """Name of its file in the work folder."""
        return f"{self.number:05}.nut"

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain data."""
        after = None if self.next_seconds is None else str(self.next_seconds)
        return {**asdict(self), "next_seconds": after, "notes": list(self.notes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        shape, after = data["shape"], data["next_seconds"]
        made = {
            "shape": Shape(shape["width"], shape["height"], PixelLayout(**shape["layout"])),
            "next_seconds": None if after is None else Fraction(after),
            "notes": tuple(data["notes"]),
        }
        return cls(**{**data, **made})


class SegmentEncoder:
    """Codes the pictures of one segment into a file of its own."""

    def __init__(self, path: Path, add_video: Callable[..., VideoStream]) -> None:
        """Open the encoder.

        Args:
            path: The file to be.
            add_video: Adds the stream of pictures to a container and opens its encoder.
        """
        self._out = av.open(str(path.absolute()), "w", format=SEGMENT_FORMAT)
        self.video = add_video(self._out)
        """The open stream."""
        self._out.start_encoding()
        self._coded: list[int] = []
        self._begin: int | None = None
        self._last_duration = 0

    def encode(self, picture: VideoFrame) -> None:
        """Code the next picture; its ``pts`` is a time of the output."""
        assert picture.pts is not None
        if self._begin is None:
            self._begin = picture.pts
        picture.pts -= self._begin
        self._last_duration = picture.duration
        self._mux(self.video.encode(picture))

    def finish(self) -> tuple[int, list[int], int, str]:
        """Code what the encoder still holds and close the file.

        Returns:
            Time of the first picture, times of all from that one on in coding order, length of the
            last, SHA-256 of the coder's header.
        """
        self._mux(self.video.encode(None))
        header = header_digest(self.video)
        self._out.close()
        assert self._begin is not None
        return self._begin, self._coded, self._last_duration, header

    def abandon(self) -> None:
        """Close the file, whatever it holds."""
        self._out.close()

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            dts, pts = packet.dts, packet.pts
            if pts is None:
                raise OutputError("the encoder gave out a picture without a time")
            if dts is None or not 0 <= pts - dts < _LARGEST_DELAY:
                packet.dts = pts
            self._coded.append(pts)
        self._out.mux(packets)


def header_digest(video: VideoStream) -> str:
    """Return the SHA-256 of an open encoder's header (H.264: the parameter sets)."""
    return hashlib.sha256(bytes(video.codec_context.extradata or b"")).hexdigest()


def reorder_depth(coded: list[int]) -> int:
    """Return by how many places a picture is coded before it is shown, at most.

    >>> reorder_depth([0, 3, 1, 2])
    1
    """
    rank = {time: place for place, time in enumerate(sorted(coded))}
    return max((place - rank[time] for place, time in enumerate(coded)), default=0)


def digest_and_sync(path: Path) -> tuple[int, str]:
    """Make sure that a file is on the disk; return its size and SHA-256."""
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
        return file.tell(), digest


def segment_times(path: Path, segment: Segment) -> list[int]:
    """Return when the pictures of a segment are shown, in the order of coding.

    Raises:
        OutputError: The file is not what was written.
    """
    times = [packet.pts for packet in _packets(path) if packet.pts is not None]
    if len(times) != segment.num_frames:
        raise OutputError(f"{path} was damaged meanwhile: give the same command again")
    shift = segment.begin - min(times)  # the container knows no times before 0
    return [time + shift for time in times]


def segment_packets(path: Path, times: Sequence[int]) -> Iterator[Packet[VideoStream]]:
    """Read a segment's packets in the order of coding, each shown at its one of ``times``."""
    for time, packet in zip(times, _packets(path), strict=True):
        packet.pts = time
        yield packet


def _packets(path: Path) -> Iterator[Packet[VideoStream]]:
    with av.open(str(path.absolute()), "r", format=SEGMENT_FORMAT) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                yield packet
