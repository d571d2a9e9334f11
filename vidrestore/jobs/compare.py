"""Before and after in one picture, in the film's own planes.

Everything is said of the picture as it is seen, left and right included; the planes may be stored
turned or mirrored.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import Frame, FrameGeometry, PixelLayout, Plane
from vidrestore.core.colour import FloatPlane
from vidrestore.core.geometry import display_size
from vidrestore.settings import Compare

FLIP_SECONDS = 1.0
"""How long a picture that alternates stays."""
BEFORE, AFTER = "before", "after"

_LABEL_SHARE, _LEAST_CAPITAL = 1 / 40, 8.0
"""Height of a label's capitals: share of the picture's height, and display pixels at least."""
_HERSHEY_CAPITAL = 21.0
"""The same of OpenCV's font at scale 1."""
_SHADE = 0.55
"""How far the ground of a label is darkened."""
_CELL = 4
"""Labels begin and end on this grid, on which every chroma plane has samples."""


class Comparer:
    """Puts before and after of each moment into one picture.

    Args:
        compare: How.
        start_seconds: Time of the clip's first frame.
        length_seconds: Length of the clip.
    """

    def __init__(self, compare: Compare, start_seconds: float, length_seconds: float) -> None:
        self._compare = compare
        self._start, self._length = start_seconds, max(length_seconds, 1e-6)

    def combine(self, before: Frame, after: Frame) -> Frame:
        """Return the picture to be shown, with the time of ``after``.

        Args:
            before: As decoded.
            after: Restored; the same moment. Where it is larger, ``before`` is enlarged.
        """
        before = _as_large_as(after, before)
        seconds = after.seconds - self._start
        if self._compare is Compare.SIDE:
            return side_by_side(before, after)
        if self._compare is Compare.FLIP:
            is_after = int(seconds / FLIP_SECONDS + 1e-6) % 2 == 1
            return labelled(after if is_after else before, AFTER if is_after else BEFORE)
        share = 0.5
        if self._compare is Compare.WIPE:
            share = abs(1 - 2 * min(max(seconds / self._length, 0.0), 1.0))
        return split(before, after, share)


def side_by_side(left: Frame, right: Frame) -> Frame:
    """Put two frames of the same shape side by side in display orientation.

    An odd last column (or row, if the picture is turned) is left out where the chroma planes would
    not meet.
    """
    axis, is_forward = _across(right.geometry)
    shift = _shift_along(right.layout, axis)
    first, second = (left, right) if is_forward else (right, left)
    length = right.planes[0].shape[axis] >> shift << shift

    def joined(plane: int) -> Plane:
        keep = length if plane == 0 else length >> shift
        part = (slice(keep),) if axis == 0 else (slice(None), slice(keep))
        return np.concatenate([f.planes[plane][part] for f in (first, second)], axis=axis)

    planes = (joined(0), joined(1), joined(2))
    height, width = planes[0].shape
    geometry = dataclasses.replace(right.geometry, width=width, height=height)
    return dataclasses.replace(right, planes=planes, geometry=geometry)


def split(before: Frame, after: Frame, share: float) -> Frame:
    """Show one frame to the left of a thin white line and the other to the right of it.

    Args:
        before: Shown on the left.
        after: Shown on the right; of the same shape.
        share: How much of the width is on the left, 0..1; at the ends there is no line. The line
            lies on the right of its place, on whole chroma samples.
    """
    axis, is_forward = _across(after.geometry)
    shift = _shift_along(after.layout, axis)
    line = max(2, 1 << shift)
    length = after.planes[0].shape[axis]
    join = round((share if is_forward else 1 - share) * length / line) * line
    if join + line > length:
        join = length
    first, second = (before, after) if is_forward else (after, before)
    planes = []
    for k, plane in enumerate(second.planes):
        step = shift if k else 0
        cut, end = (-(-n >> step) for n in (join, min(join + line, length)))
        made = np.moveaxis(plane.copy(), axis, 0)
        made[:cut] = np.moveaxis(first.planes[k], axis, 0)[:cut]
        if join > 0:
            made[cut:end] = _neutral(after.layout) if k else _luma(after.layout, 1.0)
        planes.append(np.moveaxis(made, 0, axis))
    picture = dataclasses.replace(after, planes=(planes[0], planes[1], planes[2]))
    at = (join if is_forward else length - join) / length
    return labelled(labelled(picture, BEFORE, until=at), AFTER, since=at)


def labelled(frame: Frame, text: str, since: float = 0.0, until: float = 1.0) -> Frame:
    """Write a small word into a lower corner: on the right what comes after, else on the left.

    Args:
        frame: Any frame; it is not changed.
        text: ``BEFORE`` or ``AFTER``.
        since: The word needs to lie right of this share of the width, 0..1 ...
        until: ... and left of this, or it is left out.
    """
    label = _label(text, since > 0, frame.geometry, frame.layout)
    if label is None or label.left < since or label.right > until:
        return frame
    planes = [plane.copy() for plane in frame.planes]
    for plane, area, keep, add in zip(planes, label.areas, label.keep, label.add, strict=True):
        plane[area] = np.rint(plane[area] * keep + add).astype(plane.dtype)
    return dataclasses.replace(frame, planes=(planes[0], planes[1], planes[2]))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Label:
    """A word as it is drawn into planes: sample ← sample · keep + add."""

    left: float
    right: float
    """Where it lies, as shares of the width that is seen."""
    areas: tuple[tuple[slice, slice], ...]
    keep: tuple[FloatPlane, ...]
    add: tuple[FloatPlane, ...]


