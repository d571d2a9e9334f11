"""Puts restored faces back into the planes of a frame; which faces, and how much, others decide.

For every sample of every plane, with a face's weight w = strength · mask::

    out = film + Σ w·(face - base) / max(1, Σ w)

The base is the film itself as long as the crop is at least as fine as the film. When a face is
larger in the film than in the crop, the base turns by degrees into what the *unrestored* crop
would have put there. The film's detail above the crop's resolution is then kept, and a restored
face is never softer than it was.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import (
    Frame,
    Matrix,
    PaintedRegion,
    PixelLayout,
    Plane,
    Points,
    RestoredFace,
)
from vidrestore.core.colour import FloatPlane, channel_from_rgb, colourfulness, yuv_from_rgb_matrix
from vidrestore.core.geometry import area_scale, compose, invert_affine, transform_points
from vidrestore.core.warping import Box, frame_from_plane, sample_mask, warp_to_plane

# The mask in units of the RMS distance of the landmarks from their centre (about 40 mm on an
# adult): how far from the centre it becomes 0, and over what width. Chosen by eye on 50 photographs
# so that it holds forehead, chin and most of the ears, and ends inside the crops of both templates.
_TOP, _BOTTOM, _SIDE, _FEATHER = 3.4, 2.45, 2.65, 0.78
_CORNER = 0.95
"""Radius of the corners as a share of half the width."""
_BORDER = 0.016
"""This share of the crop, and at least 2 pixels, stays 0 along its border."""

# Film pixels per crop pixel between which the base turns from the film to the unrestored crop.
_DETAIL_FROM, _DETAIL_FULL = 1.0, 1.5

# Distance from grey, in 8 bit levels, between which a face is grey and is coloured. Skin is at 20.
_GREY, _COLOURED = 1.0, 3.0

_THUMBNAIL = 16
"""Side of the pictures on which mean colours are compared."""
_CELLS = 4
"""Cells along a side in which a face is judged grey; their averages are free of a tape's noise."""


def feathered_mask(template: Points, size: int) -> FloatPlane:
    """Draw the part of a crop that is shown: a rounded box about the face with a soft edge.

    Its place follows from the template's centre and spread, which is what a least squares
    alignment matches; so crops of different templates cover the same part of a face.

    Args:
        template: Where the landmarks lie in the crop, shape (5, 2).
        size: Side S of the crop.

    Returns:
        Shape (S, S), float32: 1 on the face, falling as a cosine to 0, and exactly 0 within at
        least 2 pixels of the border.
    """
    centre = template.mean(axis=0, dtype=np.float64)
    unit = float(np.sqrt(np.square(template - centre).sum(axis=1).mean()))
    margin = max(2.0, _BORDER * size)
    low = np.maximum(centre - np.array([_SIDE, _TOP]) * unit, margin)
    high = np.minimum(centre + np.array([_SIDE, _BOTTOM]) * unit, size - 1 - margin)
    middle, half = (low + high) / 2, (high - low) / 2
    radius = _CORNER * half.min()
    pixels = np.arange(size)
    inner = np.abs(pixels[:, None] - middle) - (half - radius)  # (S, 2): x and y
    x, y = inner[None, :, 0], inner[:, None, 1]
    outside_corner = np.hypot(np.maximum(x, 0), np.maximum(y, 0))
    depth = radius - outside_corner - np.minimum(np.maximum(x, y), 0)  # (S, S), px inside the edge
    rise = np.clip(depth / (_FEATHER * unit), 0, 1)
    mask: FloatPlane = (0.5 - 0.5 * np.cos(np.pi * rise)).astype(np.float32)
    return mask


@dataclass(frozen=True, slots=True, eq=False)
class FaceMask:
    """How much of each pixel of a crop is shown, with what follows from it once and for all."""

    weights: FloatPlane
    """Shape (S, S), float32, 0..1; 0 along the border."""
    corners: npt.NDArray[np.float64]
    """Shape (4, 2): the box in the crop outside of which every sample has weight 0."""
    box: Box
    """The same box in whole pixels."""
    tones: npt.NDArray[np.float64]
    """Shape (16, 16, 1): the weights at the size of a thumbnail, with a sum of 1."""

    @classmethod
    def of(cls, weights: FloatPlane) -> FaceMask:
        """Prepare a mask, e.g. that of `feathered_mask`."""
        rows = np.flatnonzero(weights.any(axis=1))
        columns = np.flatnonzero(weights.any(axis=0))
        left, right = columns[0] - 1, columns[-1] + 1  # interpolation reaches one pixel further
        top, bottom = rows[0] - 1, rows[-1] + 1
        corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]], np.float64)
        thumbnail = _thumbnail(weights)
        return cls(
            weights=weights,
            corners=corners,
            box=(int(left), int(top), int(right) + 1, int(bottom) + 1),
            tones=thumbnail[..., None] / thumbnail.sum(),
        )


