"""When a restored face had better not be shown, and how to stop showing it without a step.

Each gate compares one measure of a face with two bounds: at the upper one and above it the gate is
open, at the lower one shut, and in between it opens in proportion. What a face shows is what the
narrowest gate lets through. Measures tremble, so each is a median over some frames, and each gate
has play (backlash): it stays where it is until the measure has moved by more than that.

The state of a gate is a function of a bounded stretch of film before a frame; see `warmup_ticks`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import Frame, Matrix, Points
from vidrestore.core.colour import FloatPlane
from vidrestore.core.geometry import invert_affine, transform_points

Floats = npt.NDArray[np.float64]

_BLOCK = 12
"""A gate's play is followed from the beginning of the block of so many ticks before the present."""
_MEDIAN_TICKS = 5
_PLAY = 0.1
_LEAST_DETAIL = 1.0
"""Energy of detail, in squared levels, below which there is none to speak of."""


IDENTITY_TICKS = 96
"""Identity, two embeddings, is measured once in so many ticks, on a grid that begins at 0."""


def warmup_ticks(*, with_identity: bool = False) -> int:
    """Return how many ticks of the past the gates of a frame depend on."""
    return 2 * _BLOCK + _MEDIAN_TICKS + (IDENTITY_TICKS if with_identity else 0)


@dataclass(frozen=True, slots=True)
class Measures:
    """What the gates judge a face by; the larger, the better it may be restored."""

    width: float
    """Of the face, twice the distance of its eyes, in display pixels."""
    frontality: float
    """Distance of the eyes over that from eyes to mouth: 1 from the front, less when turned."""
    inside: float
    """Share of the face that lies inside of the picture, 0..1."""
    structure: float
    """Contrast of features of a fiftieth of the face over that of features twice the size: 0.7 as
    a rule, 0.36 in a face of 14 blurred pixels, 0.31 in a mere blot."""
    gain: float
    """RMS of the fine detail restored over that in the film, its noise taken off. Below 1 the
    film has more to show than the network; NaN where the noise is not known."""
    agreement: float
    """Minus the largest difference of brightness, in levels, between parts of the restored and of
    the filmed face: a hand or a microphone that was painted over."""
    likeness: float
    """Correlation of the features, restored with filmed, -1..1."""
    identity: float = math.nan
    """Minus the distance between the embeddings of the filmed and of the restored face; NaN where
    no embedder is installed."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The bounds of one measure."""

    reason: str
    """Why a face is held back, for people: ``already sharp``."""
    shut: float
    open: float

    def __call__(self, measured: Floats) -> Floats:
        """Return how far the gate is open, 0..1, for each measurement; open where it is NaN."""
        share = np.clip((measured - self.shut) / (self.open - self.shut), 0.0, 1.0)
        return np.where(np.isnan(share), 1.0, share)


# Bounds of structure and gain, see docs/STEADINESS.md: where the gain was below 1.3, the network's
# picture was further from the clean one than the film's in seven of ten faces; above, in one of
# eight. No network in use comes near those of agreement and likeness with a face it knows; another
# person's face does.
GATES = {
    "width": Gate("too small", 16.0, 24.0),
    "frontality": Gate("turned away", 0.30, 0.55),
    "inside": Gate("partly out of the picture", 0.60, 0.80),
    "structure": Gate("too blurred", 0.32, 0.36),
    "gain": Gate("already sharp", 1.10, 1.40),
    "agreement": Gate("covered", -40.0, -24.0),
    "likeness": Gate("not the same face", 0.70, 0.85),
    "identity": Gate("not the same face", -0.60, -0.50),
}
assert list(GATES) == [f.name for f in fields(Measures)]


def measure_geometry(
    landmarks: Points, frame: Frame, crop_from_frame: Matrix, mask: FloatPlane
) -> tuple[float, float, float]:
    """Return width, frontality and inside of `Measures`.

    Args:
        landmarks: Shape (5, 2), display pixels.
        frame: Gives the size of the picture.
        crop_from_frame: Of the face's crop.
        mask: How much of each pixel of the crop is shown, shape (S, S), 0..1.
    """
    eyes = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    height = float(np.linalg.norm(landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0)))
    cells = cv2.resize(mask, (16, 16), interpolation=cv2.INTER_AREA)
    step = mask.shape[0] / 16
    places = (np.arange(16) + 0.5) * step - 0.5
    x, y = np.meshgrid(places, places)
    points = transform_points(
        invert_affine(crop_from_frame), np.stack([x.ravel(), y.ravel()], axis=1)
    )
    limits = np.array([frame.geometry.width, frame.geometry.height]) - 0.5
    is_inside = ((points >= -0.5) & (points <= limits)).all(axis=1)
    inside = float(cells.ravel()[is_inside].sum() / cells.sum())
    return 2 * eyes, eyes / (height + 1e-6), inside


