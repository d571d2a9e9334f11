"""A path becomes facts about a film: its streams, its clock, its colours and its shape.

One picture is decoded, because the display matrix, and sometimes the truth about colour, travel
with the pictures and not with the container.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.stream import AttachmentStream, Discard, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidrestore.errors import MediaOpenError
from vidrestore.media.chroma import chroma_location
from vidrestore.media.hdr import HdrMetadata, hdr_metadata
from vidrestore.media.length import duration_of, nominal_rate, num_frames_estimate
from vidrestore.media.opening import (
    DAMAGE,
    MOST_PIXELS,
    MOST_SIDE,
    NOT_A_FILM,
    Packets,
    limit_size,
    open_source,
    origin_of,
    reading,
    require_film_stream,
)
from vidrestore.media.pixels import UNSPECIFIED, bits_of
from vidrestore.media.timeline import Timeline, can_start_anew, scan

logger = logging.getLogger(__name__)

CHAPTERS, TIMECODE = "chapters", "timecode"
"""What the tracks of MP4 and MOV are called that hold nothing of their own."""
_LONG_TO_READ_BYTES = 500_000_000
_MOST_TRIED = 1000
"""Packets without a picture after which there will be none."""


@dataclass(frozen=True, slots=True)
class ColourTags:
    """What the source says about its colours, as the codes of ITU-T H.273; 2 is "unspecified"."""

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    range: int = 0
    """0 unspecified, 1 limited, 2 full."""
    chroma_location: int | None = None
    """Where the colour samples of 4:2:0 lie, 0 to 5, see ``chroma.py``; None if unknown."""


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The stream that holds the film's pictures."""

    index: int
    codec: str
    width: int
    """Stored columns."""
    height: int
    """Stored rows."""
    pixel_format: str
    """FFmpeg's name of the decoder's format."""
    bits: int
    """Bits a sample."""
    nominal_rate: Fraction
    """Pictures a second, as FFmpeg guesses it from container and codec."""
    num_frames_estimate: int | None
    """For progress bars only: containers are often wrong."""
    time_base: Fraction
    """Seconds for each unit of a timestamp."""
    start_seconds: Fraction = Fraction(0)
    """Time of the first picture, from the film's second 0."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a stored sample over its height; 1 if the source does not say."""
    turn: tuple[int, int, int, int] = (1, 0, 0, 1)
    """Signs (a, b, c, d) of the display matrix, see `FrameGeometry`."""
    rotation: int = 0
    """Degrees clockwise by which players turn the stored picture, for people."""
    colour: ColourTags = field(default_factory=ColourTags)
    is_interlaced_flagged: bool = False
    """The first picture claims to hold two fields; many grabbers get this wrong."""
    display_matrix: tuple[int, ...] | None = None
    """The nine numbers behind ``turn``, as stored."""
    disposition: int = int(Disposition.default)
    language: str | None = None
    title: str | None = None
    hdr: HdrMetadata | None = None
    timecode: str | None = None
    """Of the first picture, hours:minutes:seconds:frames; a ``;`` says that numbers are dropped."""
    handler: str | None = None
    """What QuickTime calls the track."""


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One track of sound."""

    index: int
    codec: str
    """FFmpeg's canonical name; empty if it is unknown."""
    sample_rate: int
    channels: int
    language: str | None = None
    title: str | None = None
    marks: tuple[str, ...] = ()
    """What it is marked as beside "default": ``comment``, ``forced``, ``dub`` ..."""


