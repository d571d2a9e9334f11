"""From the numbers in YUV planes to RGB and back; not subsampling, which `warping` knows.

The formulas are those of ITU-T H.273 (section 8.3, MatrixCoefficients and VideoFullRangeFlag),
which are those of ITU-R BT.601 and BT.709 for their values of Kr and Kb. RGB means the film's own
gamma-coded R'G'B', 0..255; nothing here touches gamma or primaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import PixelLayout, Plane, RGBImage

FloatPlane = npt.NDArray[np.float32]
"""One channel, shape (H, W), float32, in code values of the film: 0..2^bits-1, not rounded."""


def yuv_from_rgb_matrix(layout: PixelLayout) -> npt.NDArray[np.float64]:
    """Return the (3, 4) transform from R, G, B (0..255) and 1 to code values of Y, U, V."""
    kr, kb = layout.kr, layout.kb
    luma = np.array([kr, 1 - kr - kb, kb])
    u = (np.array([0, 0, 1]) - luma) / (2 * (1 - kb))
    v = (np.array([1, 0, 0]) - luma) / (2 * (1 - kr))
    step = 1 << (layout.bits - 8)
    if layout.is_full_range:
        luma_span = chroma_span = (1 << layout.bits) - 1
        black = 0
    else:
        luma_span, chroma_span, black = 219 * step, 224 * step, 16 * step
    neutral = 128 * step
    return np.column_stack(
        [
            np.stack([luma * luma_span, u * chroma_span, v * chroma_span]) / 255,
            [black, neutral, neutral],
        ]
    )


def rgb_from_yuv_matrix(layout: PixelLayout) -> npt.NDArray[np.float64]:
    """Return the (3, 4) transform from code values of Y, U, V and 1 to R, G, B (0..255)."""
    forward = yuv_from_rgb_matrix(layout)
    linear = np.linalg.inv(forward[:, :3])
    return np.column_stack([linear, -linear @ forward[:, 3]])


def rgb_from_yuv(y: FloatPlane, u: FloatPlane, v: FloatPlane, layout: PixelLayout) -> RGBImage:
    """Convert channels of one size to a picture, rounded to the nearest of 0..255.

    Red needs no U and blue no V, so four weighted sums do it, of which the last for each channel
    rounds and saturates: five times as fast as a 3×3 product of float pixels.
    """
    (ry, _, rv, r0), (gy, gu, gv, g0), (by, bu, _, b0) = rgb_from_yuv_matrix(layout).tolist()
    red = cv2.addWeighted(y, ry, v, rv, r0, dtype=cv2.CV_8U)
    green_chroma = cv2.addWeighted(u, gu, v, gv, g0)
    green = cv2.addWeighted(y, gy, green_chroma, 1, 0, dtype=cv2.CV_8U)
    blue = cv2.addWeighted(y, by, u, bu, b0, dtype=cv2.CV_8U)
    picture: npt.NDArray[Any] = cv2.merge([red, green, blue])
    return picture


def channel_from_rgb(rgb: Sequence[Plane], row: npt.NDArray[np.float64]) -> FloatPlane:
    """Compute one of Y, U and V.

    Args:
        rgb: The channels R, G and B, each of shape (H, W), uint8 or float32, 0..255.
        row: The channel's row of `yuv_from_rgb_matrix`, shape (4,).

    Returns:
        Shape (H, W), float32, in code values, neither rounded nor clipped.
    """
    r, g, b, offset = row.tolist()
    partial = cv2.addWeighted(rgb[0], r, rgb[1], g, offset, dtype=cv2.CV_32F)
    channel: npt.NDArray[Any] = cv2.addWeighted(partial, 1, rgb[2], b, 0, dtype=cv2.CV_32F)
    return channel


def colourfulness(rgb: npt.NDArray[Any], layout: PixelLayout) -> npt.NDArray[np.float64]:
    """Measure how far each pixel is from grey.

    Args:
        rgb: Shape (..., 3), 0..255.
        layout: Gives the weights of luma; depth and range do not matter.

    Returns:
        Shape (...), the distance of (U, V) from neutral in levels of limited-range 8 bit video,
        0..158. Skin lies near 20.
    """
    eight_bit = yuv_from_rgb_matrix(
        PixelLayout("yuv444p", 8, 0, 0, is_full_range=False, kr=layout.kr, kb=layout.kb)
    )
    chroma = np.asarray(rgb, dtype=np.float64) @ eight_bit[1:, :3].T
    distance: npt.NDArray[np.float64] = np.hypot(chroma[..., 0], chroma[..., 1])
    return distance
