"""What one face region tells of a film: flicker, detail that lasts, pumping light, identity.

One motion field serves all films that are compared: that of the truth where there is one, else
of the original after a light low-pass. So no film is judged by a motion of its own making.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import Frame, FrameGeometry, Points
from vidrestore.core.geometry import (
    compose,
    invert_affine,
    similarity_transform,
    transform_points,
    upright_from_frame,
)
from vidrestore.core.metrics import (
    FloatImage,
    Mask,
    MotionField,
    lasting_detail,
    psnr,
    second_differences,
    sharpness,
    warping_error,
)
from vidrestore.core.warping import crop_from_planes
from vidrestore.evaluate.film_faces import FilmFace
from vidrestore.models.identity import CHIP_LANDMARKS, CHIP_SIZE, DlibIdentity
from vidrestore.models.registry import Template, landmark_template

_MARGIN_PX = 24
"""Around the face, for the flow to see where things come from."""
_MOST_EYE_DISTANCE_PX = 96.0
"""Larger faces are looked at in a picture shrunk to this, which costs less."""
_LOW_PASS_SIGMA_PX = 2.0
"""Less lets the flow match noise with noise, which flatters the noisy film."""
_LEAST_SIDE_PX = 32
# The face without most of the hair, in the 512-pixel crop of the FFHQ template.
_FACE_512 = np.array([[112, 120], [400, 120], [400, 340], [330, 460], [182, 460], [112, 340]])


@dataclass(frozen=True, slots=True)
class SideMeasures:
    """What was measured of one film; None where it could not be."""

    warping_error: float | None
    """E_warp, mean over pairs of frames, levels²."""
    lasting_detail: float | None
    """RMS of the fine detail that neighbouring frames share, levels."""
    luma_pumping: float | None
    """RMS second difference, from frame to frame, of the mean luma of the face, levels."""
    psnr_db: float | None
    """Of the luma of the faces against the truth."""
    sharpness: float | None
    """Of the luma of the faces, over that of the truth; noise counts here."""
    lasting_sharpness: float | None
    """Lasting detail over that of the truth, or of the original where there is no truth."""
    identity_distance: float | None
    """Mean distance of dlib's embeddings from those of the truth, or of the original."""
    identity_variation: float | None
    """RMS distance of a track's embeddings from their mean."""


class FilmSide:
    """Gathers the figures of one film."""

    def __init__(self, metric: DlibIdentity | None) -> None:
        """Begin; without ``metric`` nothing is said of identity."""
        self.metric = metric
        self.warping_errors: list[float] = []
        self.details: list[float] = []
        self.psnrs: list[float] = []
        self.sharpnesses: list[float] = []
        self.lumas: dict[int, list[tuple[int, float]]] = {}
        """For each track (number of the frame, mean luma)."""
        self.embeddings: dict[int, dict[int, npt.NDArray[np.float64]]] = {}
        """For each track, by the number of the frame."""

    def measures(self, best: FilmSide, original: FilmSide) -> SideMeasures:
        """Return the means; ``best`` is the truth if there is one, else the original."""
        detail, best_detail = _detail(self.details), _detail(best.details)
        return SideMeasures(
            warping_error=_mean(self.warping_errors),
            lasting_detail=detail,
            luma_pumping=self._pumping(),
            psnr_db=_mean(self.psnrs),
            sharpness=_mean(self.sharpnesses),
            lasting_sharpness=None if detail is None or not best_detail else detail / best_detail,
            identity_distance=self._distance(best),
            identity_variation=self._variation(),
        )

    def _pumping(self) -> float | None:
        squares: list[float] = []
        for rows in self.lumas.values():
            numbers = np.array([number for number, _ in rows])
            second = second_differences(np.array([value for _, value in rows]))
            is_running = numbers[2:] - numbers[:-2] == 2
            squares += np.square(second[is_running]).tolist()
        return math.sqrt(float(np.mean(squares))) if squares else None

    def _distance(self, best: FilmSide) -> float | None:
        apart = [
            float(np.linalg.norm(own - best.embeddings[track][number]))
            for track, rows in self.embeddings.items()
            for number, own in rows.items()
        ]
        return _mean(apart)

    def _variation(self) -> float | None:
        squares: list[float] = []
        for rows in self.embeddings.values():
            if len(rows) < 2:
                continue
            all_of = np.stack(list(rows.values()))
            squares += np.square(all_of - all_of.mean(axis=0)).sum(axis=1).tolist()
        return math.sqrt(float(np.mean(squares))) if squares else None


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """Frames of one moment: of the original, the restored film and, if there is one, the truth."""

    number: int
    frames: Sequence[Frame]
    earlier: Sequence[Frame] | None
    """The frames before them; None if the face was not there."""


