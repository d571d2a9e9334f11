"""Makes films as odd as the ones in people's cupboards: what ``synthetic`` cannot make by itself.

Nearly all begin as a clip of ``synthetic`` and are then taken apart: packets are copied into a new
file, changed, left out or joined; headers are patched; pictures are woven from two moments.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from tests.support.synthetic import CELLS, Clip, make_clip, picture

Image = npt.NDArray[np.uint8]

ASS_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\n"
    b"Format: Name, Fontname, Fontsize\r\nStyle: Default,Arial,16\r\n\r\n"
    b"[Events]\r\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, "
    b"Text\r\n"
)
FONT = bytes(range(256)) * 8
"""Stands for a font: nothing looks into it."""
_PACKED_USER_DATA = b"\x00\x00\x01\xb2DivX503b1393p\x00"
_VOP = b"\x00\x00\x01\xb6"


@contextmanager
def scratch(name: str, clip: Clip) -> Iterator[Path]:
    """Make a clip in a folder that disappears."""
    with tempfile.TemporaryDirectory() as folder:
        yield make_clip(Path(folder) / name, clip)


def remux(
    source: Path,
    target: Path,
    change: Callable[[str, int, Any], Any] = lambda kind, number, packet: packet,
    prepare: Callable[[Any, list[Any]], Iterable[Any]] = lambda out, streams: (),
    options: Mapping[str, str] | None = None,
) -> Path:
    """Copy all packets of a film into a new one.

    Args:
        source: The film.
        target: The new film; the suffix chooses the container.
        change: Called with the kind of stream, the packet's number in its stream, and the packet;
            returns the packet to write, or None to leave it out.
        prepare: Called with the output and its streams before the header is written; returns
            packets of streams that it added.
        options: Of the container.
    """
    with (
        av.open(str(source)) as film,
        av.open(str(target), "w", container_options=dict(options or {})) as out,
    ):
        streams = [out.add_stream_from_template(s, opaque=True) for s in film.streams]
        for old, new in zip(film.streams, streams, strict=True):
            new.disposition = old.disposition
            new.metadata.update({k: v for k, v in old.metadata.items() if k == "language"})
        out.metadata.update({k: v for k, v in film.metadata.items() if k in ("title", "comment")})
        extra = list(prepare(out, streams))
        out.start_encoding()
        counts = [0] * len(streams)
        for packet in film.demux():
            if not packet.size or packet.dts is None:
                continue
            index = packet.stream.index
            packet.stream = streams[index]
            changed = change(film.streams[index].type, counts[index], packet)
            counts[index] += 1
            if changed is not None:
                out.mux(changed)
        out.mux(extra)
    return target


def with_payload(packet: Any, payload: bytes) -> Any:
    """Replace what is in a packet and keep the rest."""
    new = av.Packet(payload)
    new.stream, new.time_base = packet.stream, packet.time_base
    new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
    new.is_keyframe = packet.is_keyframe
    return new


def spoil(packet: Any, first: int = 12, seed: int = 3) -> Any:
    """Fill a packet with noise from a byte on: its length and its head stay."""
    data = bytearray(bytes(packet))
    rng = np.random.default_rng(seed + len(data))
    data[first:] = rng.integers(0, 256, max(0, len(data) - first), dtype=np.uint8).tobytes()
    if not first:
        data[0] = 0xFF
    return with_payload(packet, bytes(data))


def spoiled(
    kind: str, numbers: Iterable[int], clip: Clip, name: str, first: int = 12
) -> Callable[[Path], Path]:
    """Return a builder of a film some of whose packets are filled with noise from a byte on."""
    hurt = frozenset(numbers)

    def build(path: Path) -> Path:
        def change(its_kind: str, number: int, packet: Any) -> Any:
            return spoil(packet, first) if its_kind == kind and number in hurt else packet

        with scratch(name, clip) as whole:
            return remux(whole, path, change)

    return build


def hidden_start(path: Path, first: int, clip: Clip) -> Path:
    """Cut a film in the middle of a group of pictures, as phones trim: an edit list hides the rest.

    Packets from the key frame before picture ``first`` on are kept; time 0 is at ``first``.
    """
    zero = first / clip.rate
    key = Fraction(first // 10 * 10) / clip.rate

    def change(kind: str, number: int, packet: Any) -> Any:
        begin = packet.pts * packet.time_base
        if begin < (key if kind == "video" else zero - Fraction(3, 100)):
            return None
        shift = round(zero / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        return packet

    with scratch("whole.mp4", clip) as whole:
        return remux(whole, path, change, options={"movie_timescale": "90000"})


def turned(
    path: Path, clip: Clip, degrees: float, *, hflip: bool = False, vflip: bool = False
) -> Path:
    """Tag a film as one to be shown turned (counter-clockwise) and mirrored."""

    def prepare(out: Any, streams: list[Any]) -> Iterable[Any]:
        streams[0].set_display_rotation(degrees, hflip=hflip, vflip=vflip)
        return ()

    with scratch(f"upright{path.suffix}", clip) as upright:
        return remux(upright, path, prepare=prepare)


def with_extras(
    path: Path,
    clip: Clip,
    *,
    subtitles: Sequence[tuple[str, str, int]] = (),
    has_font: bool = False,
    has_cover: bool = False,
) -> Path:
    """Add subtitles (codec, language, disposition), a font and a cover to a Matroska film."""

    def prepare(out: Any, streams: list[Any]) -> Iterable[Any]:
        packets = []
        for codec, language, disposition in subtitles:
            stream = out.add_stream(codec)
            stream.codec_context.subtitle_header = ASS_HEADER
            stream.codec_context.time_base = Fraction(1, 1000)
            stream.metadata["language"] = language
            stream.metadata["title"] = f"in {language}"
            stream.disposition = disposition
            for number, (begin, end) in enumerate(((100, 500), (600, 1100))):
                text = f"{language} line {number}"
                if codec == "ass":
                    text = f"{number},0,Default,,0,0,0,,{{\\b1}}{text}"
                packet = av.Packet(text.encode())
                packet.stream, packet.time_base = stream, Fraction(1, 1000)
                packet.pts = packet.dts = begin
                packet.duration = end - begin
                packets.append(packet)
        if has_font:
            out.add_attachment("hand.ttf", "font/ttf", FONT)
        if has_cover:
            out.add_attachment("cover.jpg", "image/jpeg", jpeg(40, 30))
        return packets

    with scratch("plain.mkv", clip) as plain:
        return remux(plain, path, prepare=prepare)


def jpeg(width: int, height: int) -> bytes:
    """Make a photograph."""
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
    context.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(picture(5, width, height), "rgb24").reformat(
        format="yuvj420p"
    )
    packets = [*context.encode(frame), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def two_films(path: Path, first: Clip, second: Clip) -> Path:
    """Put two films side by side into one file; the first is the default one."""
    with (
        scratch(f"a{path.suffix}", first) as a,
        scratch(f"b{path.suffix}", second) as b,
        av.open(str(a)) as one,
        av.open(str(b)) as two,
        av.open(str(path), "w") as out,
    ):
        pairs = [
            (s, out.add_stream_from_template(s, opaque=True))
            for s in (*one.streams, *two.streams.video)
        ]
        for number, (old, new) in enumerate(pairs):
            is_default = number < len(one.streams)
            new.disposition = int(av.stream.Disposition.default) if is_default else 0
            new.metadata.update({k: v for k, v in old.metadata.items() if k == "language"})
        out.start_encoding()
        for film, chosen in ((one, pairs[: len(one.streams)]), (two, pairs[len(one.streams) :])):
            numbers = {old.index: new for old, new in chosen}
            for packet in film.demux([old for old, _ in chosen]):
                if packet.size:
                    packet.stream = numbers[packet.stream.index]
                    out.mux(packet)
    return path


def joined(path: Path, *clips: Clip) -> Path:
    """Join files byte by byte, as `copy /b` and camera cards do."""
    parts = []
    for clip in clips:
        with scratch(f"part{path.suffix}", clip) as part:
            parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return path


def packed_avi(path: Path, clip: Clip) -> Path:
    """Make an AVI as DivX 5 did: a B-picture shares a chunk with its P, an empty one follows.

    The number of bits of a clock tick in the empty picture is right for 25 pictures a second.
    """
    assert clip.rate == 25
    with scratch("loose.avi", clip) as loose, av.open(str(loose)) as film:
        chunks = [bytes(p) for p in film.demux(video=0) if p.size]
        with av.open(str(path), "w") as out:
            stream = out.add_stream_from_template(film.streams.video[0], opaque=True)
            packed = list(_pack(chunks))
            for number, chunk in enumerate(packed):
                packet = av.Packet(chunk)
                packet.stream, packet.time_base = stream, 1 / clip.rate
                packet.pts = packet.dts = number
                packet.duration = 1
                packet.is_keyframe = _coding_type(chunk) == 0
                out.mux(packet)
    return path


def _coding_type(chunk: bytes) -> int:
    """Return 0 for I, 1 for P, 2 for B."""
    return chunk[chunk.index(_VOP) + 4] >> 6


def _pack(chunks: Sequence[bytes]) -> Iterator[bytes]:
    empty_seconds = 0b01 << 6 | 0 << 5 | 1 << 4  # a P-picture, same second, marker
    at = 0
    while at < len(chunks):
        chunk = chunks[at]
        if at == 0:
            chunk = chunk.replace(_VOP, _PACKED_USER_DATA + _VOP, 1)
        if at + 1 < len(chunks) and _coding_type(chunks[at + 1]) == 2:
            yield chunk + chunks[at + 1]
            yield _VOP + bytes([empty_seconds, 0b0100_0000 | 0b0011_1111])
            at += 2
        else:
            yield chunk
            at += 1


@lru_cache(maxsize=8)
def _bars(width: int, height: int) -> Image:
    """Slanted bars with hard edges, twice as wide as the picture, grey."""
    y, x = np.mgrid[0:height, 0 : 2 * width]
    wave = np.sin(2 * np.pi * (7 * x / width + y / height))
    return np.asarray(110 + 70 * np.sign(wave), dtype=np.uint8)


def moving(moment: int, width: int, height: int, number: int) -> Image:
    """Draw bars that go 11 pixels in each moment, beneath the cells of ``number``; RGB."""
    at = 11 * moment % width
    image = np.repeat(_bars(width, height)[:, at : at + width, None], 3, axis=2)
    cell, tall = width // CELLS, max(8, height // 4)
    for bit in range(CELLS):
        image[:tall, bit * cell : (bit + 1) * cell] = 235 if number >> bit & 1 else 20
    return image


def woven(width: int, height: int, number: int, first_rows: int, apart: int) -> Image:
    """Draw a picture whose rows show moments ``apart`` from each other.

    Rows ``first_rows``, ``first_rows`` + 2 and so on show the earlier one.
    """
    image = moving(2 * number, width, height, number)
    later = moving(2 * number + apart, width, height, number)
    image[1 - first_rows :: 2] = later[1 - first_rows :: 2]
    return image


def telecined(width: int, height: int, number: int) -> Image:
    """Draw picture ``number`` of a 24 Hz film spread over 30 Hz: fields 2:3:2:3, top row first."""
    fields = [k for k in range(number + 2) for _ in range(2 + k % 2)]
    image = moving(2 * fields[2 * number], width, height, number)
    image[1::2] = moving(2 * fields[2 * number + 1], width, height, number)[1::2]
    return image


def film_of(path: Path, clip: Clip, draw: Callable[[int], Image], *, flag: str = "") -> Path:
    """Write a clip with pictures of one's own, sound included.

    Args:
        path: The film.
        clip: Size, rate, codec, colours and sound; its own pictures are not drawn.
        draw: Returns RGB picture ``number``.
        flag: ``tff`` or ``bff``: coded and flagged as interlaced, this field first.
    """
    from tests.support import synthetic

    with av.open(str(path), "w", format=_muxer(path)) as out:
        video = synthetic._add_video(out, clip)
        sounds = [(synthetic._add_sound(out, sound), sound) for sound in clip.sounds]
        out.start_encoding()
        for stream, sound in sounds:
            seconds = float(clip.num_frames / clip.rate)
            synthetic._mux_sound(out, stream, sound, clip.start, sound.seconds or seconds)
        base = video.codec_context.time_base
        frames = (_yuv(draw(n), clip, round((n / clip.rate + clip.start) / base), base)
                  for n in range(clip.num_frames))  # fmt: skip
        for frame in _flagged(frames, clip, base, flag):
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def _muxer(path: Path) -> str | None:
    return "dv" if path.suffix == ".dv" else None


def _yuv(image: Image, clip: Clip, pts: int, base: Fraction) -> Any:
    """Convert without mixing the rows of two fields: chroma is taken from every second row."""
    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
        format=clip.pixel_format, dst_colorspace="ITU601", interpolation="POINT"
    )
    frame.pts, frame.time_base = pts, base
    frame.duration = round(1 / clip.rate / base)
    return frame


def _flagged(frames: Iterator[Any], clip: Clip, base: Fraction, flag: str) -> Iterator[Any]:
    if not flag:
        yield from frames
        return
    graph = av.filter.Graph()
    source = graph.add(
        "buffer", video_size=f"{clip.width}x{clip.height}", pix_fmt=clip.pixel_format,
        time_base=f"{base.numerator}/{base.denominator}", colorspace="smpte170m", range="tv",
        frame_rate=f"{clip.rate.numerator}/{clip.rate.denominator}",
    )  # fmt: skip
    graph.link_nodes(
        source, graph.add("setfield", f"mode={flag}"), graph.add("buffersink")
    ).configure()
    for frame in frames:
        pts, duration = frame.pts, frame.duration
        frame.colorspace, frame.color_range = 6, 1
        graph.vpush(frame)
        pulled = graph.vpull()
        pulled.pts, pulled.time_base, pulled.duration = pts, base, duration
        yield pulled


def scaled_duration(path: Path, factor: float, clip: Clip) -> Path:
    """Write a Matroska film whose header promises ``factor`` times its length."""
    make_clip(path, clip)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3  # Duration, a float of 8 bytes
    length = np.frombuffer(bytes(data[at : at + 8]), ">f8")[0]
    data[at : at + 8] = np.array([length * factor], ">f8").tobytes()
    tag = b"DURATION"
    start = data.find(tag)
    while start >= 0:  # each track's own tag says it once more: hide it under another name
        data[start : start + len(tag)] = b"LENGTH_X"
        start = data.find(tag, start)
    path.write_bytes(bytes(data))
    return path


def long_avi_header(path: Path, clip: Clip) -> Path:
    """Write an AVI whose headers promise four times its pictures."""
    make_clip(path, clip)
    data = bytearray(path.read_bytes())
    at = data.index(b"avih") + 8 + 16
    data[at : at + 4] = (clip.num_frames * 4).to_bytes(4, "little")
    at = data.index(b"strh") + 8 + 32
    data[at : at + 4] = (clip.num_frames * 4).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    return path


def without_index(path: Path, clip: Clip) -> Path:
    """Write an MP4 whose index is missing, as when a camera loses power."""
    make_clip(path, clip)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    return path
