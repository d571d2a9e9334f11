"""Everything a film says of itself, read with PyAV alone: what went in must come out.

Nothing of the program is used here, so that it is not its own judge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt

Planes = tuple[npt.NDArray[Any], ...]

COVER = int(av.stream.Disposition.attached_pic)
_CAPTIONS = 1 << 16
DEFAULT = int(av.stream.Disposition.default)
_DAMAGE = (av.InvalidDataError, av.PatchWelcomeError)
_MUXER_TAGS = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "handler_name"}
)
_ADTS_HEADER = 7


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a film without the invented timestamps that PyAV asks for."""
    with av.open(str(path)) as film:
        film.flags &= ~cast(int, av.container.Flags.gen_pts.value)
        yield film


def _is_cover(stream: Any) -> bool:
    return stream.type == "video" and bool(stream.disposition & COVER)


def _pictures(film: Any) -> Any:
    return next(s for s in film.streams.video if not _is_cover(s))


@dataclass(frozen=True)
class Picture:
    """One decoded picture."""

    seconds: Fraction | None
    """The container's own time."""
    planes: Planes
    pixel_format: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.planes[0].shape[1], self.planes[0].shape[0]


def pictures(path: Path) -> Iterator[Picture]:
    """Decode the film's pictures; packets that cannot be decoded are passed over."""
    with opened(path) as film:
        stream = _pictures(film)
        for packet in film.demux(stream):
            try:
                frames = packet.decode()
            except _DAMAGE:
                continue
            for frame in frames:
                yield Picture(
                    None if frame.pts is None else frame.pts * stream.time_base,
                    tuple(_samples(frame, plane) for plane in frame.planes),
                    frame.format.name,
                )


def _samples(frame: Any, plane: Any) -> npt.NDArray[Any]:
    bits = max(c.bits for c in frame.format.components)
    kind = np.dtype("u1" if bits <= 8 else "<u2")
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1).view(kind)
    return rows[:, : plane.width].copy()


def origin(path: Path) -> Fraction:
    """Return the earliest start of picture or sound, in seconds."""
    with opened(path) as film:
        starts: list[Fraction] = [
            s.start_time * s.time_base
            for s in film.streams
            if s.type in ("video", "audio") and s.start_time is not None and not _is_cover(s)
        ]
    return min(starts)


def times(path: Path) -> list[Fraction]:
    """Return when each picture is shown, in seconds from the earliest picture or sound."""
    zero, found = origin(path), [p.seconds for p in pictures(path)]
    assert all(t is not None for t in found), f"{path.name}: pictures without times"
    return [t - zero for t in found if t is not None]


@dataclass(frozen=True)
class SoundTrack:
    """The packets of one track, as payloads."""

    every: tuple[bytes, ...]
    heard: tuple[bytes, ...]
    """Without those that the container hides: what a decoder needs to settle."""

    def is_same_as(self, other: SoundTrack) -> bool:
        """Say whether both hold the same sound, packet for packet.

        Containers differ in whether they hide the packet before the start or show it.
        """
        return self.every == other.every or bool(
            {self.every, self.heard} & {other.every, other.heard}
        )

    def has_same_bytes_as(self, other: SoundTrack) -> bool:
        """Say the same of PCM, which containers cut into packets as they like."""
        return b"".join(self.heard) == b"".join(other.heard)


def sound_tracks(path: Path) -> list[SoundTrack]:
    """Read the packets of every track of sound.

    The headers that MPEG-TS puts before each packet of AAC are no part of the sound.
    """
    found: dict[int, list[tuple[bytes, bool]]] = {}
    with opened(path) as film:
        streams = list(film.streams.audio)
        found = {s.index: [] for s in streams}
        has_header = {s.index: s.name == "aac" and not s.codec_context.extradata for s in streams}
        for packet in film.demux(streams) if streams else ():
            if packet.size:
                index = packet.stream.index
                payload = bytes(packet)[_ADTS_HEADER if has_header[index] else 0 :]
                found[index].append((payload, packet.is_discard))
    return [
        SoundTrack(tuple(p for p, _ in rows), tuple(p for p, is_hidden in rows if not is_hidden))
        for rows in found.values()
    ]


def beeps(path: Path, track: int = 0) -> list[float]:
    """Return when the sound gets loud, in seconds of the container's clock.

    Packets that cannot be decoded are passed over.
    """
    moments, quiet_since = [], -1.0
    with opened(path) as film:
        for packet in film.demux(film.streams.audio[track]):
            try:
                frames = packet.decode()
            except _DAMAGE:
                continue
            for frame in frames:
                if frame.pts is None:
                    continue
                loud = np.flatnonzero(_loudness(frame) > 0.15)
                for moment in frame.pts * float(frame.time_base) + loud / frame.sample_rate:
                    if moment - quiet_since > 0.3:
                        moments.append(float(moment))
                    quiet_since = moment
    return moments


def _loudness(frame: Any) -> npt.NDArray[Any]:
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind != "f":
        samples = samples / np.iinfo(samples.dtype).max
    return np.asarray(np.abs(samples).max(axis=0))


def extra_film_payloads(path: Path) -> list[list[bytes]]:
    """Return the packets of every stream of pictures but the first."""
    with opened(path) as film:
        main = _pictures(film)
        others = [s for s in film.streams.video if s.index != main.index and not _is_cover(s)]
        found: dict[int, list[bytes]] = {s.index: [] for s in others}
        for packet in film.demux(others) if others else ():
            if packet.size:
                found[packet.stream.index].append(bytes(packet))
    return list(found.values())


