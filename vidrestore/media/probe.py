"""A path becomes facts about a film: its streams, its clock, its colours and its shape.

One picture is decoded, because the display matrix, and sometimes the truth about colour, travel
with the pictures and not with the container.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.stream import AttachmentStream, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidrestore.errors import MediaOpenError
from vidrestore.media.opening import (
    DAMAGE,
    NOT_A_FILM,
    Packets,
    open_source,
    origin_of,
    reading,
    require_film_stream,
)
from vidrestore.media.pixels import UNSPECIFIED, bits_of

_FALLBACK_RATE = Fraction(25)


@dataclass(frozen=True, slots=True)
class ColourTags:
    """What the source says about its colours, as the codes of ITU-T H.273; 2 is "unspecified"."""

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    range: int = 0
    """0 unspecified, 1 limited, 2 full."""


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


@dataclass(frozen=True, slots=True)
class OtherTrack:
    """Anything else in the container."""

    index: int
    kind: str
    """``subtitle``, ``attachment``, ``cover``, ``data`` or ``video`` (a second film)."""
    codec: str
    language: str | None = None
    title: str | None = None
    """Title, or file name of an attachment."""


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


def probe(path: Path) -> SourceInfo:
    """Look into a film.

    Raises:
        MediaOpenError: The file is missing, is not a video, holds only sound or a still picture,
            or not one picture of it can be decoded.
    """
    path = Path(path)
    with open_source(path) as container, reading(path):
        stream = require_film_stream(container, path)
        picture = _first_picture(container, stream)
        try:
            if picture is None:
                raise MediaOpenError(f"not one picture of {path} can be decoded; is it damaged?")
            return _describe(path, container, stream, picture)
        finally:
            stream.codec_context.flush_buffers()


def _first_picture(container: InputContainer, stream: VideoStream) -> VideoFrame | None:
    for packet in Packets(container, [stream]):
        try:
            pictures = cast("list[VideoFrame]", packet.decode())
        except DAMAGE:
            continue
        if pictures:
            return pictures[0]
    return None


def _describe(
    path: Path, container: InputContainer, stream: VideoStream, picture: VideoFrame
) -> SourceInfo:
    origin = origin_of(container)
    duration = _duration(container, origin)
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
        video=_video_track(stream, picture, origin, duration),
        audio=tuple(audio),
        others=tuple(others),
        num_chapters=len(container.chapters()),
        tags=dict(container.metadata),
    )


def _duration(container: InputContainer, origin: Fraction) -> Fraction | None:
    ends = [
        ((stream.start_time or 0) + stream.duration) * stream.time_base - origin
        for stream in container.streams
        if stream.type in ("video", "audio")
        and stream.duration
        and stream.time_base
        and not (stream.type == "video" and stream.disposition & NOT_A_FILM)
    ]
    if ends:
        return max(ends)
    if not container.duration:
        return None
    whole = Fraction(container.duration, av.time_base)
    # Matroska counts from zero, wherever its first picture is
    return whole - origin if "matroska" in container.format.name and whole > origin else whole


def _video_track(
    stream: VideoStream, picture: VideoFrame, origin: Fraction, duration: Fraction | None
) -> VideoTrack:
    if not stream.time_base:
        raise MediaOpenError(f"stream {stream.index} has no clock")
    rate = _nominal_rate(stream)
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
        num_frames_estimate=_num_frames(stream, rate, duration),
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
        ),
        is_interlaced_flagged=picture.interlaced_frame,
        display_matrix=matrix,
        disposition=int(stream.disposition),
        language=stream.metadata.get("language"),
        title=stream_title(stream),
    )


def _nominal_rate(stream: VideoStream) -> Fraction:
    guess, average = stream.guessed_rate, stream.average_rate
    if guess and average and guess > average * Fraction(3, 2):
        return average  # a phone's varying rate: the guess is the grid its times lie on
    return guess or average or _FALLBACK_RATE


def _num_frames(stream: VideoStream, rate: Fraction, duration: Fraction | None) -> int | None:
    by_time = math.ceil(duration * rate) if duration else None
    if stream.frames and by_time:  # frames that an edit list hides are counted in stream.frames
        return min(stream.frames, by_time)
    return stream.frames or by_time


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
    )


def _other_track(stream: Stream) -> OtherTrack:
    kind: str = stream.type
    if kind == "video" and stream.disposition & NOT_A_FILM:
        kind = "cover"
    title = stream_title(stream)
    if isinstance(stream, AttachmentStream):
        title = stream.name
    return OtherTrack(
        index=stream.index,
        kind=kind,
        codec=codec_name(stream),
        language=stream.metadata.get("language"),
        title=title,
    )