def measure_pictures(
    film: FloatPlane, restored: FloatPlane, noise: float | None, mask: FloatPlane
) -> tuple[float, float, float, float]:
    """Return structure, gain, agreement and likeness of `Measures`.

    Args:
        film: Luma of the crop, (H, W), 0..255.
        restored: Luma of the restored crop.
        noise: Standard deviation of the noise in the film's fine detail, in levels, or None.
        mask: How much of each pixel is shown, (H, W), 0..1.
    """
    weights = _small(mask)
    weights /= weights.sum()
    before, after = _small(film), _small(restored)
    fine, middle = _band(before, 0.75, 1.5), _band(before, 1.5, 3.0)
    features = [_band(image, 1.5, 6.0) for image in (before, after)]
    covariance = float((features[0] * features[1] * weights).sum())
    likeness = covariance / (_rms(features[0], weights) * _rms(features[1], weights) + 1e-6)
    change = np.asarray(cv2.GaussianBlur(after - before, (0, 0), 3.0))
    change -= (change * weights).sum()
    largest = float(np.abs(change[weights > weights.max() / 2]).max())
    structure = _rms(fine, weights) / (_rms(middle, weights) + 1e-6)
    return structure, _gain(film, restored, noise, mask), -largest, likeness


def _gain(film: FloatPlane, restored: FloatPlane, noise: float | None, mask: FloatPlane) -> float:
    if noise is None:
        return float("nan")
    energies = [
        float((np.square(image - cv2.GaussianBlur(image, (0, 0), 1.5)) * mask).sum() / mask.sum())
        for image in (film, restored)
    ]
    real = max(energies[0] - noise * noise, 0.0)
    return float(np.sqrt((energies[1] + _LEAST_DETAIL) / (real + _LEAST_DETAIL)))


def _small(image: FloatPlane) -> FloatPlane:
    return np.asarray(cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA), np.float32)


def _band(image: FloatPlane, fine: float, coarse: float) -> FloatPlane:
    """Return the features between two sizes: a difference of Gaussians of those sigmas."""
    blurred = [cv2.GaussianBlur(image, (0, 0), sigma) for sigma in (fine, coarse)]
    return np.asarray(blurred[0] - blurred[1], np.float32)


def _rms(image: FloatPlane, weights: FloatPlane) -> float:
    return float(np.sqrt((np.square(image) * weights).sum()))


class GateKeeper:
    """Follows the gates of one face through a shot, in bounded memory."""

    def __init__(self) -> None:
        self._identity = -1, math.nan
        self._ticks: list[int] = []
        self._measures: list[Floats] = []
        self._shares: list[Floats] = []
        """How far each gate would be open at each tick, before its play."""

    def add(self, tick: int, measures: Measures) -> None:
        """Take the measures of the next frame; ticks do not decrease."""
        row = np.array([getattr(measures, name) for name in GATES], dtype=np.float64)
        if self._measures and np.isnan(self._measures[-1]).any():
            # what the first picture of a face cannot know, the second tells
            first = self._measures[-1]
            first[np.isnan(first)] = row[np.isnan(first)]
            self._shares[-1] = self._shares_at(len(self._measures) - 1)
        self._ticks.append(tick)
        self._measures.append(row)
        self._shares.append(self._shares_at(len(self._measures) - 1))
        num_old = sum(t < tick - 2 * _BLOCK - 2 * _MEDIAN_TICKS for t in self._ticks)
        del self._ticks[:num_old], self._measures[:num_old], self._shares[:num_old]

    def identity_at(self, tick: int, measure: Callable[[], float]) -> float:
        """Return what was measured at the face's first frame in this stretch of the grid.

        Args:
            tick: Of the frame; does not decrease.
            measure: Called if this is that frame.
        """
        stretch = tick // IDENTITY_TICKS
        if stretch != self._identity[0]:
            self._identity = stretch, measure()
        return self._identity[1]

    def is_stale(self, tick: int) -> bool:
        """Say whether nothing at that tick or later can ask for this face."""
        return self._ticks[-1] < tick - 2 * _BLOCK - 2 * _MEDIAN_TICKS

    def openness(self, tick: int) -> tuple[float, str | None]:
        """Return how much of the face may be shown at a tick, and what holds back the rest.

        Returns:
            0..1, and the reason of the narrowest gate; None where it is open.
        """
        start = (tick // _BLOCK - 1) * _BLOCK
        followed = [k for k, t in enumerate(self._ticks) if start <= t <= tick]
        state: Floats | None = None
        for k in followed:
            share = self._shares[k]
            state = share if state is None else np.clip(state, share - _PLAY, share + _PLAY)
        if state is None:
            return 1.0, None
        # the play leaves a gate a little short of its ends, where it belongs
        state = np.clip((state - _PLAY) / (1 - 2 * _PLAY), 0, 1)
        narrowest = int(np.argmin(state))
        reason = list(GATES.values())[narrowest].reason
        return float(state[narrowest]), reason if state[narrowest] < 1 else None

    def _shares_at(self, k: int) -> Floats:
        """Judge by the median of the last measures."""
        recent = [
            self._measures[j]
            for j in range(k + 1)
            if self._ticks[j] > self._ticks[k] - _MEDIAN_TICKS
        ]
        middle = _nan_median(np.stack(recent))
        return np.array([gate(value) for gate, value in zip(GATES.values(), middle, strict=True)])


def _nan_median(rows: Floats) -> Floats:
    """Median down the columns without the NaN; NaN for a column that holds nothing else.

    As ``numpy.nanmedian``, which takes a millisecond for a handful of rows.
    """
    ordered = np.sort(rows, axis=0)  # NaN come last
    num_known = (~np.isnan(rows)).sum(axis=0)
    columns = np.arange(rows.shape[1])
    lower = ordered[np.maximum(num_known - 1, 0) // 2, columns]
    return np.asarray((lower + ordered[num_known // 2, columns]) / 2)
