"""A decoder's picture becomes planes with a known meaning, and planes become pictures again.

The planes are the decoder's own memory wherever the format is planar YUV with 8 to 16 bits, so a
sample that nobody paints reaches the encoder as it was decoded. No face is known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from vidrestore.contracts import Frame, PixelLayout, Plane, RGBImage

UNSPECIFIED = 2
"""H.273 code of "unspecified" for matrix, primaries and transfer."""
FULL_RANGE, LIMITED_RANGE = int(ColorRange.JPEG), int(ColorRange.MPEG)

_EXACT = int(
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
"""The scaler's default darkens luma by one step at each trip between RGB and YUV; these do not."""
_FAST = int(Interpolation.BILINEAR)
_DIRECT = re.compile(r"yuv[ja]?(420|422|444)p(?:(9|10|12|14|16)le)?")
_PLANAR = re.compile(r"yuv(420|422|444)p(?:(\d+)le)?")
_CODED_BITS = (8, 9, 10, 12, 14, 16)


@dataclass(frozen=True, slots=True)
class _Matrix:
    """A way to weigh R, G and B into luma (ITU-T H.273, table 4)."""

    kr: float
    kb: float
    tag: int
    """H.273 code."""
    scaler: Colorspace
    """The scaler's own number for it."""


_BT709 = _Matrix(0.2126, 0.0722, 1, Colorspace.ITU709)
_BT601 = _Matrix(0.299, 0.114, 6, Colorspace.ITU601)
_BT2020 = _Matrix(0.2627, 0.0593, 9, Colorspace.BT2020)
_MATRICES: Mapping[int, _Matrix] = MappingProxyType(
    {
        1: _BT709,
        4: _Matrix(0.30, 0.11, 4, Colorspace.FCC),
        5: _BT601,
        6: _BT601,
        7: _Matrix(0.212, 0.087, 7, Colorspace.SMPTE240M),
        9: _BT2020,
        10: _BT2020,  # constant luminance: the scaler knows only the other kind
    }
)


def _matrix(tag: int, width: int, height: int) -> _Matrix:
    """Obey the tag; without a usable one, SD is BT.601 and anything larger BT.709."""
    known = _MATRICES.get(tag)
    if known is not None:
        return known
    return _BT709 if width >= 1280 or height > 576 else _BT601


def _matrix_of(layout: PixelLayout) -> _Matrix:
    for matrix in _MATRICES.values():
        if (matrix.kr, matrix.kb) == (layout.kr, layout.kb):
            return matrix
    raise ValueError(f"no matrix has kr={layout.kr} and kb={layout.kb}")


def matrix_tag(layout: PixelLayout) -> int:
    """Return the H.273 code of the matrix of a layout (1, 4, 6, 7 or 9)."""
    return _matrix_of(layout).tag


def is_rgb(pixel_format: str) -> bool:
    """Tell whether a decoder's format has no YUV matrix of its own (RGB, palette, XYZ)."""
    description = VideoFormat(pixel_format)
    return description.is_rgb or description.has_palette or pixel_format.startswith("xyz")


def _is_gray(description: VideoFormat) -> bool:
    values = [component for component in description.components if not component.is_alpha]
    return len(values) == 1 and not description.has_palette


def bits_of(pixel_format: str) -> int:
    """Return the bits of the deepest component of a decoder's format."""
    return max(component.bits for component in VideoFormat(pixel_format).components)