class FaceMoment:
    """One face in one frame, and in the frame before if it was there."""

    def __init__(self, geometry: FrameGeometry, face: FilmFace, earlier: FilmFace | None) -> None:
        """Settle which part of the pictures is looked at, and at what size."""
        self._track_id = face.track_id
        self._upright_from_frame = upright_from_frame(geometry)
        frame_from_upright = invert_affine(self._upright_from_frame)
        self._landmarks = face.smoothed
        outline = _outline(face.smoothed, self._upright_from_frame)
        corners = [outline]
        if earlier is not None:
            corners.append(_outline(earlier.smoothed, self._upright_from_frame))
        spread = np.concatenate(corners)
        low = np.floor(spread.min(axis=0)).astype(int) - _MARGIN_PX
        high = np.ceil(spread.max(axis=0)).astype(int) + _MARGIN_PX + 1
        left, top = np.maximum(low, 0).tolist()
        right, bottom = np.minimum(high, (geometry.width, geometry.height)).tolist()
        eyes = transform_points(frame_from_upright, face.smoothed[:2])
        distance = max(1.0, float(np.linalg.norm(eyes[1] - eyes[0])))
        shrink = min(1.0, _MOST_EYE_DISTANCE_PX / distance)
        self._box = left, top, right, bottom
        self._size = round((right - left) * shrink), round((bottom - top) * shrink)
        self._mask = self._draw(outline, shrink)

    def measure(self, film: Film, sides: Sequence[FilmSide], *, with_identity: bool) -> None:
        """Measure this face in every film."""
        if min(self._size) < _LEAST_SIDE_PX or not self._mask.any():
            return
        now = [self._patch(frame) for frame in film.frames]
        for side, patch in zip(sides, now, strict=True):
            rows = side.lumas.setdefault(self._track_id, [])
            rows.append((film.number, float(patch[self._mask].mean())))
        if len(now) > 2:
            self._compare_with_truth(now, sides)
        if film.earlier is not None:
            self._compare_with_earlier(now, [self._patch(f) for f in film.earlier], sides)
        if with_identity:
            for side, frame in zip(sides, film.frames, strict=True):
                self._embed(film.number, frame, side)

    def _compare_with_truth(self, now: Sequence[FloatImage], sides: Sequence[FilmSide]) -> None:
        rows, columns = np.flatnonzero(self._mask.any(axis=1)), np.flatnonzero(self._mask.any(0))
        inner = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        truth = now[-1]
        for side, patch in zip(sides, now, strict=True):
            side.psnrs.append(psnr(patch[self._mask][None], truth[self._mask][None]))
            side.sharpnesses.append(sharpness(patch[inner], truth[inner]))

    def _compare_with_earlier(
        self, now: Sequence[FloatImage], before: Sequence[FloatImage], sides: Sequence[FilmSide]
    ) -> None:
        guide = -1 if len(now) > 2 else 0
        motion = MotionField(
            _guide(before[guide], is_clean=guide == -1), _guide(now[guide], is_clean=guide == -1)
        )
        if not (self._mask & motion.is_seen).any():
            return
        for side, earlier, patch in zip(sides, before, now, strict=True):
            side.warping_errors.append(warping_error(earlier, patch, motion, self._mask))
            side.details.append(lasting_detail(earlier, patch, motion, self._mask))

    def _embed(self, number: int, frame: Frame, side: FilmSide) -> None:
        chip_from_upright = similarity_transform(self._landmarks, CHIP_LANDMARKS)
        if side.metric is None or chip_from_upright is None:
            return
        chip_from_frame = compose(chip_from_upright, self._upright_from_frame)
        chip = crop_from_planes(frame, chip_from_frame, CHIP_SIZE)
        side.embeddings.setdefault(self._track_id, {})[number] = side.metric.describe(chip)

    def _patch(self, frame: Frame) -> FloatImage:
        """Cut the region out of the luma plane, in levels of 8 bit."""
        left, top, right, bottom = self._box
        part = frame.planes[0][top:bottom, left:right].astype(np.float32)
        part *= np.float32(2.0 ** (8 - frame.layout.bits))
        if part.shape[::-1] == self._size:
            return part
        return np.asarray(cv2.resize(part, self._size, interpolation=cv2.INTER_AREA))

    def _draw(self, outline: npt.NDArray[np.float64], shrink: float) -> Mask:
        mask = np.zeros((max(0, self._size[1]), max(0, self._size[0])), np.uint8)
        if mask.size:
            points = (outline - self._box[:2] + 0.5) * shrink - 0.5
            cv2.fillConvexPoly(mask, np.rint(points).astype(np.int32), 1)
        return mask.astype(np.bool_)


def _outline(landmarks: Points, upright_from_frame_: Any) -> npt.NDArray[np.float64]:  # noqa: ANN401
    """Return the corners of the face in frame pixels, (6, 2)."""
    upright_from_crop = similarity_transform(landmark_template(Template.FFHQ, 512), landmarks)
    if upright_from_crop is None:
        return np.repeat(landmarks.astype(np.float64).mean(axis=0)[None], 6, axis=0)
    frame_from_crop = compose(invert_affine(upright_from_frame_), upright_from_crop)
    return transform_points(frame_from_crop, _FACE_512)


def _guide(patch: FloatImage, *, is_clean: bool) -> npt.NDArray[np.uint8]:
    """Make the picture that the flow is estimated in."""
    smooth = patch if is_clean else cv2.GaussianBlur(patch, (0, 0), _LOW_PASS_SIGMA_PX)
    return np.clip(np.rint(smooth), 0, 255).astype(np.uint8)


def _detail(energies: Sequence[float]) -> float | None:
    return math.sqrt(max(0.0, float(np.mean(energies)))) if energies else None


def _mean(values: Sequence[float]) -> float | None:
    known = [v for v in values if math.isfinite(v)]
    return float(np.mean(known)) if known else None
