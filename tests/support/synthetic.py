"""Makes small clips with PyAV, so that no test needs a file from elsewhere.

Every picture carries its number as eight black or white cells along the top, which survive lossy
coding: lost, doubled or swapped frames are seen by reading the pictures back. The sound is a quiet
noise with a beep at the first fifth of each second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

CELLS = 8
"""Numbers reach from 0 to 255."""


@dataclass(frozen=True)
class Sound:
    """A track of sound."""

    codec: str = "aac"
    rate: int = 44100
    layout: str = "stereo"
    seconds: float | None = None
    """None: as long as the pictures."""
    start: Fraction = Fraction(0)
    gap: tuple[float, float] | None = None
    """Between these seconds the packets are missing."""
    language: str | None = None
    title: str | None = None
    disposition: int | None = None


@dataclass(frozen=True)
class Clip:
    """A recipe."""

    width: int = 160
    height: int = 96
    num_frames: int = 25
    rate: Fraction = Fraction(25)
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "crf": "10"})
    times: Sequence[Fraction] | None = None
    """Seconds of each picture; None: the regular grid."""
    start: Fraction = Fraction(0)
    """Added to every time of pictures and sound."""
    time_base: Fraction | None = None
    sounds: tuple[Sound, ...] = ()
    rotation: float | None = None
    """Degrees counter-clockwise, as PyAV counts."""
    pixel_aspect: Fraction | None = None
    colour: tuple[int, int, int, int] | None = None
    """Matrix, primaries, transfer, range."""
    interlaced: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    chapters: tuple[tuple[float, float, str], ...] = ()
    cover: bool = False
    subtitles: tuple[tuple[float, float, str], ...] = ()
    """Begin, end, text: SubRip in Matroska, mov_text in MP4 and MOV."""
    language: str | None = None
    container_options: Mapping[str, str] = field(default_factory=dict)


def picture(number: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Draw picture ``number``: its cells on top of a gradient that moves, RGB."""
    y, x = np.mgrid[0:height, 0:width]
    red = 128 + 80 * np.sin((x + 3 * number) / 17)
    green = 128 + 80 * np.cos((y + number) / 13)
    blue = 90 + 60 * np.sin((x + y) / 29)
    image = np.stack([red, green, blue], axis=-1).astype(np.uint8)
    cell, tall = width // CELLS, max(8, height // 4)
    for bit in range(CELLS):
        image[:tall, bit * cell : (bit + 1) * cell] = 235 if number >> bit & 1 else 20
    return image