def blend_faces_into(
    frame: Frame, faces: Sequence[RestoredFace], strengths: Sequence[float], mask: FaceMask
) -> tuple[tuple[Plane, Plane, Plane], tuple[PaintedRegion | None, ...]]:
    """Paint faces into copies of a frame's planes.

    Samples where the mask is 0 keep their value, and planes in which nothing changes are not
    copied. The mean colour of each restored face is first moved to that of the film, so that a
    cast of the network cannot show, and a face that is grey in the film stays grey.

    Args:
        frame: Not changed.
        faces: With crops of shape (S, S, 3).
        strengths: For each face how much of it is shown, 0..1.
        mask: For crops of that size.

    Returns:
        The planes, and for each face the region that was painted: None for a strength of 0 and for
        a face outside of the frame.
    """
    patches = [
        _make_patch(frame, face, strength, mask) if strength > 0 else None
        for face, strength in zip(faces, strengths, strict=True)
    ]
    to_paint = [patch for patch in patches if patch is not None]
    y, u, v = (_paint(frame, index, to_paint) for index in range(3))
    return (y, u, v), tuple(patch.region if patch else None for patch in patches)


@dataclass(frozen=True, slots=True)
class _Patch:
    """One face ready to be painted; what is threefold is for Y, U and V."""

    region: PaintedRegion
    boxes: tuple[Box, Box, Box]
    """The region in samples of each plane."""
    weights: tuple[FloatPlane, FloatPlane, FloatPlane]
    """Strength · mask at the samples of each box."""
    crop_from_planes: tuple[Matrix, Matrix, Matrix]
    detail: float
    """How much of the base is the unrestored crop, 0..1; the rest is the film."""
    restored: Sequence[Plane]
    """R, G and B of the restored crop, each (S, S) uint8."""
    unrestored: Sequence[Plane]
    yuv_from_rgb: npt.NDArray[np.float64]
    """(3, 4)."""
    colour_shift: npt.NDArray[np.float64]
    """(3,): what moves the restored crop's mean Y, U and V to that of the unrestored one."""
    gains: tuple[float, float, float]
    """Y is always painted; U and V by 0 when the film's face is grey, by 1 when in colour."""

    def change(self, index: int, film: FloatPlane) -> FloatPlane:
        """Return weight · (face - base) for the samples ``film`` in the box of a plane."""
        row = self.yuv_from_rgb[index]
        shift = (0, 0, 0, self.colour_shift[index])
        channel = channel_from_rgb(self.restored, row + shift)
        if self.detail > 0:
            channel -= self.detail * channel_from_rgb(self.unrestored, row)
        change = warp_to_plane(channel, self.crop_from_planes[index], self.boxes[index])
        if self.detail < 1:
            change -= film if self.detail == 0 else (1 - self.detail) * film
        change *= self.weights[index]
        if self.gains[index] < 1:
            change *= self.gains[index]
        return change


