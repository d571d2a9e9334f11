"""Makes films of two fields a picture, as tapes give them, and knows the truth behind them.

A *moment* is what a camera saw at one time: a whole picture. Luma only, shape (h, w), uint8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.filter import Graph

Luma = npt.NDArray[np.uint8]

PAL = Fraction(25)
NTSC = Fraction(30000, 1001)
X264 = {"preset": "ultrafast", "crf": "16"}


def moments(
    number: int,
    width: int = 352,
    height: int = 576,
    *,
    speed: float = 4.0,
    noise: float = 0.0,
    seed: int = 1,
) -> list[Luma]:
    """Pan over a soft texture while a face-sized disc crosses it; ``noise`` as a tape has it."""
    rng = np.random.default_rng(seed)
    reach = round(speed * number) + 64
    texture = cv2.GaussianBlur(rng.standard_normal((height, width + reach)), (0, 0), 3)
    texture = (120 + 45 * texture / texture.std()).astype(np.float32)
    y, x = np.mgrid[0:height, 0:width]
    result = []
    for n in range(number):
        shift = np.array([[1, 0, -speed * n], [0, 1, 0]], dtype=np.float64)
        image = cv2.warpAffine(texture, shift, (width, height), borderMode=cv2.BORDER_REFLECT)
        centre = width * (0.3 + 0.4 * np.sin(speed * n / 40))
        disc = np.hypot(x - centre, y - height / 2) < min(width, height) / 6
        image = np.where(disc, 200 + 0.1 * (image - 120), image)
        if noise:  # a tape's noise is drawn out along the rows
            grain = cv2.GaussianBlur(
                rng.standard_normal((height, width)), (0, 0), sigmaX=1.6, sigmaY=0.01
            )
            image = image + noise * grain / grain.std()
        result.append(np.clip(image, 16, 235).astype(np.uint8))
    return result


def weave(fields: Sequence[Luma], order: str) -> list[Luma]:
    """Put every two moments into one picture."""
    pictures = []
    for first, second in zip(fields[0::2], fields[1::2], strict=True):
        picture = first.copy()
        rows = slice(1, None, 2) if order == "top" else slice(0, None, 2)
        picture[rows] = second[rows]
        pictures.append(picture)
    return pictures


def pull_down(film: Sequence[Luma]) -> list[Luma]:
    """Spread every four pictures of a film over five, as NTSC telecine does."""
    pictures = []
    for a, b, c, d in zip(film[0::4], film[1::4], film[2::4], film[3::4], strict=True):
        pictures += [a, b, *weave([b, c], "top"), *weave([c, d], "top"), d]
    return pictures


@dataclass(frozen=True)
class Tape:
    """How a film is stored."""

    codec: str = "libx264"
    flag: str | None = None
    """``top`` or ``bottom``: the pictures are coded and flagged as interlaced; None: as whole."""
    rate: Fraction = PAL
    pixel_format: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    quantiser: int | None = None
    times: Sequence[Fraction] | None = None
    container: str | None = None
    colour: tuple[int, int, int, int] | None = None
    pixel_aspect: Fraction | None = None
    rotation: float | None = None


def write_tape(path: Path, pictures: Sequence[Luma], tape: Tape = Tape()) -> Path:
    """Write gray pictures in order and return the path."""
    height, width = pictures[0].shape
    base = 1 / tape.rate if tape.times is None else Fraction(1, 90000)
    with av.open(str(path), "w", format=tape.container) as out:
        options = dict(X264 if tape.codec == "libx264" else {}) | dict(tape.options)
        video = out.add_stream(tape.codec, rate=tape.rate, options=options)
        context = video.codec_context
        video.width, video.height, video.pix_fmt = width, height, tape.pixel_format
        context.time_base = base
        if tape.quantiser:
            context.qmin = context.qmax = tape.quantiser
        if tape.colour:
            context.colorspace, context.color_primaries = tape.colour[0], tape.colour[1]
            context.color_trc, context.color_range = tape.colour[2], tape.colour[3]
        if tape.pixel_aspect:
            context.sample_aspect_ratio = tape.pixel_aspect
        if tape.rotation:
            video.set_display_rotation(tape.rotation)
        if tape.flag and tape.codec != "dvvideo":
            context.flags |= int(av.codec.context.Flags.interlaced_dct)
            context.field_order = 2 if tape.flag == "top" else 3
        chain = _flagging(tape, width, height, base) if tape.flag else None
        for number, luma in enumerate(pictures):
            picture = _picture(luma, tape.pixel_format)
            time = Fraction(number) / tape.rate if tape.times is None else tape.times[number]
            picture.pts, picture.time_base = round(time / base), base
            if chain is not None:
                chain.vpush(picture)
                picture = chain.vpull()
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
    return path


def _flagging(tape: Tape, width: int, height: int, base: Fraction) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat(tape.pixel_format), time_base=base
    )
    mode = "tff" if tape.flag == "top" else "bff"
    graph.link_nodes(source, graph.add("setfield", mode), graph.add("buffersink")).configure()
    return graph


def _picture(luma: Luma, pixel_format: str) -> av.VideoFrame:
    """Set the luma as it is, without colour."""
    height, width = luma.shape
    picture = av.VideoFrame(width, height, pixel_format)
    for number, plane in enumerate(picture.planes):
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
        rows[...] = 128
        if number == 0:
            rows[:, :width] = luma
    return picture


def psnr(found: npt.NDArray[np.generic], truth: Luma) -> float:
    """Return the likeness of two pictures in dB."""
    error = float(np.mean((found.astype(float) - truth.astype(float)) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)