def drawn_number(image: npt.NDArray[Any]) -> int:
    """Read the number back from a luma plane (8 bit or more) or an RGB picture."""
    luma = image.mean(axis=-1) if image.ndim == 3 else image.astype(float)
    height, width = luma.shape
    cell, tall = width // CELLS, max(8, height // 4)
    means = [
        luma[tall // 4 : tall * 3 // 4, bit * cell + cell // 4 : bit * cell + cell * 3 // 4].mean()
        for bit in range(CELLS)
    ]
    middle = 110 * (1 if luma.max() < 256 else luma.max() / 235)
    return sum(1 << bit for bit, mean in enumerate(means) if mean > middle)


def sound_wave(sound: Sound, seconds: float) -> npt.NDArray[np.float32]:
    """Make the samples of a track, shape (channels, n), -1..1."""
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[sound.layout]
    time = np.arange(round(seconds * sound.rate)) / sound.rate
    rng = np.random.default_rng(7)
    beep = 0.5 * np.sin(2 * np.pi * 880 * time) * (time % 1 < 0.2)
    noise = 0.01 * rng.standard_normal((channels, time.size))
    return (beep + noise).astype(np.float32)


def make_clip(path: Path, clip: Clip = Clip()) -> Path:
    """Write the clip and return its path; the suffix chooses the container."""
    seconds = float(clip.num_frames / clip.rate)
    with av.open(
        str(path), "w", container_options={"movie_timescale": "90000", **clip.container_options}
    ) as out:
        video = _add_video(out, clip)
        sounds = [(_add_sound(out, sound), sound) for sound in clip.sounds]
        subtitles = _add_subtitles(out, clip)
        cover = _add_cover(out, clip)
        out.metadata.update(clip.tags)
        if clip.chapters:
            out.set_chapters([_chapter(i, *c) for i, c in enumerate(clip.chapters)])
        out.start_encoding()
        if cover is not None:
            _mux_cover(out, cover)
        for stream, sound in sounds:
            _mux_sound(out, stream, sound, clip.start, sound.seconds or seconds)
        _mux_video(out, video, clip)
        for begin, end, text in clip.subtitles:
            packet = av.Packet(_subtitle_bytes(text, subtitles))
            packet.stream, packet.time_base = subtitles, Fraction(1, 1000)
            packet.pts = packet.dts = round(begin * 1000)
            packet.duration = round((end - begin) * 1000)
            out.mux(packet)
    return path


def _add_video(out: Any, clip: Clip) -> Any:
    video = out.add_stream(clip.codec, rate=clip.rate, options=dict(clip.options))
    context = video.codec_context
    video.width, video.height, video.pix_fmt = clip.width, clip.height, clip.pixel_format
    context.time_base = clip.time_base or Fraction(1, 90000)
    if clip.codec in ("mpeg2video", "mpeg1video", "mpeg4", "mjpeg", "dvvideo", "wmv2"):
        context.time_base = 1 / clip.rate
        context.qmin = context.qmax = 2
    context.flags |= int(av.codec.context.Flags.frame_duration)
    if clip.interlaced:
        context.flags |= int(av.codec.context.Flags.interlaced_dct)
        context.field_order = 2
    if clip.pixel_aspect is not None:
        context.sample_aspect_ratio = clip.pixel_aspect
    if clip.colour is not None:
        context.colorspace, context.color_primaries = clip.colour[0], clip.colour[1]
        context.color_trc, context.color_range = clip.colour[2], clip.colour[3]
    if clip.rotation is not None:
        video.set_display_rotation(clip.rotation)
    if clip.language:
        video.metadata["language"] = clip.language
    context.open()
    assert not context.options, context.options
    return video


def _add_sound(out: Any, sound: Sound) -> Any:
    bit_rate = 12200 if "amr" in sound.codec else 128_000
    # FFmpeg's own encoder of Vorbis calls itself experimental
    options = {"strict": "experimental"} if sound.codec == "vorbis" else {}
    stream = out.add_stream(
        sound.codec, rate=sound.rate, options=options, layout=sound.layout, bit_rate=bit_rate
    )
    if sound.language:
        stream.metadata["language"] = sound.language
    if sound.title:
        stream.metadata["title"] = sound.title
    if sound.disposition is not None:
        stream.disposition = sound.disposition
    stream.codec_context.open()
    return stream


def _add_subtitles(out: Any, clip: Clip) -> Any:
    if not clip.subtitles:
        return None
    stream = out.add_stream("srt" if out.format.name == "matroska" else "mov_text")
    stream.codec_context.subtitle_header = (
        b"[Script Info]\r\n[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize\r\n"
        b"Style: Default,Arial,16\r\n[Events]\r\nFormat: Text\r\n"
    )
    stream.codec_context.time_base = Fraction(1, 1000)
    return stream


def _subtitle_bytes(text: str, stream: Any) -> bytes:
    raw = text.encode()
    if stream.codec_context.name == "mov_text":
        return len(raw).to_bytes(2, "big") + raw
    return raw


def _add_cover(out: Any, clip: Clip) -> Any:
    if not clip.cover:
        return None
    stream = out.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
    stream.disposition = int(av.stream.Disposition.attached_pic)
    return stream


def _mux_cover(out: Any, cover: Any) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 99, np.uint8), "rgb24")
    frame.pts, frame.time_base = 0, Fraction(1)
    out.mux(cover.encode(frame))
    out.mux(cover.encode(None))


def _chapter(number: int, begin: float, end: float, title: str) -> Any:
    return {
        "id": number,
        "start": round(begin * 1000),
        "end": round(end * 1000),
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def _mux_sound(out: Any, stream: Any, sound: Sound, start: Fraction, seconds: float) -> None:
    wave = sound_wave(sound, seconds)
    context = stream.codec_context
    size = context.frame_size or 1024
    resampler = av.AudioResampler(context.format.name, sound.layout, sound.rate, size)
    offset = round((start + sound.start) * sound.rate)
    packets = []
    for at in range(0, wave.shape[1], 4096):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(wave[:, at : at + 4096]), "fltp", sound.layout
        )
        frame.rate, frame.pts, frame.time_base = sound.rate, offset + at, Fraction(1, sound.rate)
        packets += [p for f in resampler.resample(frame) for p in stream.encode(f)]
    packets += [p for f in resampler.resample(None) for p in stream.encode(f)]
    packets += stream.encode(None)
    for packet in packets:
        at = float(packet.pts * packet.time_base)
        if sound.gap is None or not sound.gap[0] <= at < sound.gap[1]:
            out.mux(packet)


def _mux_video(out: Any, video: Any, clip: Clip) -> None:
    base = video.codec_context.time_base
    times = clip.times or [Fraction(n) / clip.rate for n in range(clip.num_frames)]
    ends = [*times[1:], times[-1] + 1 / clip.rate]
    for number, (time, end) in enumerate(zip(times, ends, strict=True)):
        image = picture(number, clip.width, clip.height)
        frame = av.VideoFrame.from_ndarray(image, "rgb24")
        frame.pts, frame.time_base = round((time + clip.start) / base), base
        frame.duration = round((end - time) / base)
        out.mux(video.encode(frame))
    out.mux(video.encode(None))


def truncate(path: Path, share: float) -> Path:
    """Cut a file off after that share of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
    return path


def corrupt(path: Path, first: float, last: float, every: int = 97) -> Path:
    """Flip single bytes between two shares of a file."""
    data = bytearray(path.read_bytes())
    for at in range(round(len(data) * first), round(len(data) * last), every):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    return path
