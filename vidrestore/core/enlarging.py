"""Whole pictures in another size, and between planes and RGB at full precision.

Both pictures have the same edges: a point x of the small one lies at k·(x + ½) - ½ in one that is k
times as wide. Each plane is sampled by its own matrix, so colours stay where they lie.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import FrameGeometry, Matrix, PixelLayout, Plane
from vidrestore.core.colour import FloatPlane, rgb_from_yuv_matrix, yuv_from_rgb_matrix
from vidrestore.core.geometry import compose, invert_affine
from vidrestore.core.warping import frame_from_plane, resample

Planes = tuple[Plane, Plane, Plane]
FloatPicture = npt.NDArray[np.float32]
"""Shape (H, W, 3), float32 RGB in [0, 1], the film's own gamma."""


def large_from_small(small: tuple[int, int], large: tuple[int, int]) -> Matrix:
    """Return the transform between two pictures with the same edges.

    Args:
        small: (width, height) of the one.
        large: Of the other; it may be the smaller one too.
    """
    (x, y) = (large[0] / small[0], large[1] / small[1])
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])


def rgb_from_planes(planes: Planes, layout: PixelLayout) -> FloatPicture:
    """Convert a picture to RGB, clipped to [0, 1] but not rounded."""
    height, width = planes[0].shape
    channels = [planes[0].astype(np.float32)]
    for index in (1, 2):
        plane_from_frame = invert_affine(frame_from_plane(layout, index))
        channels.append(_sampled(planes[index], plane_from_frame, width, height))
    matrix = rgb_from_yuv_matrix(layout) / 255
    picture: npt.NDArray[Any] = cv2.transform(cv2.merge(channels), matrix)
    clipped: FloatPicture = np.clip(picture, 0, 1, out=picture)
    return clipped


def planes_from_rgb(picture: FloatPicture, geometry: FrameGeometry, layout: PixelLayout) -> Planes:
    """Convert a picture of any size to the planes of a frame, rounded.

    Args:
        picture: Covers the whole frame.
        geometry: Size of the frame.
        layout: What the numbers shall mean.
    """
    matrix = yuv_from_rgb_matrix(layout)
    matrix[:, :3] *= 255
    channels = cv2.split(cv2.transform(picture, matrix))
    return _fitted((channels[0], channels[1], channels[2]), None, geometry, layout)


def resized_planes(planes: Planes, geometry: FrameGeometry, layout: PixelLayout) -> Planes:
    """Bring the planes of a frame to another size, by Lanczos interpolation where they grow.

    Args:
        planes: Of any size.
        geometry: Size of the new frame.
        layout: What the numbers mean, before and after.
    """
    return _fitted(planes, layout, geometry, layout)


def _fitted(
    planes: Planes, stored: PixelLayout | None, geometry: FrameGeometry, layout: PixelLayout
) -> Planes:
    """Sample planes at the places of a frame's samples; ``stored`` is None for full planes."""
    height, width = planes[0].shape
    source_from_target = large_from_small((geometry.width, geometry.height), (width, height))
    peak = (1 << layout.bits) - 1

    def fitted(index: int) -> Plane:
        matrix = compose(source_from_target, frame_from_plane(layout, index))
        if stored is not None:
            matrix = compose(invert_affine(frame_from_plane(stored, index)), matrix)
        x, y = (layout.chroma_shift_x, layout.chroma_shift_y) if index else (0, 0)
        size = -(-geometry.width >> x), -(-geometry.height >> y)
        plane = _sampled(planes[index], matrix, *size)
        np.rint(plane, out=plane)
        np.clip(plane, 0, peak, out=plane)
        return plane.astype(np.uint8 if layout.bits == 8 else np.uint16)

    return fitted(0), fitted(1), fitted(2)


def _sampled(plane: Plane, source_from_target: Matrix, width: int, height: int) -> FloatPlane:
    """Sample without aliasing where the plane shrinks, by Lanczos where it grows."""
    (x, _, _), (_, y, _) = source_from_target.tolist()
    if x >= 1 and y >= 1:
        return resample(plane, source_from_target, width, height)
    grown: npt.NDArray[Any] = cv2.warpAffine(
        plane.astype(np.float32, copy=False),
        source_from_target,
        (width, height),
        flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return grown