@dataclass(frozen=True, slots=True)
class OtherTrack:
    """Anything else in the container."""

    index: int
    kind: str
    """``subtitle``, ``attachment``, ``cover``, ``data`` or ``video`` (a second film)."""
    codec: str
    """FFmpeg's canonical name, `CHAPTERS` or `TIMECODE`; empty if it is unknown."""
    language: str | None = None
    title: str | None = None
    """Title, or file name of an attachment."""
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A film as it lies on the disk."""

    path: Path
    container: str
    """FFmpeg's name of the format."""
    duration_seconds: Fraction | None
    """From ``origin`` to the end of the longest picture or sound track; None if unknown."""
    origin: Fraction
    """Time of the earliest sound or picture: the film's second 0."""
    video: VideoTrack
    audio: tuple[AudioTrack, ...] = ()
    others: tuple[OtherTrack, ...] = ()
    num_chapters: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
    """How time goes on where recordings were joined."""

    @property
    def is_quicktime(self) -> bool:
        """It is an MP4, a MOV or one of their kin."""
        return "mp4" in self.container.split(",")


def probe(path: Path) -> SourceInfo:
    """Look into a film.

    Raises:
        MediaOpenError: The file is missing, is not a video, holds only sound or a still picture,
            or not one picture of it can be decoded.
    """
    path = Path(path)
    with open_source(path) as container, reading(path):
        stream = require_film_stream(container, path)
        _require_bearable(path, stream.codec_context.width, stream.codec_context.height)
        limit_size(stream)
        stream.thread_type = "NONE"  # a single picture is wanted; it shall not fill several threads
        picture = _first_picture(container, stream)
        try:
            if picture is None:
                raise MediaOpenError(f"not one picture of {path} can be decoded; is it damaged?")
            _require_bearable(path, picture.width, picture.height)
            return _describe(
                path, container, stream, picture, _timeline(path, container, stream.index)
            )
        finally:
            stream.codec_context.flush_buffers()


def _require_bearable(path: Path, width: int, height: int) -> None:
    if max(width, height) > MOST_SIDE or width * height > MOST_PIXELS:
        raise MediaOpenError(
            f"{path} says its pictures are {width}x{height}: more than {MOST_SIDE} on a side or "
            f"{MOST_PIXELS >> 20} million pixels is damage, or too much to work on"
        )


def _timeline(path: Path, container: InputContainer, film_index: int) -> Timeline:
    if not can_start_anew(container):
        return Timeline()
    if path.stat().st_size > _LONG_TO_READ_BYTES:
        logger.info("reading through %s: recordings may be joined in it", path)
    with open_source(path) as afresh:
        return scan(afresh, film_index)


def _first_picture(container: InputContainer, stream: VideoStream) -> VideoFrame | None:
    for packet in islice(Packets(container, [stream]), _MOST_TRIED):
        try:
            pictures = cast("list[VideoFrame]", packet.decode())
        except DAMAGE:
            pictures = []
        if pictures:
            return pictures[0]
    return None


def _describe(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    picture: VideoFrame,
    timeline: Timeline,
) -> SourceInfo:
    origin = origin_of(container)
    duration = duration_of(container, origin, timeline)
    audio, others = [], []
    for other in container.streams:
        if isinstance(other, AudioStream):
            audio.append(_audio_track(other))
        elif other.index != stream.index:
            others.append(_other_track(other))
    return SourceInfo(
        path=path,
        container=container.format.name,
        duration_seconds=duration,
        origin=origin,
        video=_video_track(stream, picture, origin, duration, timeline),
        audio=tuple(audio),
        others=tuple(others),
        num_chapters=len(container.chapters()),
        tags=dict(container.metadata),
        timeline=timeline,
    )