def _make_patch(frame: Frame, face: RestoredFace, strength: float, mask: FaceMask) -> _Patch | None:
    layout, crop_from_frame = frame.layout, face.aligned.crop_from_frame
    region = _region(frame, crop_from_frame, mask)
    if region is None:
        return None
    luma_box = region.left, region.top, region.right, region.bottom
    x, y = layout.chroma_shift_x, layout.chroma_shift_y
    chroma_box = region.left >> x, region.top >> y, -(-region.right >> x), -(-region.bottom >> y)
    crop_from_chroma = compose(crop_from_frame, frame_from_plane(layout, 1))
    luma_weight = sample_mask(mask.weights, crop_from_frame, luma_box)
    luma_weight *= strength
    chroma_weight = sample_mask(mask.weights, crop_from_chroma, chroma_box)
    chroma_weight *= strength

    film_per_crop = 1 / area_scale(crop_from_frame)
    detail = _ease((film_per_crop - _DETAIL_FROM) / (_DETAIL_FULL - _DETAIL_FROM))
    before, after = _thumbnail(face.aligned.crop), _thumbnail(face.crop)
    to_yuv = yuv_from_rgb_matrix(layout)
    chroma_gain = _chroma_gain(before * mask.tones, layout)
    return _Patch(
        region=region,
        boxes=(luma_box, chroma_box, chroma_box),
        weights=(luma_weight, chroma_weight, chroma_weight),
        crop_from_planes=(crop_from_frame, crop_from_chroma, crop_from_chroma),
        detail=detail,
        restored=cv2.split(face.crop),
        unrestored=cv2.split(face.aligned.crop),
        yuv_from_rgb=to_yuv,
        colour_shift=to_yuv[:, :3] @ ((before - after) * mask.tones).sum(axis=(0, 1)),
        gains=(1.0, chroma_gain, chroma_gain),
    )


def _paint(frame: Frame, index: int, patches: Sequence[_Patch]) -> Plane:
    """Return one plane with all faces in it; the plane itself when nothing is to be done."""
    plane = frame.planes[index]
    patches = [patch for patch in patches if patch.gains[index] > 0]
    if not patches:
        return plane
    painted = plane.copy()
    peak = (1 << frame.layout.bits) - 1
    for (left, top, right, bottom), members in _touching([p.boxes[index] for p in patches]):
        film = plane[top:bottom, left:right].astype(np.float32)
        if len(members) == 1:
            film += patches[members[0]].change(index, film)
        else:
            film += _shared_change([patches[k] for k in members], index, (left, top), film)
        np.rint(film, out=film)
        np.clip(film, 0, peak, out=film)
        painted[top:bottom, left:right] = film
    return painted


def _shared_change(
    patches: Sequence[_Patch], index: int, origin: tuple[int, int], film: FloatPlane
) -> FloatPlane:
    """Sum the changes of several faces; where their weights exceed 1, they share it."""
    change, total = np.zeros_like(film), np.zeros_like(film)
    for patch in patches:
        left, top, right, bottom = patch.boxes[index]
        part = np.s_[top - origin[1] : bottom - origin[1], left - origin[0] : right - origin[0]]
        change[part] += patch.change(index, film[part])
        total[part] += patch.weights[index]
    change /= np.maximum(total, 1)
    return change


def _region(frame: Frame, crop_from_frame: Matrix, mask: FaceMask) -> PaintedRegion | None:
    """Find the luma box, in whole chroma samples, that the mask reaches; None if it is empty."""
    corners = transform_points(invert_affine(crop_from_frame), mask.corners)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    step_x, step_y = 1 << frame.layout.chroma_shift_x, 1 << frame.layout.chroma_shift_y
    region = PaintedRegion(
        left=max(math.floor(left / step_x) * step_x, 0),
        top=max(math.floor(top / step_y) * step_y, 0),
        right=min(math.ceil((right + 1) / step_x) * step_x, frame.geometry.width),
        bottom=min(math.ceil((bottom + 1) / step_y) * step_y, frame.geometry.height),
    )
    return region if region.left < region.right and region.top < region.bottom else None


def _touching(boxes: Sequence[Box]) -> list[tuple[Box, list[int]]]:
    """Gather boxes that overlap, directly or by way of others, with the box around each group."""
    groups = [(box, [k]) for k, box in enumerate(boxes)]
    while True:
        for (a, members), (b, others) in itertools.combinations(groups, 2):
            if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]:
                around = min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
                groups.remove((a, members))
                groups.remove((b, others))
                groups.append((around, members + others))
                break
        else:
            return groups


def _thumbnail(image: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    size = (_THUMBNAIL, _THUMBNAIL)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.float64)


def _chroma_gain(weighted: npt.NDArray[np.float64], layout: PixelLayout) -> float:
    """Tell grey from coloured by a thumbnail times its weights, whose sum is 1."""
    side = _THUMBNAIL // _CELLS
    cells = weighted.reshape(_CELLS, side, _CELLS, side, 3).sum(axis=(1, 3))
    colour = float(colourfulness(cells, layout).sum())
    return _ease((colour - _GREY) / (_COLOURED - _GREY))


def _ease(x: float) -> float:
    """Rise from 0 at 0 to 1 at 1 without a kink (smoothstep)."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)
