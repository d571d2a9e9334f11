"""Pictures for tests: comparing them with numbers, and making frames of any layout from them.

The conversion here is written out anew, in float64 and for whole pictures, so that it can stand
against the program's own.
"""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import Frame, FrameGeometry, PixelLayout, Plane, RGBImage

SUBSAMPLING = {"444": (0, 0), "422": (1, 0), "420": (1, 1), "411": (2, 0)}
MATRICES = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}


def assert_images_close(
    actual: npt.ArrayLike,
    expected: npt.ArrayLike,
    *,
    max_abs: float,
    mean_abs: float | None = None,
    peak: float = 255.0,
    what: str = "images",
) -> None:
    """Compare two arrays of one shape; on failure say how far apart they are, and where."""
    a, b = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}"
    difference = np.abs(a - b)
    assert np.isfinite(difference).all(), f"{what}: not finite"
    worst = np.unravel_index(difference.argmax(), difference.shape)
    psnr = 10 * np.log10(peak**2 / max(float(np.square(difference).mean()), 1e-12))
    message = (
        f"{what}: max {difference.max():.3f} at {tuple(int(i) for i in worst)} "
        f"({a[worst]:.3f} against {b[worst]:.3f}), mean {difference.mean():.4f}, "
        f"PSNR {psnr:.2f} dB; allowed max {max_abs}, mean {mean_abs}"
    )
    assert difference.max() <= max_abs, message
    assert mean_abs is None or difference.mean() <= mean_abs, message


def pixel_layout(
    subsampling: str = "420",
    bits: int = 8,
    *,
    is_full_range: bool = False,
    matrix: str = "601",
) -> PixelLayout:
    """Describe a planar format, e.g. ``pixel_layout("422", 10, matrix="709")``."""
    shift_x, shift_y = SUBSAMPLING[subsampling]
    kr, kb = MATRICES[matrix]
    suffix = "" if bits == 8 else f"{bits}le"
    name = f"yuv{subsampling}p{suffix}"
    return PixelLayout(name, bits, shift_x, shift_y, is_full_range, kr, kb)


def yuv444_from_rgb(rgb: npt.ArrayLike, layout: PixelLayout) -> npt.NDArray[np.float64]:
    """Convert (..., 3) RGB 0..255 to code values of Y, U, V, neither subsampled nor rounded."""
    r, g, b = np.moveaxis(np.asarray(rgb, dtype=np.float64) / 255, -1, 0)
    y = layout.kr * r + (1 - layout.kr - layout.kb) * g + layout.kb * b
    pb = (b - y) / 2 / (1 - layout.kb)
    pr = (r - y) / 2 / (1 - layout.kr)
    scale = 2.0 ** (layout.bits - 8)
    if layout.is_full_range:
        top = 2.0**layout.bits - 1
        return np.stack([top * y, top * pb + 128 * scale, top * pr + 128 * scale], axis=-1)
    return scale * np.stack([219 * y + 16, 224 * pb + 128, 224 * pr + 128], axis=-1)


def rgb_from_yuv444(yuv: npt.ArrayLike, layout: PixelLayout) -> npt.NDArray[np.float64]:
    """Convert (..., 3) code values to RGB 0..255, neither rounded nor clipped."""
    y, u, v = np.moveaxis(np.asarray(yuv, dtype=np.float64), -1, 0)
    scale = 2.0 ** (layout.bits - 8)
    if layout.is_full_range:
        top = 2.0**layout.bits - 1
        y, pb, pr = y / top, (u - 128 * scale) / top, (v - 128 * scale) / top
    else:
        y, pb, pr = (y / scale - 16) / 219, (u / scale - 128) / 224, (v / scale - 128) / 224
    r = y + 2 * (1 - layout.kr) * pr
    b = y + 2 * (1 - layout.kb) * pb
    g = (y - layout.kr * r - layout.kb * b) / (1 - layout.kr - layout.kb)
    return 255 * np.stack([r, g, b], axis=-1)


