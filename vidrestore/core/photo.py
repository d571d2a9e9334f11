"""A photograph as frames: the surroundings of its faces, and what a restoration changes in them.

The stages work on YUV planes. A photograph is RGB, and going to YUV and back would change samples
that no face reaches. So only the *change* goes back: the planes before are taken from those after,
and what remains, zero outside of the faces, is added to the photograph's own samples. The planes
have 16 bits, so that rounding is a hundredth of a level.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components

from vidrestore.contracts import (
    BlendedFrame,
    Frame,
    FrameGeometry,
    Matrix,
    PixelLayout,
    Plane,
    RestoredFace,
    RGBImage,
)
from vidrestore.core.colour import FloatPlane, rgb_from_yuv_matrix, yuv_from_rgb_matrix
from vidrestore.core.compositing import FaceMask
from vidrestore.core.gates import GATES, measure_pictures
from vidrestore.core.geometry import area_scale, invert_affine, transform_points
from vidrestore.core.warping import Box

LAYOUT = PixelLayout("yuv444p16le", 16, 0, 0, is_full_range=True, kr=0.299, kb=0.114)
_CODES_PER_LEVEL = 257
"""Of 16 bits in one of 8, full range."""

_PAD = 4
"""A window reaches so many crop pixels, and as many of its own, beyond the crops; what the
low-pass of `warping.resample` looks at is inside."""
_TICKS_APART = 1000
"""Between frames that have nothing to do with each other."""
_MEDIAN_TO_STD = 1.4826
_DETAIL_SIGMA = 1.5
"""That of the fine detail in `gates`."""

Samples = npt.NDArray[Any]
"""Shape (H, W, C), uint8 or uint16; C is 1 (grey), 2 (with alpha), 3 (R, G, B) or 4."""


def eight_bit_rgb(samples: Samples) -> RGBImage:
    """Return the picture without alpha as (H, W, 3), uint8; a view where that is possible."""
    colour = samples[..., :3] if samples.shape[2] >= 3 else samples[..., [0, 0, 0]]
    if colour.dtype == np.uint16:
        return (colour >> 8).astype(np.uint8)
    return colour


def windows_around(
    crops_from_picture: Sequence[Matrix], size: int, shape: tuple[int, ...]
) -> list[tuple[Box, list[int]]]:
    """Find the parts of a picture that hold all that the given crops see.

    Args:
        crops_from_picture: Picture coordinates to crop coordinates, for each face.
        size: Side S of the crops.
        shape: Of the picture, (H, W, ...).

    Returns:
        For each group of faces whose surroundings overlap, the box around them and the faces'
        numbers; faces outside of the picture are in none.
    """
    height, width = shape[:2]
    limits = np.array([width, height, width, height])
    corners = np.array([[0, 0], [size - 1, 0], [0, size - 1], [size - 1, size - 1]])
    boxes = np.zeros((len(crops_from_picture), 4), np.int64)
    for box, matrix in zip(boxes, crops_from_picture, strict=True):
        seen = transform_points(invert_affine(matrix), corners)
        pad = _PAD * (math.ceil(1 / area_scale(matrix)) + 1)
        box[:2], box[2:] = np.floor(seen.min(axis=0)) - pad, np.ceil(seen.max(axis=0)) + pad
    boxes = boxes.clip(0, limits)
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    overlap = (low < boxes[None, :, 2:]).all(axis=2) & (boxes[None, :, :2] < high).all(axis=2)
    is_inside = (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
    count, labels = connected_components(np.asarray(overlap), directed=False)
    groups = []
    for label in range(count):
        members = np.flatnonzero((labels == label) & is_inside)
        if members.size:
            (left, top), (right, bottom) = (
                boxes[members, :2].min(axis=0).tolist(),
                boxes[members, 2:].max(axis=0).tolist(),
            )
            groups.append(((left, top, right, bottom), members.tolist()))
    return groups


def frame_of(samples: Samples, box: Box, number: int) -> Frame:
    """Make a frame of a part of a picture.

    Args:
        samples: The picture.
        box: Which part.
        number: Frames of different numbers have nothing to do with each other.
    """
    left, top, right, bottom = box
    part = samples[top:bottom, left:right]
    rgb = (part[..., :3] if part.shape[2] >= 3 else part[..., [0, 0, 0]]).astype(np.float32)
    if part.dtype == np.uint16:
        rgb /= _CODES_PER_LEVEL
    codes = cv2.transform(rgb, yuv_from_rgb_matrix(LAYOUT))
    planes = cv2.split(np.rint(codes).clip(0, 65535).astype(np.uint16))
    height, width = part.shape[:2]

    def render_rgb(to_width: int, to_height: int) -> RGBImage:
        whole = np.ascontiguousarray(eight_bit_rgb(part))
        shown = cv2.resize(whole, (to_width, to_height), interpolation=cv2.INTER_AREA)
        return np.asarray(shown, np.uint8)

    return Frame(
        planes=(planes[0], planes[1], planes[2]),
        pts=number,
        time_base=Fraction(1),
        duration=1,
        seconds=float(number),
        tick=number * _TICKS_APART,
        layout=LAYOUT,
        geometry=FrameGeometry(width, height),
        render_rgb=render_rgb,
    )


def apply_changes(samples: Samples, box: Box, blended: BlendedFrame) -> None:
    """Add to a picture, in place, what was changed in one of its frames.

    Where no plane changed, and in the alpha channel, nothing does.

    Args:
        samples: The picture, writable.
        box: The part that the frame was made of.
        blended: The frame before and after.
    """
    regions = [region for region in blended.regions if region is not None]
    if not regions:
        return
    rows = slice(min(r.top for r in regions), max(r.bottom for r in regions))
    columns = slice(min(r.left for r in regions), max(r.right for r in regions))
    before, after = blended.original.planes, blended.frame.planes
    steps = np.stack(
        [_step(b[rows, columns], a[rows, columns]) for b, a in zip(before, after, strict=True)],
        axis=-1,
    )
    per_level = _CODES_PER_LEVEL if samples.dtype == np.uint16 else 1
    num_colours = 3 if samples.shape[2] >= 3 else 1
    from_yuv = per_level * rgb_from_yuv_matrix(LAYOUT)[:num_colours, :3]
    left, top, _, _ = box
    target = samples[top:, left:][rows, columns, :num_colours]  # a view: it is written to
    changed = target.astype(np.float32) + steps @ from_yuv.T.astype(np.float32)
    target[...] = np.rint(changed).clip(0, np.iinfo(samples.dtype).max)


def _step(before: Plane, after: Plane) -> FloatPlane:
    return after.astype(np.float32) - before.astype(np.float32)


def hold_back_sharp(face: RestoredFace, mask: FaceMask) -> RestoredFace:
    """Show less of a face whose photograph has more detail than the restored one.

    In a film the noise, which must not be taken for detail, is what differs between two pictures.
    In one picture it is estimated from the median of the fine detail, which noise moves and the few
    sharp edges of a face do not (Donoho and Johnstone 1994, "Ideal spatial adaptation by wavelet
    shrinkage", section 5).

    Args:
        face: Restored, and judged by all else.
        mask: For its crop.
    """
    left, top, right, bottom = mask.box
    part = np.s_[top:bottom, left:right]
    film, restored = (_luma(crop[part]) for crop in (face.aligned.crop, face.crop))
    weights = np.ascontiguousarray(mask.weights[part])
    detail = film - cv2.GaussianBlur(film, (0, 0), _DETAIL_SIGMA)
    noise = _MEDIAN_TO_STD * float(np.median(np.abs(detail[weights > 0.5])))
    _, gain, _, _ = measure_pictures(film, restored, noise, weights)
    gate = GATES["gain"]
    openness = float(gate(np.array([gain]))[0])
    if openness >= min(face.strength, 1.0):
        return face
    return dataclasses.replace(face, strength=openness, held_back=gate.reason)


def _luma(crop: RGBImage) -> FloatPlane:
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.float32)
