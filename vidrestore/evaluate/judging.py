"""Compares results with clean pictures, by every measure that is installed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vidrestore.contracts import Points, RGBImage
from vidrestore.core.metrics import (
    colour_shift,
    frechet_distance,
    gradient_error,
    psnr,
    sharpness,
    ssim,
)
from vidrestore.evaluate import perceptual
from vidrestore.evaluate.perceptual import Layers, ShiftTolerantLpips
from vidrestore.jobs.networks import cache_dir
from vidrestore.models import identity
from vidrestore.models.identity import DlibIdentity
from vidrestore.models.registry import Template, landmark_template

Features = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Measures:
    """One picture's, or the mean of a set's, distance from the clean one."""

    psnr_db: float
    ssim: float
    sharpness: float
    """Of the clean picture's; see ``core.metrics.sharpness``."""
    gradient_error: float
    """Levels."""
    colour_shift: float
    """Levels."""
    st_lpips: float | None = None
    identity_distance: float | None = None
    """Of dlib's embedding from that of the clean picture."""
    clean_psnr_db: float | None = None
    """What is left of a clean picture that the model is given."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model, baseline or the input itself, over all pictures."""

    name: str
    mean: Measures
    st_lpips_ratio: float | None
    """Of the input's mean."""
    identity_ratio: float | None
    """Of the input's mean."""
    identity_worse_share: float | None
    """Share of the faces whose identity is further off than in the input."""
    frechet_distance: float | None
    """Between the features of all results and of all clean pictures."""
    pictures: tuple[Measures, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What one model or baseline made of all pictures."""

    name: str
    images: tuple[RGBImage, ...]
    kept: tuple[RGBImage, ...] | None = None
    """What it made of the clean pictures; None: it was not given them."""


def landmarks_of(image: RGBImage) -> Points:
    """Return where the landmarks of an aligned picture lie: on facexlib's FFHQ template."""
    return landmark_template(Template.FFHQ, len(image))


@dataclass(frozen=True, slots=True, eq=False)
class _Clean:
    """A clean picture and what is known of it."""

    image: RGBImage
    layers: Layers | None
    embedding: npt.NDArray[np.float64] | None


class Judge:
    """Fills the table, with the measures that are installed."""

    def __init__(self) -> None:
        """Load the networks that are there.

        Raises:
            WeightsCorruptError: Weights are there, but are not what they should be.
        """
        self._perceptual = ShiftTolerantLpips.installed()
        self._identity = DlibIdentity.installed(cache_dir())
        found = ((self._perceptual, perceptual.MISSING), (self._identity, identity.MISSING))
        self.notes = tuple(f"left out: {text}" for metric, text in found if metric is None)
        """What is not measured and why, one sentence each."""

    def table(self, clean: Sequence[RGBImage], results: Sequence[Result]) -> tuple[Row, ...]:
        """Measure results against the clean pictures.

        Args:
            clean: The pictures as they should be, aligned to the FFHQ template.
            results: The first is the input, to which the ratios are; its own are 1.
        """
        measures: list[list[Measures]] = [[] for _ in results]
        features: list[list[Features]] = [[] for _ in results]
        clean_features: list[Features] = []
        for k, image in enumerate(clean):
            truth = self._look_at(image)
            if self._perceptual is not None and truth.layers is not None:
                clean_features.append(self._perceptual.features(truth.layers))
            for row, result in enumerate(results):
                measure, feature = self._measure(result.images[k], truth)
                if result.kept is not None:
                    measure = replace(measure, clean_psnr_db=psnr(result.kept[k], image))
                measures[row].append(measure)
                if feature is not None:
                    features[row].append(feature)
        return tuple(
            _row(result.name, own, measures[0], _frechet(seen, clean_features))
            for result, own, seen in zip(results, measures, features, strict=True)
        )

    def _look_at(self, image: RGBImage) -> _Clean:
        return _Clean(
            image,
            None if self._perceptual is None else self._perceptual.layers(image),
            None if self._identity is None else self._identity.embed(image, landmarks_of(image)),
        )

    def _measure(self, image: RGBImage, clean: _Clean) -> tuple[Measures, Features | None]:
        own = self._look_at(image)
        likeness = apart = feature = None
        if self._perceptual is not None and own.layers is not None and clean.layers is not None:
            likeness = self._perceptual.distance(own.layers, clean.layers)
            feature = self._perceptual.features(own.layers)
        if own.embedding is not None and clean.embedding is not None:
            apart = float(np.linalg.norm(own.embedding - clean.embedding))
        measures = Measures(
            psnr_db=psnr(image, clean.image),
            ssim=ssim(image, clean.image),
            sharpness=sharpness(image, clean.image),
            gradient_error=gradient_error(image, clean.image),
            colour_shift=colour_shift(image, clean.image),
            st_lpips=likeness,
            identity_distance=apart,
        )
        return measures, feature


def _row(
    name: str, measures: Sequence[Measures], base: Sequence[Measures], frechet: float | None
) -> Row:
    mean, base_mean = _mean(measures), _mean(base)
    worse = [
        a.identity_distance > b.identity_distance
        for a, b in zip(measures, base, strict=True)
        if a.identity_distance is not None and b.identity_distance is not None
    ]
    return Row(
        name=name,
        mean=mean,
        st_lpips_ratio=_ratio(mean.st_lpips, base_mean.st_lpips),
        identity_ratio=_ratio(mean.identity_distance, base_mean.identity_distance),
        identity_worse_share=float(np.mean(worse)) if worse else None,
        frechet_distance=frechet,
        pictures=tuple(measures),
    )


def _frechet(features: Sequence[Features], clean: Sequence[Features]) -> float | None:
    if min(len(features), len(clean)) < 2:
        return None
    return frechet_distance(np.stack(features), np.stack(clean))


def _mean(measures: Sequence[Measures]) -> Measures:
    names = [f.name for f in fields(Measures)]
    return Measures(**{name: _mean_of([getattr(m, name) for m in measures]) for name in names})


def _mean_of(values: Sequence[float | None]) -> Any:  # noqa: ANN401 - None where nothing is known
    known = [v for v in values if v is not None and not math.isnan(v)]
    return float(np.mean(known)) if known else None


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base
