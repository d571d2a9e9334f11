"""Where a head belongs in an ID photo, and how another colour comes behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import Matrix, Points, RGBImage
from vidrestore.core.colour import FloatPlane

# Distances from the line of the eyes in units of that between the eyes, about 63 mm: to the mouth
# 66 mm, to the crown 122 mm, to the chin 110 mm (means of adults, rounded, after Farkas 1994,
# "Anthropometry of the Head and Face").
_MOUTH, _CROWN, _CHIN = 1.05, 1.94, 1.75

_CUT_HEIGHT = 300
"""GrabCut works on a picture no higher than this, in pixels: its time grows with the area, and the
filter finds the edge at full size."""
_FUSION_SIGMAS = (30.0, 3.0)
"""Blurs of the two passes that estimate the colour of hair, pixels."""


@dataclass(frozen=True, slots=True)
class IdPhotoStandard:
    """A size of ID photo, at 300 pixels an inch."""

    width: int
    height: int
    head: float
    """From chin to crown, as a share of the height."""
    top: float
    """From the upper edge to the crown, as a share of the height."""


STANDARDS = {
    # China's small sizes have no rule of their own for the head: that of its passport photos is
    # taken, 28 to 33 mm of 48 from chin to crown, 3 to 5 mm of them above it.
    "1in": IdPhotoStandard(295, 413, head=0.63, top=0.10),
    "2in": IdPhotoStandard(413, 579, head=0.63, top=0.10),
    # ICAO Doc 9303, part 3, section II: 70 to 80 % from chin to crown
    "35x45": IdPhotoStandard(413, 531, head=0.74, top=0.09),
}
DPI = 300.0


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Where a head is in a picture, as its landmarks tell."""

    crown: npt.NDArray[np.float64]
    """(x, y); of the skull, hair rises above it."""
    chin: npt.NDArray[np.float64]

    @classmethod
    def of(cls, landmarks: Points) -> Head:
        """Estimate it from landmarks of shape (5, 2) of a face seen from the front."""
        points = landmarks.astype(np.float64)
        eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
        along = points[1] - points[0]
        # down is square to the line of the eyes, so that a nod does not tilt the head
        down = np.array([-along[1], along[0]]) / np.hypot(*along)
        # a smile lifts the corners of the mouth, a turn brings the eyes together
        unit = max(float((mouth - eyes) @ down) / _MOUTH, float(np.hypot(*along)))
        return cls(crown=eyes - _CROWN * unit * down, chin=eyes + _CHIN * unit * down)

    @property
    def height(self) -> float:
        """From chin to crown, pixels."""
        return float(np.linalg.norm(self.chin - self.crown))


def id_photo_from_picture(head: Head, standard: IdPhotoStandard) -> Matrix:
    """Return the transform that brings a head upright to its place in an ID photo."""
    scale = standard.head * standard.height / head.height
    down = (head.chin - head.crown) / head.height
    turn = scale * np.array([[down[1], -down[0]], [down[0], down[1]]])
    place = np.array([(standard.width - 1) / 2, standard.top * standard.height - 0.5])
    return np.column_stack([turn, place - turn @ head.crown])


def cut_out(picture: RGBImage, landmarks: Points) -> FloatPlane:
    """Find the person in an ID photo without a network.

    GrabCut (Rother, Kolmogorov and Blake 2004) begins with the face as certain, head and shoulders
    as likely and the upper corners as certain background. Its hard edge is softened along the
    picture's own edges by a guided filter (He, Sun and Tang 2010).

    Args:
        picture: Shape (H, W, 3), one upright head.
        landmarks: Of the head.

    Returns:
        Shape (H, W), float32, 0..1: how much of each pixel is the person.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, _CUT_HEIGHT / height)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    there = ((landmarks + 0.5) * scale - 0.5).astype(np.float32)
    trimap = _first_guess(small.shape[:2], Head.of(there))
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # the same picture gives the same cut
    cv2.grabCut(small, trimap, (0, 0, 0, 0), *models, 4, cv2.GC_INIT_WITH_MASK)
    cut = ((trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)).astype(np.float32)
    is_person = (cv2.resize(cut, (width, height)) >= 0.5).astype(np.uint8)
    is_person = _without_specks(is_person, landmarks)
    radius = max(2, round(picture.shape[0] / 100))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    soft = _guided(is_person.astype(np.float32), grey, radius, 1e-4)
    # only a band about the edge is in doubt
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    inner, outer = cv2.erode(is_person, reach), cv2.dilate(is_person, reach)
    return np.asarray(soft.clip(inner, outer), np.float32)


def on_background(picture: RGBImage, alpha: FloatPlane, colour: tuple[int, int, int]) -> RGBImage:
    """Show a person before a plain colour.

    In hair each pixel is a mixture; its part of the person is estimated by blur fusion (Forte 2021,
    "Approximate Fast Foreground Colour Estimation", ICIP), so that the old background does not
    shine through.

    Args:
        picture: Shape (H, W, 3).
        alpha: Shape (H, W), how much of each pixel is the person.
        colour: R, G, B.
    """
    seen = picture.astype(np.float32)
    share = alpha[..., None]
    person = behind = seen
    for sigma in _FUSION_SIGMAS:
        person, behind = _fused(seen, person, behind, share, sigma)
    mixed = share * person + (1 - share) * np.array(colour, np.float32)
    # what is certain stays exactly as it was
    shown = np.where(share == 1, seen, mixed)
    return np.asarray(np.rint(shown).clip(0, 255), np.uint8)


Colours = npt.NDArray[np.float32]


def _fused(
    seen: Colours, person: Colours, behind: Colours, share: FloatPlane, sigma: float
) -> tuple[Colours, Colours]:
    """Do one pass of blur fusion: F = F' + α(I - αF' - (1 - α)B'), F' and B' being local means."""

    def mean(image: Colours, weights: FloatPlane) -> Colours:
        total = cv2.GaussianBlur(image * weights, (0, 0), sigma)
        norm = cv2.GaussianBlur(weights[..., 0], (0, 0), sigma)
        return np.asarray(total / (norm[..., None] + 1e-5), np.float32)

    around, beyond = mean(person, share), mean(behind, 1 - share)
    found = around + share * (seen - share * around - (1 - share) * beyond)
    return found.clip(0, 255), beyond


