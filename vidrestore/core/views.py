"""Small upright pictures of a frame, as a person would see it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vidrestore.contracts import FaceObservation, Frame, Points, RGBImage
from vidrestore.core.geometry import display_size


def orient(image: RGBImage, turn: tuple[int, int, int, int]) -> RGBImage:
    """Return a view of a stored picture turned as ``FrameGeometry.turn`` says."""
    a, b, c, d = turn
    if a == 0:
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1]


def view_size(frame: Frame, max_side: int) -> tuple[int, int]:
    """Return (width, height) of the upright square-pixel picture, longer side at most max_side.

    The picture is never enlarged beyond its own samples but for the pixel aspect.
    """
    width, height = display_size(frame.geometry)
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def upright_view(frame: Frame, max_side: int) -> RGBImage:
    """Return the picture upright, with square pixels, no side longer than ``max_side`` pixels."""
    width, height = view_size(frame, max_side)
    if frame.geometry.turn[0] == 0:
        width, height = height, width
    return np.ascontiguousarray(orient(frame.render_rgb(width, height), frame.geometry.turn))


def is_same_picture(a: Frame, b: Frame) -> bool:
    """Say whether two frames hold the same samples, as a repeated frame does."""
    if a.geometry != b.geometry or a.layout != b.layout:
        return False
    step = max(1, a.geometry.height // 8)  # of most pictures a few rows tell
    return all(
        np.array_equal(x[::step], y[::step]) and np.array_equal(x, y)
        for x, y in zip(a.planes, b.planes, strict=True)
    )


def to_display(observation: FaceObservation, frame: Frame, max_side: int) -> FaceObservation:
    """Move an observation from the pixels of ``upright_view`` to display pixels."""
    g = frame.geometry
    full = np.array([float(g.width * g.pixel_aspect), float(g.height)])
    if g.turn[0] == 0:
        full = full[::-1]
    scale = full / np.array(view_size(frame, max_side))
    return FaceObservation(
        box_xyxy=_rescale(observation.box_xyxy.reshape(2, 2), scale).reshape(4),
        landmarks=_rescale(observation.landmarks, scale),
        score=observation.score,
    )


def _rescale(points: Points, scale: npt.NDArray[np.float64]) -> Points:
    # pixel centres are at integers, so the corner of the picture is at -0.5
    return ((points + 0.5) * scale - 0.5).astype(np.float32)