def _video_track(
    stream: VideoStream,
    picture: VideoFrame,
    origin: Fraction,
    duration: Fraction | None,
    timeline: Timeline,
) -> VideoTrack:
    if not stream.time_base:
        raise MediaOpenError(f"stream {stream.index} has no clock")
    rate = nominal_rate(stream, timeline)
    start = stream.start_time if picture.pts is None else picture.pts
    turn, matrix = _display_matrix(picture)
    return VideoTrack(
        index=stream.index,
        codec=codec_name(stream),
        width=picture.width,
        height=picture.height,
        pixel_format=picture.format.name,
        bits=bits_of(picture.format.name),
        nominal_rate=rate,
        num_frames_estimate=num_frames_estimate(stream, rate, duration, timeline),
        time_base=stream.time_base,
        start_seconds=max(Fraction(0), (start or 0) * stream.time_base - origin),
        pixel_aspect=_pixel_aspect(stream),
        turn=turn,
        rotation=round(math.degrees(math.atan2(turn[1], turn[0]))) % 360,
        colour=ColourTags(
            matrix=picture.colorspace,
            primaries=picture.color_primaries,
            transfer=picture.color_trc,
            range=picture.color_range,
            chroma_location=chroma_location(
                codec_name(stream), picture.format.name, stream.codec_context.extradata
            ),
        ),
        is_interlaced_flagged=picture.interlaced_frame,
        display_matrix=matrix,
        disposition=int(stream.disposition),
        language=stream.metadata.get("language"),
        title=stream_title(stream),
        hdr=hdr_metadata(picture),
        timecode=stream_tag(stream, "timecode"),
        handler=stream_tag(stream, "handler_name"),
    )


def _pixel_aspect(stream: VideoStream) -> Fraction:
    # what the container says stands above the codec, as in players
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return aspect if aspect and Fraction(1, 8) <= aspect <= 8 else Fraction(1)


def _display_matrix(
    picture: VideoFrame,
) -> tuple[tuple[int, int, int, int], tuple[int, ...] | None]:
    """Return the signs (a, b, c, d) of the display matrix, and its nine numbers if it has one."""
    for side_data in cast("Iterable[SideData]", picture.side_data):
        if side_data.type is SideDataType.DISPLAYMATRIX:
            numbers = tuple(int(n) for n in np.frombuffer(memoryview(side_data), "<i4"))
            a, b, _, c, d = numbers[:5]
            if abs(a) >= abs(b):  # nearest right angle
                return (_sign(a), 0, 0, _sign(d)), numbers
            return (0, _sign(b), _sign(c), 0), numbers
    return (1, 0, 0, 1), None


def _sign(number: int) -> int:
    return -1 if number < 0 else 1


def stream_tag(stream: Stream, name: str) -> str | None:
    """Return a tag of a stream; Matroska writes the names in capitals."""
    return next((value for key, value in stream.metadata.items() if key.lower() == name), None)


def stream_title(stream: Stream) -> str | None:
    """Return the title of a stream; MP4 and MOV call it ``name``."""
    return stream.metadata.get("title") or stream.metadata.get("name")


def codec_name(stream: Stream) -> str:
    """Return FFmpeg's canonical name of a stream's codec; empty if there is no decoder for it."""
    if stream.codec_context is None:
        return stream.name or "" if stream.type == "data" else ""
    return stream.codec_context.codec.canonical_name


def _audio_track(stream: AudioStream) -> AudioTrack:
    context = stream.codec_context
    return AudioTrack(
        index=stream.index,
        codec=codec_name(stream),
        sample_rate=0 if context is None else context.sample_rate,
        channels=0 if context is None else context.layout.nb_channels,
        language=stream.metadata.get("language"),
        title=stream_title(stream),
        marks=_marks(stream),
    )


def _marks(stream: Stream) -> tuple[str, ...]:
    marks = Disposition(stream.disposition) & ~(Disposition.default | NOT_A_FILM)
    return tuple(mark.name for mark in marks if mark.name)


def _other_track(stream: Stream) -> OtherTrack:
    kind: str = stream.type
    if kind == "video" and stream.disposition & NOT_A_FILM:
        kind = "cover"
    title, codec = stream_title(stream), codec_name(stream)
    if isinstance(stream, AttachmentStream):
        title = stream.name
    if kind == "data" and stream.discard == Discard.all:
        codec = CHAPTERS  # the demuxer has read them already
    elif kind == "data" and not codec and "timecode" in stream.metadata:
        codec = TIMECODE
    return OtherTrack(
        index=stream.index,
        kind=kind,
        codec=codec,
        language=stream.metadata.get("language"),
        title=title,
        marks=_marks(stream),
    )