def _first_guess(shape: tuple[int, int], head: Head) -> npt.NDArray[np.uint8]:
    trimap = np.full(shape, cv2.GC_PR_BGD, np.uint8)
    height, width = shape
    middle = (head.crown + head.chin) / 2
    tall = head.height
    x, y = round(float(middle[0])), round(float(middle[1]))

    def ellipse(what: int, across: float, up: float) -> None:
        axes = round(across * tall), round(up * tall)
        cv2.ellipse(trimap, (x, y), axes, 0, 0, 360, what, cv2.FILLED)

    chin = float(head.chin[1])
    shoulders = [
        (x - 0.2 * tall, chin), (x + 0.2 * tall, chin), (x + 0.85 * tall, chin + 0.4 * tall),
        (x + 0.85 * tall, height + tall), (x - 0.85 * tall, height + tall),
        (x - 0.85 * tall, chin + 0.4 * tall),
    ]  # fmt: skip
    cv2.fillPoly(trimap, [np.round(shoulders).astype(np.int32)], cv2.GC_PR_FGD)
    ellipse(cv2.GC_PR_FGD, 0.47, 0.60)
    ellipse(cv2.GC_FGD, 0.27, 0.40)
    chest = [
        (x - 0.12 * tall, y), (x + 0.12 * tall, y), (x + 0.12 * tall, chin + 0.2 * tall),
        (x + 0.5 * tall, chin + 0.5 * tall), (x + 0.5 * tall, height + tall),
        (x - 0.5 * tall, height + tall), (x - 0.5 * tall, chin + 0.5 * tall),
        (x - 0.12 * tall, chin + 0.2 * tall),
    ]  # fmt: skip
    cv2.fillPoly(trimap, [np.round(chest).astype(np.int32)], cv2.GC_FGD)
    edge = max(1, width // 60)
    above_chin = max(0, min(height, round(chin)))
    trimap[:above_chin, :edge] = cv2.GC_BGD
    trimap[:above_chin, -edge:] = cv2.GC_BGD
    return trimap


def _without_specks(is_person: npt.NDArray[np.uint8], landmarks: Points) -> npt.NDArray[np.uint8]:
    """Keep the piece that holds the nose, and fill the holes in it."""
    _, labels = cv2.connectedComponents(is_person)
    height, width = is_person.shape
    x, y = landmarks[2].round().astype(int).clip(0, [width - 1, height - 1])
    piece = np.asarray(labels == labels[y, x], np.uint8)
    count, holes = cv2.connectedComponents(1 - piece)
    edge = {*holes[0].tolist(), *holes[:, 0].tolist(), *holes[:, -1].tolist()}
    for label in range(1, count):
        if label not in edge:
            piece[holes == label] = 1
    return piece


def _guided(
    mask: npt.NDArray[Any], guide: npt.NDArray[Any], radius: int, epsilon: float
) -> FloatPlane:
    """Filter a mask by the edges of a guide (He et al. 2010, algorithm 1)."""

    def mean(image: npt.NDArray[Any]) -> FloatPlane:
        side = 2 * radius + 1
        return np.asarray(cv2.blur(image, (side, side)), np.float32)

    mean_guide, mean_mask = mean(guide), mean(mask)
    slope = (mean(guide * mask) - mean_guide * mean_mask) / (
        mean(guide * guide) - mean_guide * mean_guide + epsilon
    )
    offset = mean_mask - slope * mean_guide
    return np.asarray((mean(slope) * guide + mean(offset)).clip(0, 1), np.float32)
