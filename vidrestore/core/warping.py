"""Moves pixels between the planes of a frame and square crops, each plane by its own matrix.

No full-frame RGB picture is made: a crop takes from Y, U and V just what it needs, and a face goes
back to each plane at that plane's own resolution. Both ways use the same `resample`.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import Frame, Matrix, PixelLayout, Plane, RGBImage
from vidrestore.core.colour import FloatPlane, rgb_from_yuv
from vidrestore.core.geometry import compose, invert_affine, transform_points, translation

Box = tuple[int, int, int, int]
"""Left, top, right, bottom of samples in one plane, half-open."""

# The low-pass and the interpolation look this many (reduced) samples to each side.
_REACH = 3


def crop_from_planes(frame: Frame, crop_from_frame: Matrix, size: int) -> RGBImage:
    """Cut a square picture out of a frame.

    Outside of the frame the picture goes on mirrored about its edge samples.

    Args:
        frame: Any depth, subsampling, matrix and range.
        crop_from_frame: Frame coordinates to crop coordinates.
        size: Side S of the crop.

    Returns:
        Shape (S, S, 3), uint8 RGB, rounded to nearest.
    """
    frame_from_crop = invert_affine(crop_from_frame)

    def channel(index: int) -> FloatPlane:
        plane = frame.planes[index]
        plane_from_frame = invert_affine(frame_from_plane(frame.layout, index))
        plane_from_crop = compose(plane_from_frame, frame_from_crop)
        left, top, right, bottom = _needed_box(plane_from_crop, size, plane)
        part_from_crop = compose(translation(-left, -top), plane_from_crop)
        return resample(plane[top:bottom, left:right], part_from_crop, size, size)

    return rgb_from_yuv(channel(0), channel(1), channel(2), frame.layout)


def warp_to_plane(crop_channel: FloatPlane, crop_from_plane: Matrix, box: Box) -> FloatPlane:
    """Bring a channel of a crop to part of a plane.

    Args:
        crop_channel: Shape (S, S), float32.
        crop_from_plane: Coordinates of that plane's samples to crop coordinates.
        box: Which samples of the plane.

    Returns:
        The values at those samples, shape (bottom - top, right - left), float32; beyond the crop's
        border they mean nothing.
    """
    left, top, right, bottom = box
    crop_from_part = compose(crop_from_plane, translation(left, top))
    return resample(crop_channel, crop_from_part, right - left, bottom - top)


def sample_mask(mask: FloatPlane, crop_from_plane: Matrix, box: Box) -> FloatPlane:
    """Read a smooth mask at samples of a plane; exactly 0 where the mask is, and outside of it.

    A feathered mask holds no detail that could alias, and a low-pass would widen it.

    Args:
        mask: Shape (S, S), float32, 0..1.
        crop_from_plane: Coordinates of that plane's samples to crop coordinates.
        box: Which samples of the plane.

    Returns:
        Shape (bottom - top, right - left), float32, 0..1.
    """
    left, top, right, bottom = box
    crop_from_part = compose(crop_from_plane, translation(left, top))
    return _bilinear(mask, crop_from_part, right - left, bottom - top, cv2.BORDER_CONSTANT)


def frame_from_plane(layout: PixelLayout, index: int) -> Matrix:
    """Return where the samples of plane ``index`` (0, 1, 2 for Y, U, V) lie in the frame.

    Chroma of MPEG-2 and H.264 lies on the left one of the luma columns it serves, and half-way
    between the luma rows (H.264 Annex E, chroma_sample_loc_type 0).
    """
    if index == 0:
        return translation(0, 0)
    columns, rows = 1 << layout.chroma_shift_x, 1 << layout.chroma_shift_y
    return np.array([[columns, 0, 0], [0, rows, (rows - 1) / 2]], dtype=np.float64)


def resample(source: Plane, source_from_target: Matrix, width: int, height: int) -> FloatPlane:
    """Sample an array under an affine transform without aliasing.

    Where a target pixel covers f > 1 source samples along an axis, the source is first averaged
    over k = floor(f) samples and then low-passed by 5 taps of variance ((f/k)² - 1)/4. With the
    variance of bilinear interpolation that adds up to (3f² - 1)/12 for every f: that of a box
    of f samples, interpolated. So the sharpness falls without a step as f grows, and the centre
    of every kernel stays where it was. (A single resize to 1/f would soften the picture by a
    visible step as soon as f exceeds 1.)

    Args:
        source: Shape (h, w), uint8, uint16 or float32; goes on mirrored outside.
        source_from_target: Target coordinates to source coordinates.
        width: Columns of the target.
        height: Rows of the target.

    Returns:
        Shape (height, width), float32.
    """
    footprint = fx, fy = _footprint(source_from_target)
    factors = kx, ky = _whole_factors(footprint)
    smooth: npt.NDArray[Any] = source.astype(np.float32, copy=False)
    if max(factors) > 1:
        smooth = _average_blocks(smooth, factors)
        reduced_from_source = np.array(
            [[1 / kx, 0.0, 0.5 / kx - 0.5], [0.0, 1 / ky, 0.5 / ky - 0.5]]
        )
        source_from_target = compose(reduced_from_source, source_from_target)
    if max(footprint) > 1:
        smooth = cv2.sepFilter2D(
            smooth,
            cv2.CV_32F,
            _low_pass(fx / kx),
            _low_pass(fy / ky),
            borderType=cv2.BORDER_REFLECT_101,
        )
    return _bilinear(smooth, source_from_target, width, height, cv2.BORDER_REFLECT_101)


def _bilinear(
    source: npt.NDArray[Any], source_from_target: Matrix, width: int, height: int, border: int
) -> FloatPlane:
    warped: npt.NDArray[Any] = cv2.warpAffine(
        source,
        source_from_target,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )
    return warped


def _footprint(source_from_target: Matrix) -> tuple[float, float]:
    """Samples that one target pixel covers along x and y of the source, at least 1.

    A unit square under the linear part J has the second moments J·Jᵀ/12; its widths along the
    source's axes are therefore the lengths of the rows of J.
    """
    (a, b, _), (c, d, _) = source_from_target.tolist()
    return max(1.0, math.hypot(a, b)), max(1.0, math.hypot(c, d))


def _whole_factors(footprint: tuple[float, float]) -> tuple[int, int]:
    return int(footprint[0]), int(footprint[1])


def _average_blocks(source: FloatPlane, factors: tuple[int, int]) -> npt.NDArray[Any]:
    """Average blocks of (columns, rows) samples; mirroring fills an incomplete last block."""
    columns, rows = factors
    height, width = source.shape
    pad_x, pad_y = -width % columns, -height % rows
    padded: npt.NDArray[Any] = source
    if pad_x or pad_y:
        padded = cv2.copyMakeBorder(source, 0, pad_y, 0, pad_x, cv2.BORDER_REFLECT_101)
    reduced_size = (width + pad_x) // columns, (height + pad_y) // rows
    return cv2.resize(padded, reduced_size, interpolation=cv2.INTER_AREA)


def _low_pass(ratio: float) -> npt.NDArray[np.float64]:
    """Return 5 taps of variance (ratio² - 1)/4 for 1 <= ratio < 2: twice [a, 1 - 2a, a]."""
    a = (ratio * ratio - 1) / 16
    return np.array([a * a, 2 * a * (1 - 2 * a), 1 - 4 * a + 6 * a * a, 2 * a * (1 - 2 * a), a * a])


def _needed_box(plane_from_crop: Matrix, size: int, plane: Plane) -> Box:
    """Find the samples that a crop is made of, mirrored ones included."""
    corners = np.array([[0, 0], [size - 1, 0], [0, size - 1], [size - 1, size - 1]])
    corners = transform_points(plane_from_crop, corners)
    spans = []
    lengths = plane.shape[::-1]
    factors = _whole_factors(_footprint(plane_from_crop))
    for low, high, length, k in zip(
        corners.min(axis=0), corners.max(axis=0), lengths, factors, strict=True
    ):
        first = math.floor(low) - _REACH * k
        last = math.ceil(high) + _REACH * k
        first, last = min(first, 2 * (length - 1) - last), max(last, -first)
        # blocks are counted from the plane's edge, so that they stay put when the face moves
        first = max(first, 0) // k * k
        last = min(-(-(last + 1) // k) * k, length)
        spans.append((first, last))
    (left, right), (top, bottom) = spans
    return left, top, right, bottom