@lru_cache(maxsize=8)
def _label(
    text: str, is_right: bool, geometry: FrameGeometry, layout: PixelLayout
) -> _Label | None:
    """Draw a word for pictures of one kind; None where there is no room for it."""
    width, height = display_size(geometry)
    scale = max(height * _LABEL_SHARE, _LEAST_CAPITAL) / _HERSHEY_CAPITAL
    thickness = max(1, round(1.6 * scale))
    font = cv2.FONT_HERSHEY_SIMPLEX
    (text_width, capital), _ = cv2.getTextSize(text, font, scale, thickness)
    pad = max(3, capital // 2)
    box_width, box_height = text_width + 2 * pad, capital + 2 * pad
    if box_width + 2 * pad > width / 2 or box_height + 2 * pad > height / 2:
        return None
    left = width - pad - box_width if is_right else pad
    top = height - pad - box_height
    plate, ink = np.zeros((height, width), np.float32), np.zeros((height, width), np.uint8)
    plate[top : top + box_height, left : left + box_width] = _SHADE
    place = (left + pad, top + pad + capital)
    cv2.putText(ink, text, place, font, scale, 255, thickness, cv2.LINE_AA)
    plate = _as_stored(plate, geometry)
    drawn = _as_stored(ink.astype(np.float32) / 255, geometry)
    rows, columns = np.nonzero(plate.any(axis=1))[0], np.nonzero(plate.any(axis=0))[0]
    y, x = (slice(k[0] // _CELL * _CELL, -(-(k[-1] + 1) // _CELL) * _CELL) for k in (rows, columns))
    areas, keeps, adds = [], [], []
    for k in range(3):
        shift_y, shift_x = (layout.chroma_shift_y, layout.chroma_shift_x) if k else (0, 0)
        area = _shrunk(y, shift_y, geometry.height), _shrunk(x, shift_x, geometry.width)
        size = (area[1].stop - area[1].start, area[0].stop - area[0].start)
        shade, word = (
            np.asarray(cv2.resize(m[y, x], size, interpolation=cv2.INTER_AREA), np.float32)
            for m in (plate, drawn)
        )
        dark, light = (_neutral(layout),) * 2 if k else (_luma(layout, 0.0), _luma(layout, 1.0))
        areas.append(area)
        keeps.append((1 - shade) * (1 - word))
        adds.append(dark * shade * (1 - word) + light * word)
    return _Label(left / width, (left + box_width) / width, tuple(areas), tuple(keeps), tuple(adds))


def _shrunk(part: slice, shift: int, size: int) -> slice:
    """Return which samples of a plane serve a part of the luma plane, of ``size`` samples."""
    return slice(part.start >> shift, -(-min(part.stop, size) >> shift))


def _as_stored(shown: npt.NDArray[Any], geometry: FrameGeometry) -> FloatPlane:
    """Turn and press a mask of the picture that is seen into the shape of the luma plane."""
    a, b, c, d = geometry.turn
    is_turned = a == 0
    right, down = (c, b) if is_turned else (a, d)
    stored = shown[:: 1 if down > 0 else -1, :: 1 if right > 0 else -1]
    stored = np.ascontiguousarray(stored.T if is_turned else stored)
    size = (geometry.width, geometry.height)
    return np.asarray(cv2.resize(stored, size, interpolation=cv2.INTER_AREA), np.float32)


def _across(geometry: FrameGeometry) -> tuple[int, bool]:
    """Return the axis of the planes that runs across the screen, and whether to the right."""
    a, _, c, _ = geometry.turn
    return (0, c > 0) if a == 0 else (1, a > 0)


def _shift_along(layout: PixelLayout, axis: int) -> int:
    return layout.chroma_shift_y if axis == 0 else layout.chroma_shift_x


def _luma(layout: PixelLayout, brightness: float) -> int:
    """Return the code value of black (0) to white (1)."""
    if layout.is_full_range:
        return round(brightness * ((1 << layout.bits) - 1))
    return round(16 + 219 * brightness) << (layout.bits - 8)


def _neutral(layout: PixelLayout) -> int:
    return 1 << (layout.bits - 1)


def _as_large_as(like: Frame, frame: Frame) -> Frame:
    if frame.geometry == like.geometry:
        return frame
    planes: list[npt.NDArray[np.generic]] = [
        np.asarray(cv2.resize(p, q.shape[::-1], interpolation=cv2.INTER_LINEAR), q.dtype)
        for p, q in zip(frame.planes, like.planes, strict=True)
    ]
    return dataclasses.replace(
        frame, planes=(planes[0], planes[1], planes[2]), geometry=like.geometry
    )
