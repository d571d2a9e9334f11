"""How near a picture is to another one, and how steady a film is; numbers only.

Pictures are (H, W, 3) uint8 RGB or (H, W) luma, levels 0..255, both of one shape. What compares
detail looks at luma (ITU-R BT.601), as eyes do.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[Any]
FloatImage = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_PEAK = 255.0
_SSIM_C1 = (0.01 * _PEAK) ** 2
_SSIM_C2 = (0.03 * _PEAK) ** 2
_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5
_DETAIL_SIGMA = 1.0


def luma(image: Image) -> FloatImage:
    """Return the luma of an RGB picture, (H, W) float32; a luma picture only changes its type."""
    if image.ndim == 2:
        return image.astype(np.float32)
    return np.asarray(image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))


def psnr(image: Image, reference: Image) -> float:
    """Return the peak signal-to-noise ratio over all samples, in dB; infinite if they are equal.

    >>> psnr(np.full((4, 4), 10, np.uint8), np.full((4, 4), 15, np.uint8)).__round__(3)
    34.151
    """
    _require_same(image, reference)
    error = float(np.square(image.astype(np.float64) - reference.astype(np.float64)).mean())
    return math.inf if error == 0 else 10 * math.log10(_PEAK**2 / error)


def ssim(image: Image, reference: Image) -> float:
    """Return the mean structural similarity of luma, at most 1.

    Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment, IEEE TIP 13(4), 2004, equation 13,
    with their Gaussian window of 11 pixels and standard deviation 1.5; where the window reaches
    over the edge the map is left out.

    Raises:
        ValueError: The pictures are smaller than the window, or of different shapes.
    """
    _require_same(image, reference)
    if min(image.shape[:2]) < _SSIM_WINDOW:
        raise ValueError(f"a picture of {image.shape} is smaller than SSIM's window")
    x, y = luma(image).astype(np.float64), luma(reference).astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x = _windowed(x * x) - mean_x**2
    var_y = _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _SSIM_C1) * (2 * covariance + _SSIM_C2)
    size = (mean_x**2 + mean_y**2 + _SSIM_C1) * (var_x + var_y + _SSIM_C2)
    return float((likeness / size).mean())


def sharpness(image: Image, reference: Image) -> float:
    """Return the standard deviation of the Laplacian of luma, over that of the reference.

    1 is as sharp as the reference, less is softer; noise counts as sharpness here. Of a reference
    without any detail the ratio is not a number.
    """
    _require_same(image, reference)
    detail = float(laplacian(luma(reference)).std())
    return float(laplacian(luma(image)).std()) / detail if detail else math.nan


def gradient_error(image: Image, reference: Image) -> float:
    """Return how far the differences from pixel to pixel are off, in levels.

    The mean of the absolute error of the first differences of luma, in x and in y.
    """
    _require_same(image, reference)
    error = luma(image) - luma(reference)
    return float(
        (np.abs(np.diff(error, axis=1)).mean() + np.abs(np.diff(error, axis=0)).mean()) / 2
    )


def colour_shift(image: Image, reference: Image) -> float:
    """Return how far the mean colour is off, in levels: the mean over R, G, B of the absolutes."""
    _require_same(image, reference)
    apart = image.astype(np.float64) - reference.astype(np.float64)
    return float(np.abs(apart.mean(axis=(0, 1))).mean())


def frechet_distance(features: Image, others: Image) -> float:
    """Return the squared Fréchet distance of two sets of features, each taken as a Gaussian.

    |μ₁ - μ₂|² + Tr(C₁ + C₂ - 2 (C₁C₂)^½), Dowson and Landau 1982, as in Heusel et al. 2017
    (FID). The last trace is the sum of the singular values of A₁A₂ᵀ/√((n-1)(m-1)), where A are the
    centred features; so no covariance of D×D is ever formed, nor its root.

    Args:
        features: Shape (n, D), n of at least 2.
        others: Shape (m, D).

    >>> a = np.array([[0.0, 0], [2, 0], [0, 2], [2, 2]])
    >>> round(frechet_distance(a, a + [3, 4]), 6)
    25.0
    """
    a, b = np.asarray(features, np.float64), np.asarray(others, np.float64)
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:]:
        raise ValueError(f"no Fréchet distance between features of {a.shape} and {b.shape}")
    apart = a.mean(axis=0) - b.mean(axis=0)
    a = (a - a.mean(axis=0)) / math.sqrt(len(a) - 1)
    b = (b - b.mean(axis=0)) / math.sqrt(len(b) - 1)
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return max(0.0, float(apart @ apart + np.square(a).sum() + np.square(b).sum() - 2 * shared))


def laplacian(plane: FloatImage) -> FloatImage:
    """Return the Laplacian of a plane, (H, W) float32: 4 neighbours, edges mirrored."""
    return np.asarray(cv2.Laplacian(plane, cv2.CV_32F, ksize=1))


class MotionField:
    """Where every pixel of a picture was one picture earlier.

    Dense inverse search (Kroeger et al., ECCV 2016) from the picture to the one before. A pixel
    is left out where following the flow there and back does not lead home: the check of Sundaram,
    Brox and Keutzer (ECCV 2010, equation 5), as used for warping errors by Ruder et al. (2016)
    and Lai et al. (2018); nor does it count where the flow leaves the picture.
    """

    def __init__(self, previous: npt.NDArray[np.uint8], current: npt.NDArray[np.uint8]) -> None:
        """Estimate the flow.

        Args:
            previous: Luma, (H, W), uint8; noise is better taken away before.
            current: The same of the picture after it.
        """
        _require_same(previous, current)
        previous, current = np.ascontiguousarray(previous), np.ascontiguousarray(current)
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        back = search.calc(current, previous, np.zeros((*current.shape, 2), np.float32))
        forth = search.calc(previous, current, np.zeros((*current.shape, 2), np.float32))
        height, width = current.shape
        columns, rows = np.meshgrid(
            np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        )
        self._x, self._y = columns + back[..., 0], rows + back[..., 1]
        home = back + cv2.remap(
            forth, self._x, self._y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        lengths = np.square(back).sum(axis=2) + np.square(home - back).sum(axis=2)
        is_home = np.square(home).sum(axis=2) <= 0.01 * lengths + 0.5
        is_inside = (
            (self._x >= 0) & (self._x <= width - 1) & (self._y >= 0) & (self._y <= height - 1)
        )
        self.is_seen: Mask = is_home & is_inside
        """(H, W): this pixel can be seen in both pictures."""

    def follow(self, previous: FloatImage) -> FloatImage:
        """Bring a plane of the earlier picture to the later one; cubic interpolation."""
        return np.asarray(
            cv2.remap(previous, self._x, self._y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        )


def warping_error(
    previous: FloatImage, current: FloatImage, motion: MotionField, mask: Mask
) -> float:
    """Return the mean squared change from one picture to the next that is no motion, levels².

    This is E_warp of Lai et al., Learning Blind Video Temporal Consistency (ECCV 2018), section
    4.2, for two pictures; not a number where the mask leaves nothing.

    Args:
        previous: Luma, (H, W) float32.
        current: The same of the next picture.
        motion: Of the film itself or its clean original, never of the picture judged.
        mask: (H, W): which pixels count, if they are seen in both pictures.
    """
    counts = mask & motion.is_seen
    if not counts.any():
        return math.nan
    return float(np.square(motion.follow(previous) - current)[counts].mean())


def lasting_detail(
    previous: FloatImage, current: FloatImage, motion: MotionField, mask: Mask
) -> float:
    """Return the energy of the fine detail that two pictures share, levels²; noise adds nothing.

    The covariance of the Laplacian (after a Gaussian of one pixel) of the current picture with
    that of the previous one carried along the flow. Detail that belongs to the face moves with it
    and multiplies to its energy; noise, and texture made anew in each picture, average to nothing.
    The root of the mean over many pairs, over that of another film along the same flow, says how
    much sharper the one is than the other; a single pair may give less than nothing.

    On a face blurred by 1 or 2 pixels, white noise or tape noise of 6.5 levels changed that root
    by at most 2 %, and by 16 % where a strong H.264 encode had frozen the noise to the face. The
    plain Laplacian was 2.5 to 11 times too large, that of the mean of three frames carried
    together up to 5 times; without the Gaussian, frozen noise made this one 3 times too large.
    A Gaussian of 1.5 pixels is no better against noise and tells blurs apart less well.

    Args:
        previous: Luma, (H, W) float32.
        current: The same of the next picture.
        motion: See ``warping_error``.
        mask: (H, W): which pixels count, if they are seen in both pictures.
    """
    counts = mask & motion.is_seen
    if not counts.any():
        return math.nan
    then = motion.follow(_fine_detail(previous))[counts]
    now = _fine_detail(current)[counts]
    return float((then * now).mean() - float(then.mean()) * float(now.mean()))


def second_differences(values: Image) -> npt.NDArray[np.float64]:
    """Return v[t-1] - 2 v[t] + v[t+1] along the first axis; empty for fewer than three."""
    return np.diff(np.asarray(values, np.float64), n=2, axis=0)


def _fine_detail(plane: FloatImage) -> FloatImage:
    return laplacian(np.asarray(cv2.GaussianBlur(plane, (0, 0), _DETAIL_SIGMA)))


def _windowed(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    margin = _SSIM_WINDOW // 2
    mean = cv2.GaussianBlur(plane, (_SSIM_WINDOW, _SSIM_WINDOW), _SSIM_SIGMA)
    return np.asarray(mean[margin:-margin, margin:-margin])


def _require_same(image: Image, reference: Image) -> None:
    if image.shape != reference.shape or image.ndim not in (2, 3):
        raise ValueError(f"cannot compare pictures of {image.shape} and {reference.shape}")
