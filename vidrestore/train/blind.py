"""The degradation family ``blind``: small, blurred, noisy pictures saved as JPEG.

The chain of GPEN (Yang et al., "GAN Prior Embedded Network for Blind Face Restoration in the Wild",
CVPR 2021), ``((I * k)↓s + n)JPEG↑s``, widened as in BSRGAN (Zhang et al., "Designing a Practical
Degradation Model for Deep Blind Image Super-Resolution", ICCV 2021): anisotropic blur, random
resampling filters, blur before or after the reduction, noise that may grow with the light.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import RGBImage
from vidrestore.train.scaling import (
    LARGEST_SOURCE,
    FloatImage,
    draw_source_px,
    is_face_crop,
    resize,
    to_levels,
)

_LARGEST_RADIUS = 5
"""Pixels. OpenCV changes to a Fourier transform beyond 11×11, which takes seven times as long."""


@dataclass(frozen=True, slots=True)
class BlindParameters:
    """What was drawn for a picture or a clip."""

    source_px: int | None
    """Side of the face crop in its film, 64..256 px. A whole frame is reduced by 256 over it. None:
    nothing is reduced."""
    down_filter: str
    """How it was reduced, a name of `FILTERS`."""
    up_filter: str
    """How it came back."""
    blurs_first: bool
    """Blurred before the reduction, else after it."""
    sigma_major: float
    """Standard deviation of the Gaussian blur along its longer axis, px where it is applied."""
    sigma_minor: float
    """The same across."""
    angle_radians: float
    """Direction of the longer axis, 0..π."""
    noise_sigma: float
    """Standard deviation of the noise that is there in the dark, levels of 0..255."""
    shot_gain: float
    """Variance of the noise for each level of light (Poisson noise of a sensor with that gain)."""
    is_noise_grey: bool
    """The same noise in R, G and B."""
    jpeg_quality: int | None
    """1..100; None for no JPEG."""


@dataclass(frozen=True, slots=True)
class BlindDegradation:
    """Makes pictures bad as its parameters say."""

    name: ClassVar[str] = "blind"
    parameters: BlindParameters

    def apply(self, frames: Sequence[RGBImage], rng: np.random.Generator) -> list[RGBImage]:
        """Degrade pictures with the same parameters; the noise of each is its own.

        Args:
            frames: Pictures of shape (H, W, 3), uint8 RGB; square ones are face crops.
            rng: Source of the noise.

        Returns:
            As many pictures of the same sizes.
        """
        return [self._degrade(frame, rng) for frame in frames]

    def _degrade(self, frame: RGBImage, rng: np.random.Generator) -> RGBImage:
        p = self.parameters
        height, width = frame.shape[:2]
        small_height, small_width = _source_shape(height, width, p.source_px)
        image = frame.astype(np.float32)
        kernel = gaussian_kernel(p.sigma_major, p.sigma_minor, p.angle_radians)
        if p.blurs_first:
            image = _blur(image, kernel)
        image = resize(image, small_height, small_width, p.down_filter)
        if not p.blurs_first:
            image = _blur(image, kernel)
        image = image + _noise(image, p, rng)
        if p.jpeg_quality is not None:
            image = _through_jpeg(image, p.jpeg_quality)
        return to_levels(resize(image, height, width, p.up_filter))


def draw_blind(rng: np.random.Generator) -> BlindDegradation:
    """Draw parameters in the range of home video: the face stays recognisable."""
    source_px = draw_source_px(rng)
    # a small face with a wide blur is nobody's any more
    sigma_major = float(rng.uniform(0.2, 0.9 + 1.3 * source_px / LARGEST_SOURCE))
    is_round = rng.random() < 0.5
    return BlindDegradation(
        BlindParameters(
            source_px=source_px,
            down_filter=str(rng.choice(["area", "linear", "cubic"], p=[0.5, 0.25, 0.25])),
            up_filter=str(rng.choice(["linear", "cubic", "lanczos"])),
            blurs_first=bool(rng.random() < 0.3),
            sigma_major=sigma_major,
            sigma_minor=sigma_major * (1.0 if is_round else float(rng.uniform(0.3, 1.0))),
            angle_radians=float(rng.uniform(0, math.pi)),
            noise_sigma=float(rng.uniform(0, 14)) if rng.random() < 0.8 else 0.0,
            shot_gain=float(rng.uniform(0, 0.5)) if rng.random() < 0.5 else 0.0,
            is_noise_grey=bool(rng.random() < 0.4),
            jpeg_quality=int(rng.integers(30, 91)),
        )
    )


def draw_nearly_clean(rng: np.random.Generator) -> BlindDegradation:
    """Draw parameters of a good recording, which a network must learn to leave alone."""
    sigma = float(rng.uniform(0.05, 0.4))
    return BlindDegradation(
        BlindParameters(
            source_px=None,
            down_filter="area",
            up_filter="cubic",
            blurs_first=True,
            sigma_major=sigma,
            sigma_minor=sigma,
            angle_radians=0.0,
            noise_sigma=float(rng.uniform(0, 1.5)),
            shot_gain=0.0,
            is_noise_grey=bool(rng.random() < 0.5),
            jpeg_quality=int(rng.integers(90, 101)) if rng.random() < 0.5 else None,
        )
    )


def gaussian_kernel(
    sigma_major: float, sigma_minor: float, angle_radians: float
) -> npt.NDArray[np.float32]:
    """Sample a rotated Gaussian at pixel centres.

    Args:
        sigma_major: Standard deviation along the direction ``angle_radians``, px, above 0.
        sigma_minor: Standard deviation across, px, above 0, at most the other.
        angle_radians: From the x axis towards the y axis, which points down.

    Returns:
        Shape (n, n), n odd and at most 11, float32, sum 1.
    """
    radius = min(_LARGEST_RADIUS, math.ceil(2.5 * sigma_major))
    axis = np.arange(-radius, radius + 1)
    x, y = np.meshgrid(axis, axis)
    along = x * math.cos(angle_radians) + y * math.sin(angle_radians)
    across = y * math.cos(angle_radians) - x * math.sin(angle_radians)
    kernel = np.exp(-0.5 * ((along / sigma_major) ** 2 + (across / sigma_minor) ** 2))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _source_shape(height: int, width: int, source_px: int | None) -> tuple[int, int]:
    if source_px is None:
        return height, width
    if is_face_crop((height, width)):
        side = min(height, source_px)
        return side, side
    scale = source_px / LARGEST_SOURCE
    return max(1, round(height * scale)), max(1, round(width * scale))


def _blur(image: FloatImage, kernel: npt.NDArray[np.float32]) -> FloatImage:
    blurred: FloatImage = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101).astype(
        np.float32, copy=False
    )
    return blurred


def _noise(image: FloatImage, p: BlindParameters, rng: np.random.Generator) -> FloatImage:
    """Return Gaussian noise of variance ``noise_sigma² + shot_gain · light``.

    The normal approximation of Poisson noise of Foi et al., "Practical Poissonian-Gaussian Noise
    Modeling and Fitting for Single-Image Raw-Data", IEEE Transactions on Image Processing, 2008.
    """
    height, width, channels = image.shape
    white = rng.standard_normal(
        (height, width, 1 if p.is_noise_grey else channels), dtype=np.float32
    )
    if p.shot_gain == 0:
        return np.asarray(np.float32(p.noise_sigma) * white)
    light = image.mean(axis=2, keepdims=True) if p.is_noise_grey else image
    variance = np.float32(p.noise_sigma**2) + np.float32(p.shot_gain) * np.maximum(light, 0)
    noise: FloatImage = np.sqrt(variance) * white
    return noise


def _through_jpeg(image: FloatImage, quality: int) -> FloatImage:
    bgr = to_levels(image)[:, :, ::-1]
    _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None, "JPEG that OpenCV has just written"
    return decoded[:, :, ::-1].astype(np.float32)