def planar_name(pixel_format: str) -> str:
    """Name the planar YUV format in which pictures of a decoder's format travel.

    4:2:0, 4:2:2 and 4:4:4 stay as they are, full-range ``yuvj…`` loses its letter (the range is
    said elsewhere) and an alpha plane is left out. RGB becomes 4:4:4. What no encoder takes
    becomes 4:2:0: gray (the luma is kept), 4:1:0, 4:4:0, and the 4:1:1 of NTSC DV tapes.

    >>> planar_name("yuvj422p"), planar_name("nv12"), planar_name("yuv411p"), planar_name("bgr24")
    ('yuv422p', 'yuv420p', 'yuv420p', 'yuv444p')
    """
    description = VideoFormat(pixel_format, 64, 64)
    chroma = (description.chroma_width(), description.chroma_height())
    if is_rgb(pixel_format):
        sampling = "444"
    elif _is_gray(description):
        sampling = "420"
    else:
        sampling = {(64, 64): "444", (32, 64): "422"}.get(chroma, "420")
    bits = min((b for b in _CODED_BITS if b >= bits_of(pixel_format)), default=16)
    return f"yuv{sampling}p" if bits == 8 else f"yuv{sampling}p{bits}le"


def is_planar(name: str) -> bool:
    """Tell whether pictures may travel in this format."""
    return _PLANAR.fullmatch(name) is not None


def sampling_and_bits(name: str) -> tuple[str, int]:
    """Take the name of a planar format apart.

    >>> sampling_and_bits("yuv422p10le")
    ('422', 10)
    """
    match = _PLANAR.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is not a planar YUV format")
    return match[1], int(match[2] or 8)