@dataclass(frozen=True)
class Title:
    """One subtitle as it is shown."""

    begin: float
    end: float
    text: str


def titles(path: Path) -> list[list[Title]]:
    """Return the subtitles of every track: times in seconds, text without its codec's dress."""
    with opened(path) as film:
        streams = list(film.streams.subtitles)
        found: dict[int, list[Title]] = {s.index: [] for s in streams}
        for packet in film.demux(streams) if streams else ():
            text = _bare_text(packet.stream.codec_context.name, bytes(packet))
            if text:
                begin = float(packet.pts * packet.time_base)
                end = begin + float(packet.duration * packet.time_base)
                found[packet.stream.index].append(Title(round(begin, 3), round(end, 3), text))
    return list(found.values())


def _bare_text(codec: str, payload: bytes) -> str:
    if codec == "mov_text":
        payload = payload[2 : 2 + int.from_bytes(payload[:2], "big")]
    text = payload.decode()
    if codec in ("ass", "ssa"):
        text = text.split(",", 8)[-1]
    while "{" in text:
        head, _, rest = text.partition("{")
        text = head + rest.partition("}")[2]
    while "<" in text:
        head, _, rest = text.partition("<")
        text = head + rest.partition(">")[2]
    return text.strip()


def description(path: Path) -> dict[str, Any]:
    """Return what a film says of its pictures, its tracks and itself."""
    with opened(path) as film:
        stream = _pictures(film)
        facts = {
            **_of_pictures(film, stream),
            "sound": [_of_track(s) for s in film.streams.audio],
            "subtitles": [_of_track(s, has_codec=False) for s in film.streams.subtitles],
            "extra films": [
                _of_track(s)
                for s in film.streams.video
                if s.index != stream.index and not _is_cover(s)
            ],
            "attachments": [
                (s.name, s.mimetype, _digest(s.data)) for s in film.streams.attachments
            ],
            "chapters": [_of_chapter(c) for c in film.chapters()],
            "tags": {
                k.lower(): v for k, v in film.metadata.items() if k.lower() not in _MUXER_TAGS
            },
        }
    facts["covers"] = _covers(path)
    return facts


def _of_pictures(film: Any, stream: Any) -> dict[str, Any]:
    context = stream.codec_context
    frame = None
    for packet in film.demux(stream):
        try:
            frame = next(iter(packet.decode()), None)
        except _DAMAGE:
            continue
        if frame is not None:
            break
    assert frame is not None, f"{film.name}: nothing to be decoded"
    side = {d.type.name: bytes(d) for d in frame.side_data}
    matrix = side.get("DISPLAYMATRIX")
    bits = max(c.bits for c in frame.format.components)
    facts = {
        "matrix": frame.colorspace,
        "primaries": frame.color_primaries,
        "transfer": frame.color_trc,
        "is full range": frame.color_range == 2 or frame.format.name.startswith("yuvj"),
        "chroma format": frame.format.name.replace("yuvj", "yuv"),
        "bits": bits,
        "size": (frame.width, frame.height),
        "pixel aspect": stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1),
        "display matrix": None
        if matrix is None
        else tuple(int(n) for n in np.sign(np.frombuffer(matrix, "<i4"))),
        "light": {k: _light(k, v) for k, v in side.items() if k in _LIGHT},
        "film": (_language(stream), _title(stream)),
    }
    context.flush_buffers()
    return facts


_LIGHT = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")


def _light(kind: str, data: bytes) -> list[float]:
    """Read the numbers of HDR10: 10 fractions and 2 flags, or 2 levels of light."""
    if kind == "CONTENT_LIGHT_LEVEL":
        return [float(n) for n in np.frombuffer(data[:8], "<u4")]
    pairs = np.frombuffer(data[:80], "<i4").reshape(10, 2)
    return [round(float(n) / float(d), 5) for n, d in pairs]


def _of_track(stream: Any, *, has_codec: bool = True) -> dict[str, Any]:
    context = stream.codec_context
    facts = {
        "language": _language(stream),
        "title": _title(stream),
        # MP4 stores "for the hard of hearing" as captions, and so reads both
        "disposition": int(stream.disposition) & ~_CAPTIONS,
    }
    if has_codec:
        # MP4 has one number for all of MPEG's layers of sound
        facts["codec"] = context.codec.canonical_name.replace("mp2", "mp3")
    if stream.type == "audio":
        facts |= {"rate": context.sample_rate, "channels": context.layout.nb_channels}
    return facts


def _language(stream: Any) -> str | None:
    language = stream.metadata.get("language")
    return None if language == "und" else language


def _title(stream: Any) -> str | None:
    title: str | None = stream.metadata.get("title") or stream.metadata.get("name")
    return title


def _of_chapter(chapter: Any) -> tuple[str, int, int]:
    base = chapter["time_base"]
    begin, end = (round(chapter[k] * base * 1000) for k in ("start", "end"))
    return chapter["metadata"].get("title", ""), begin, end


def _covers(path: Path) -> list[str]:
    with opened(path) as film:
        art = [s for s in film.streams.video if _is_cover(s)]
        return [_digest(bytes(p)) for p in film.demux(art) if p.size] if art else []


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
