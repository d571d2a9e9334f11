"""The parts of an analogue tape's signal path: filters along lines, noise, jitter, fields.

Everything works on one channel, shape (H, W), or on several, shape (H, W, C), of float32 levels.
A row is a line of the tape, a column a sample of 13.5 MHz (ITU-R BT.601, 720 to a line).
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.train.scaling import FloatImage

Kernel = npt.NDArray[np.float64]
"""Impulse response, odd length, sum 1; its middle is delay 0, and later elements come later."""

_RADIUS = 16
"""Samples to each side of a kernel."""


def luma_kernel(cutoff: float, ringing: float, ringing_samples: float) -> Kernel:
    """Band limit and peaking of a recorder's luma channel.

    A windowed sinc cuts off and overshoots a little on both sides of an edge. To that comes the
    recorder's peaking: an edge is followed by a damped oscillation a little below the cutoff.

    Args:
        cutoff: Cycles for each sample, 0..0.5; VHS has 3 MHz, 0.22, and Hi8 5 MHz, 0.37.
        ringing: Amplitude with which the oscillation begins, relative to the edge.
        ringing_samples: Time in which the oscillation falls to 1/e, in samples.
    """
    t = np.arange(-_RADIUS, _RADIUS + 1, dtype=np.float64)
    low_pass = np.sinc(2 * cutoff * t) * np.hanning(2 * _RADIUS + 3)[1:-1]
    low_pass /= low_pass.sum()
    late = np.maximum(t, 0)
    oscillation = np.exp(-late / ringing_samples) * np.sin(2 * math.pi * 0.8 * cutoff * late)
    oscillation[-1] = 0
    # what answers an edge with the oscillation is its difference, of sum 0: flat areas stay
    peaking = np.diff(oscillation, prepend=0.0)
    kernel = low_pass + ringing * np.convolve(low_pass, peaking, mode="same")
    return np.asarray(kernel / kernel.sum())


def chroma_kernel(cutoff: float, tail_samples: float, delay_samples: float) -> Kernel:
    """Band limit, smear and delay of the colour-under channel.

    Args:
        cutoff: Half-power frequency, cycles for each sample; 0.5 MHz is 0.037.
        tail_samples: Length of the exponential smear to the right, in samples.
        delay_samples: Mean shift to the right, in samples: what the recorder's luma delay, which
            makes up for the smear, leaves.
    """
    t = np.arange(-_RADIUS, _RADIUS + 1, dtype=np.float64)
    # the Gaussian exp(-t²/2σ²) passes half the power at the frequency sqrt(ln 2) / 2πσ
    sigma = math.sqrt(math.log(2)) / (2 * math.pi * cutoff)
    tail = np.where(t >= 0, np.exp(-np.maximum(t, 0) / max(tail_samples, 1e-3)), 0.0)
    smear = (t * tail).sum() / tail.sum()
    smooth = np.exp(-0.5 * ((t - delay_samples + smear) / sigma) ** 2)
    kernel = np.convolve(smooth, tail, mode="same")
    return np.asarray(kernel / kernel.sum())


def rows_kernel(sigma_lines: float, delay_lines: float) -> Kernel:
    """Mix of neighbouring lines: a Gaussian, shifted downwards."""
    t = np.arange(-4, 5, dtype=np.float64)
    kernel = np.exp(-0.5 * ((t - delay_lines) / sigma_lines) ** 2)
    return np.asarray(kernel / kernel.sum())


def convolve(image: npt.NDArray[Any], along_row: Kernel, along_column: Kernel) -> FloatImage:
    """Convolve lines and columns; edges are repeated outwards."""
    # OpenCV correlates, so the kernels are turned round
    filtered: FloatImage = cv2.sepFilter2D(
        image, cv2.CV_32F, along_row[::-1], along_column[::-1], borderType=cv2.BORDER_REPLICATE
    ).astype(np.float32, copy=False)
    return filtered


def streaks(
    height: int, width: int, samples: float, lines: float, rng: np.random.Generator
) -> FloatImage:
    """Noise that is alike along a line: short streaks.

    Args:
        height: Lines.
        width: Samples of a line.
        samples: How long a streak is, 1 or more.
        lines: How thick it is, 1 or more.
        rng: Source of the noise.

    Returns:
        Shape (height, width), mean near 0, standard deviation 1.
    """
    # drawn on a coarse grid whose cells are streaks, and stretched from a random phase
    cells = (math.ceil(height / lines) + 2, math.ceil(width / samples) + 2)
    coarse = rng.standard_normal(cells, dtype=np.float32)
    phase_x, phase_y = rng.random(2)
    transform = np.array([[1 / samples, 0, phase_x], [0, 1 / lines, phase_y]])
    fine: npt.NDArray[Any] = cv2.warpAffine(
        coarse, transform, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    scaled: FloatImage = fine * np.float32(1 / max(float(fine.std()), 1e-6))
    return scaled


def line_offsets(
    height: int, wobble: float, jitter: float, field_shift: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Draw how far each line is shifted by the unsteady tape.

    Args:
        height: Lines.
        wobble: Standard deviation of the slow part, which bends uprights, in samples.
        jitter: Standard deviation of what each line does alone, in samples.
        field_shift: How far the lower field lies to the right of the upper one, in samples.
        rng: Source of the draw.

    Returns:
        Shape (height,), samples to the right.
    """
    coarse = rng.standard_normal((height // 12 + 4, 1), dtype=np.float32)
    slow = cv2.resize(coarse, (1, height), interpolation=cv2.INTER_CUBIC)[:, 0]
    alone = rng.standard_normal(height, dtype=np.float32)
    offsets = np.float32(wobble) * slow + np.float32(jitter) * alone
    offsets[1::2] += np.float32(field_shift)
    return np.asarray(offsets, dtype=np.float32)


def shift_lines(image: FloatImage, offsets: npt.NDArray[np.float32]) -> FloatImage:
    """Shift each line to the right by its own, fractional number of samples."""
    height, width = image.shape[:2]
    columns = np.arange(width, dtype=np.float32)
    map_x = columns[None, :] - offsets[:, None]
    map_y = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    shifted: FloatImage = cv2.remap(
        image, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float32, copy=False)
    return shifted


def head_switch_offsets(
    height: int, lines: int, reach: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Draw the torn lines at the bottom, where the recorder changes heads.

    Returns:
        Shape (height,), samples to the right: 0 above, then up to ``reach``, dying away downwards.
    """
    offsets = np.zeros(height, dtype=np.float32)
    torn = min(lines, height)
    decay = np.exp(-np.arange(torn) / (0.4 * torn))
    offsets[height - torn :] = reach * decay + rng.normal(0, 0.06 * abs(reach), torn)
    return offsets


def add_dropouts(luma: FloatImage, rate: float, rng: np.random.Generator) -> None:
    """Draw short bright comets, where the tape's coating is gone, into the luma channel.

    Args:
        luma: Changed in place.
        rate: Mean number for each line.
        rng: Source of the draw.
    """
    height, width = luma.shape
    for _ in range(rng.poisson(rate * height)):
        row = int(rng.integers(height))
        start = int(rng.integers(width))
        length = min(int(rng.integers(4, 24)), width - start)
        fading = np.exp(-np.arange(length) / (0.5 * length))
        luma[row, start : start + length] += np.float32(rng.uniform(40, 140)) * fading


def weave(upper: FloatImage, lower: FloatImage) -> FloatImage:
    """Take even lines from one picture and odd lines from another."""
    woven = upper.copy()
    woven[1::2] = lower[1::2]
    return woven


def discard_lower_field(image: FloatImage) -> FloatImage:
    """Deinterlace by giving each odd line the mean of its neighbours (*bob*)."""
    result = image.copy()
    below = image[2::2]
    result[1 : 2 * len(below) : 2] = 0.5 * (image[0 : 2 * len(below) : 2] + below)
    if image.shape[0] % 2 == 0:
        result[-1] = image[-2]
    return result


def blend_fields(image: FloatImage) -> FloatImage:
    """Deinterlace by mixing each line with its neighbours, 1 : 2 : 1."""
    blended: FloatImage = cv2.sepFilter2D(
        image, cv2.CV_32F, np.ones(1), np.array([0.25, 0.5, 0.25]), borderType=cv2.BORDER_REPLICATE
    ).astype(np.float32, copy=False)
    return blended