def make_frame(
    rgb: npt.ArrayLike,
    layout: PixelLayout | None = None,
    *,
    turn: tuple[int, int, int, int] = (1, 0, 0, 1),
    pixel_aspect: Fraction = Fraction(1),
    tick: int = 0,
) -> Frame:
    """Make a frame that shows a picture of shape (H, W, 3), RGB 0..255, in stored orientation.

    Chroma is averaged over the width it stands for, about its place: on the left luma column,
    half-way between luma rows. The planes are read-only, as a decoder's are.
    """
    layout = layout or pixel_layout()
    yuv = yuv444_from_rgb(rgb, layout)
    planes = (
        _codes(yuv[..., 0], layout),
        _codes(_subsample(yuv[..., 1], layout), layout),
        _codes(_subsample(yuv[..., 2], layout), layout),
    )
    return frame_from_planes(planes, layout, turn=turn, pixel_aspect=pixel_aspect, tick=tick)


def frame_from_planes(
    planes: tuple[Plane, Plane, Plane],
    layout: PixelLayout,
    *,
    turn: tuple[int, int, int, int] = (1, 0, 0, 1),
    pixel_aspect: Fraction = Fraction(1),
    tick: int = 0,
) -> Frame:
    """Wrap planes in a frame of 25 pictures a second."""
    height, width = planes[0].shape
    for plane in planes:
        plane.flags.writeable = False

    def render_rgb(to_width: int, to_height: int) -> RGBImage:
        picture = picture_of(planes, layout)
        return cv2.resize(picture, (to_width, to_height), interpolation=cv2.INTER_AREA)

    return Frame(
        planes=planes,
        pts=tick,
        time_base=Fraction(1, 25),
        duration=1,
        seconds=tick / 25,
        tick=tick,
        layout=layout,
        geometry=FrameGeometry(width, height, turn, pixel_aspect),
        render_rgb=render_rgb,
    )


def picture_of(planes: tuple[Plane, Plane, Plane], layout: PixelLayout) -> RGBImage:
    """Show planes as RGB, chroma simply repeated; for looking at, not for measuring."""
    height, width = planes[0].shape
    repeat_x, repeat_y = 1 << layout.chroma_shift_x, 1 << layout.chroma_shift_y
    u, v = (p.repeat(repeat_y, 0).repeat(repeat_x, 1)[:height, :width] for p in planes[1:])
    rgb = rgb_from_yuv444(np.stack([planes[0], u, v], axis=-1), layout)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def textured_picture(width: int, height: int, seed: int = 0, smooth_px: float = 2.0) -> RGBImage:
    """Make a colourful picture with detail of about ``smooth_px`` pixels, within 30..225."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(height, width, 3))
    for sigma, weight in ((smooth_px, 2.0), (smooth_px * 8, 20.0)):
        noise += weight * sigma * cv2.GaussianBlur(rng.normal(size=noise.shape), (0, 0), sigma)
    fine = cv2.GaussianBlur(noise, (0, 0), smooth_px)
    low, high = np.quantile(fine, (0.001, 0.999))
    return np.clip(30 + 195 * (fine - low) / (high - low), 30, 225).round().astype(np.uint8)


def _codes(plane: npt.NDArray[np.float64], layout: PixelLayout) -> Plane:
    kind = np.uint8 if layout.bits == 8 else np.uint16
    return np.clip(np.rint(plane), 0, 2**layout.bits - 1).astype(kind)


def _subsample(channel: npt.NDArray[np.float64], layout: PixelLayout) -> npt.NDArray[np.float64]:
    if layout.chroma_shift_y:
        height = channel.shape[0]
        rows = np.pad(channel, ((0, height % 2), (0, 0)), mode="edge")
        channel = (rows[0::2] + rows[1::2]) / 2
    columns = 1 << layout.chroma_shift_x
    if columns == 1:
        return channel
    reach = columns - 1
    wide = np.pad(channel, ((0, 0), (reach, reach)), mode="reflect")
    taps = columns - np.abs(np.arange(-reach, reach + 1))
    width = channel.shape[1]
    low = sum(tap * wide[:, k : k + width] for k, tap in enumerate(taps)) / taps.sum()
    return np.asarray(low)[:, ::columns]
