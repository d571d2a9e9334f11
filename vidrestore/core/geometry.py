"""Points, boxes and affine transforms; not pixels, which `warping` moves.

Coordinates are pixels with integers at pixel centres, so a picture W wide reaches from -0.5 to
W - 0.5, and mirroring it is x' = W - 1 - x.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vidrestore.contracts import FrameGeometry, Matrix

# Below this RMS size in pixels, or this correlation with the template, five points say nothing
# about where a face is.
_LEAST_SPREAD = 1e-3
_LEAST_CORRELATION = 1e-3


def similarity_transform(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> Matrix | None:
    """Fit the similarity that takes ``source`` to ``target`` with the least squared error.

    This is Umeyama's closed form (IEEE PAMI 13(4), 1991, equations 40 to 42) in the plane, where
    a rotation with scale is one complex factor. A factor cannot mirror, so points that fit better
    mirrored still give a proper rotation, as with Umeyama's sign matrix.

    Args:
        source: Shape (N, 2), x and y.
        target: Shape (N, 2), the points that they should come to.

    Returns:
        ``target_from_source``, or None when the points determine no transform: all on one spot,
        not finite, or without any resemblance to the target.

    >>> square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    >>> similarity_transform(square, 2 * square + 3)[:, 2].round(6).tolist()
    [3.0, 3.0]
    >>> similarity_transform(np.zeros((4, 2)), square) is None
    True
    """
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        return None
    src = np.asarray(source, dtype=np.float64) @ (1, 1j)
    dst = np.asarray(target, dtype=np.float64) @ (1, 1j)
    src_mean, dst_mean = src.mean(), dst.mean()
    src, dst = src - src_mean, dst - dst_mean
    src_size, dst_size = np.linalg.norm(src), np.linalg.norm(dst)
    if min(src_size, dst_size) < _LEAST_SPREAD * len(src) ** 0.5:
        return None
    correlation = np.vdot(src, dst)
    if abs(correlation) < _LEAST_CORRELATION * src_size * dst_size:
        return None
    turn = correlation / src_size**2
    shift = dst_mean - turn * src_mean
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def compose(*matrices: Matrix) -> Matrix:
    """Chain transforms so that their names read on.

    ``a_from_c = compose(a_from_b, b_from_c)``.

    Args:
        matrices: One or more of shape (2, 3); the last is applied first.
    """
    result = matrices[0]
    for matrix in matrices[1:]:
        linear = result[:, :2]
        shift = result[:, 2]
        result = linear @ matrix
        result[:, 2] += shift
    return result


def invert_affine(matrix: Matrix) -> Matrix:
    """Return ``b_from_a`` for ``a_from_b``, shape (2, 3).

    Raises:
        ValueError: The transform flattens the plane and has no inverse.
    """
    (a, b, x), (c, d, y) = matrix.tolist()
    determinant = a * d - b * c
    if determinant == 0:
        raise ValueError(f"the transform {matrix.tolist()} has no inverse")
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    return np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y]])


def transform_points(matrix: Matrix, points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Apply a transform to points of shape (N, 2); computed and returned in float64."""
    moved: npt.NDArray[np.float64] = points.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return moved


def translation(x: float, y: float) -> Matrix:
    """Return the transform that moves points by (x, y)."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def area_scale(matrix: Matrix) -> float:
    """Return the factor by which lengths grow, as the root of the factor for areas."""
    (a, b, _), (c, d, _) = matrix.tolist()
    return float(abs(a * d - b * c) ** 0.5)


def iou(boxes: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Measure how far boxes overlap: area of the intersection over area of the union.

    Args:
        boxes: Shape (N, 4): left, top, right, bottom, as continuous coordinates.
        others: Shape (M, 4).

    Returns:
        Shape (N, M), 0..1; 0 for boxes without area.
    """
    a = np.asarray(boxes, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(others, dtype=np.float64).reshape(1, -1, 4)
    overlap = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = overlap.clip(min=0).prod(axis=-1)
    area_a = (a[..., 2:] - a[..., :2]).clip(min=0).prod(axis=-1)
    area_b = (b[..., 2:] - b[..., :2]).clip(min=0).prod(axis=-1)
    union = area_a + area_b - shared
    ratio: npt.NDArray[np.float64] = np.zeros_like(union)
    np.divide(shared, union, out=ratio, where=union > 0)
    return ratio


def display_from_frame(geometry: FrameGeometry) -> Matrix:
    """Return the transform from stored samples to the picture as a player shows it.

    The columns are stretched by the pixel aspect, about the picture's edge and not about the first
    pixel's centre: x' = (x + ½)·aspect - ½; then the picture is turned.
    """
    aspect = float(geometry.pixel_aspect)
    square_from_frame = np.array([[aspect, 0.0, 0.5 * aspect - 0.5], [0.0, 1.0, 0.0]])
    turn = _turn(geometry, geometry.width * aspect, geometry.height)
    return compose(turn, square_from_frame)


def upright_from_frame(geometry: FrameGeometry) -> Matrix:
    """Return the transform that only turns the stored picture upright, pixels as they are."""
    return _turn(geometry, geometry.width, geometry.height)


def display_size(geometry: FrameGeometry) -> tuple[int, int]:
    """Return (width, height) of the picture as a player shows it, in whole square pixels."""
    width = max(1, round(geometry.width * geometry.pixel_aspect))
    is_upright = geometry.turn[0] != 0
    return (width, geometry.height) if is_upright else (geometry.height, width)


def _turn(geometry: FrameGeometry, width: float, height: float) -> Matrix:
    """Turn a picture of this size by the signs of the display matrix; its corner stays at 0."""
    a, b, c, d = geometry.turn
    shift_x = (width - 1 if a < 0 else 0) + (height - 1 if c < 0 else 0)
    shift_y = (width - 1 if b < 0 else 0) + (height - 1 if d < 0 else 0)
    return np.array([[a, c, shift_x], [b, d, shift_y]], dtype=np.float64)