def _layout(
    pixel_format: str, colorspace: int, color_range: int, size: tuple[int, int]
) -> PixelLayout:
    name = planar_name(pixel_format)
    description = VideoFormat(name, 64, 64)
    matrix = _matrix(colorspace, *size)
    if is_rgb(pixel_format):  # converted here, to limited range
        is_full = False
    elif _is_gray(VideoFormat(pixel_format)):
        is_full = color_range != LIMITED_RANGE
    else:
        is_full = color_range == FULL_RANGE or pixel_format.startswith("yuvj")
    return PixelLayout(
        name=name,
        bits=description.components[0].bits,
        chroma_shift_x=(64 // description.chroma_width()).bit_length() - 1,
        chroma_shift_y=(64 // description.chroma_height()).bit_length() - 1,
        is_full_range=is_full,
        kr=matrix.kr,
        kb=matrix.kb,
    )


def _samples(plane: VideoPlane, bits: int) -> Plane:
    """View a plane as an array of shape (h, w) without copying; padding columns are left out."""
    flat: Plane = np.frombuffer(memoryview(plane), np.dtype("u1" if bits == 8 else "<u2"))
    rows = flat.reshape(plane.height, -1)[:, : plane.width]
    return rows if plane.line_size > 0 else rows[::-1]  # bottom-up pictures


def read_only_planes(picture: VideoFrame, bits: int) -> tuple[Plane, Plane, Plane]:
    """View Y, U and V of a planar picture; the views keep the decoder's buffers alive."""
    views = tuple(_samples(picture.planes[i], bits) for i in range(3))
    for view in views:
        view.flags.writeable = False
    return (views[0], views[1], views[2])


def picture_of(frame: Frame, width: int | None = None, height: int | None = None) -> VideoFrame:
    """Copy a frame's planes into a picture for the encoder, one copy for each plane.

    Args:
        frame: Any frame, painted or not.
        width: Columns of the picture, at most one more than the frame has.
        height: Rows, likewise; the last column and row are repeated into the surplus.
    """
    g, layout = frame.geometry, frame.layout
    picture = VideoFrame(width or g.width, height or g.height, layout.name)
    picture.colorspace = _matrix_of(layout).tag
    picture.color_range = FULL_RANGE if layout.is_full_range else LIMITED_RANGE
    for source, plane in zip(frame.planes, picture.planes, strict=True):
        target = _samples(plane, layout.bits)
        rows, columns = source.shape
        target[:rows, :columns] = source
        target[:rows, columns:] = source[:, -1:]
        target[rows:] = target[rows - 1]
    return picture


class PictureConverter:
    """Changes size, format, matrix or range of finished pictures. One thread only."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def convert(
        self,
        picture: VideoFrame,
        layout: PixelLayout,
        target: PixelLayout,
        size: tuple[int, int],
        name: str,
    ) -> VideoFrame:
        """Return a picture in another size, format, matrix or range.

        Args:
            picture: As `picture_of` makes it.
            layout: What its numbers mean.
            target: What the numbers of the result shall mean, but for its format.
            size: New (width, height).
            name: FFmpeg's name of the new planar format.
        """
        return self._scaler.reformat(
            picture,
            *size,
            name,
            src_colorspace=_matrix_of(layout).scaler,
            dst_colorspace=_matrix_of(target).scaler,
            src_color_range=FULL_RANGE if layout.is_full_range else LIMITED_RANGE,
            dst_color_range=FULL_RANGE if target.is_full_range else LIMITED_RANGE,
            interpolation=_EXACT,
            threads=1,
        )


def rgb_of(frame: Frame, width: int, height: int) -> RGBImage:
    """Show a frame's planes in RGB, painted ones too, where ``render_rgb`` shows the decoder's.

    Args:
        frame: Any frame.
        width: Of the result, which is oriented as the frame is stored.
        height: Likewise.
    """
    return _render(VideoReformatter(), picture_of(frame), frame.layout, width, height, _EXACT)


def _render(
    scaler: VideoReformatter,
    picture: VideoFrame,
    layout: PixelLayout,
    width: int,
    height: int,
    interpolation: int = _FAST,
) -> RGBImage:
    rgb = scaler.reformat(
        picture,
        width,
        height,
        "rgb24",
        src_colorspace=_matrix_of(layout).scaler,
        src_color_range=FULL_RANGE if layout.is_full_range else LIMITED_RANGE,
        interpolation=interpolation,
        threads=1,
    )
    return rgb.to_ndarray()  # type: ignore[return-value]  # rgb24 is uint8


class PictureReader:
    """Takes decoded pictures apart. Two threads at most: one reads, one renders."""

    def __init__(self) -> None:
        self._converting = VideoReformatter()
        self._rendering = VideoReformatter()
        self._layouts: dict[tuple[str, int, int, int, int], PixelLayout] = {}

    def read(
        self, picture: VideoFrame
    ) -> tuple[tuple[Plane, Plane, Plane], PixelLayout, Callable[[int, int], RGBImage]]:
        """Return the planes (read-only), what they mean, and how to show them in RGB."""
        name, size = picture.format.name, (picture.width, picture.height)
        key = (name, picture.colorspace, picture.color_range, *size)
        layout = self._layouts.get(key)
        if layout is None:
            layout = _layout(name, picture.colorspace, picture.color_range, size)
            self._layouts[key] = layout
        if _DIRECT.fullmatch(name) is None:
            picture = self._to_planar(picture, layout)
        planes = read_only_planes(picture, layout.bits)
        return planes, layout, partial(_render, self._rendering, picture, layout)

    def _to_planar(self, picture: VideoFrame, layout: PixelLayout) -> VideoFrame:
        if _is_gray(picture.format):
            return self._gray_to_planar(picture, layout)
        comes_from_rgb = is_rgb(picture.format.name)
        space = _matrix_of(layout).scaler
        full = FULL_RANGE if layout.is_full_range else LIMITED_RANGE
        return self._converting.reformat(
            picture,
            format=layout.name,
            src_colorspace=None if comes_from_rgb else space,
            dst_colorspace=space,
            src_color_range=None if comes_from_rgb else full,
            dst_color_range=full,
            interpolation=_EXACT,
            threads=1,
        )

    def _gray_to_planar(self, picture: VideoFrame, layout: PixelLayout) -> VideoFrame:
        """Keep the luma as it is and add colourless chroma."""
        plain = "gray" if layout.bits == 8 else f"gray{layout.bits}le"
        if picture.format.name != plain:
            picture = self._converting.reformat(picture, format=plain, threads=1)
        planar = VideoFrame(picture.width, picture.height, layout.name)
        _samples(planar.planes[0], layout.bits)[...] = _samples(picture.planes[0], layout.bits)
        for chroma in planar.planes[1:]:
            _samples(chroma, layout.bits)[...] = 1 << (layout.bits - 1)
        return planar
