"""Measures restoring models on degraded pictures of faces of which the clean ones are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidrestore.contracts import FaceRestorer, Matrix, RGBImage
from vidrestore.core.geometry import invert_affine, similarity_transform
from vidrestore.core.warping import resample
from vidrestore.errors import SettingsError
from vidrestore.evaluate.baselines import BASELINES
from vidrestore.evaluate.judging import Judge, Result, Row, landmarks_of
from vidrestore.evaluate.pictures import PictureSet
from vidrestore.jobs.networks import choose_models, loaded_restorer
from vidrestore.models.registry import RestorerSpec
from vidrestore.models.weights import WeightsStore
from vidrestore.settings import ModelSettings

INPUT = "input"

OnProgress = Callable[[str], None]
"""Told what is measured next."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A table, and the pictures it was measured with."""

    rows: tuple[Row, ...]
    names: tuple[str, ...]
    """Of the pictures, in the order of each row's ``pictures``."""
    notes: tuple[str, ...]
    """What was left out and why, one sentence each."""
    results: tuple[Result, ...]
    """The pictures of each row."""

    def to_plain(self) -> dict[str, Any]:
        """Return the numbers as plain data, the pictures left out."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        for row in rows:
            row["pictures"] = dict(zip(self.names, row["pictures"], strict=True))
        return {"num_pictures": len(self.names), "notes": self.notes, "rows": rows}


def evaluate_models(
    pictures: PictureSet,
    models: Sequence[str],
    settings: ModelSettings,
    *,
    with_clean: bool = False,
    on_progress: OnProgress = lambda _: None,
) -> Evaluation:
    """Measure the input, the baselines and models on one set of pictures.

    Nothing in it is drawn by chance: the same pictures give the same numbers on one machine.

    Args:
        pictures: What ``load_pictures`` returned.
        models: Names or weights files; none: every restoring model that is installed and intact.
        settings: Where weights are looked for and where the networks run.
        with_clean: Give the models the clean pictures too and see what is left of them.
        on_progress: Told what is done next.

    Raises:
        SettingsError: Unknown model.
        WeightsError: A model is not installed, or its file is not what it should be.
    """
    names = tuple(models) or installed_models(settings.weights_dir)
    asked = [replace(settings, name=name) for name in names]
    chosen = [choose_models(own) for own in asked]  # all, before anything takes its time
    degraded = [pair.degraded for pair in pictures.pairs]
    clean = [pair.clean for pair in pictures.pairs]
    results = [Result(INPUT, tuple(degraded))]
    for name, restore in BASELINES.items():
        on_progress(name)
        results.append(Result(name, tuple(restore(image) for image in degraded)))
    for own, networks in zip(asked, chosen, strict=True):
        name = networks.restorer.name
        on_progress(name)
        with loaded_restorer(networks, own) as (restorer, _, _):
            restored = _restore(restorer, degraded)
            kept = _restore(restorer, clean) if with_clean else None
        results.append(Result(name, restored, kept))
    on_progress("the measures")
    judge = Judge()
    rows = judge.table(clean, results)
    notes = list(judge.notes)
    if pictures.num_skipped:
        notes.append(f"{pictures.num_skipped} files of the folder are no such pictures: skipped")
    return Evaluation(
        rows=rows,
        names=tuple(pair.name for pair in pictures.pairs),
        notes=tuple(notes),
        results=tuple(results),
    )


def installed_models(weights_dir: Path | None) -> tuple[str, ...]:
    """Return the names of the restoring models that are installed and intact.

    Raises:
        SettingsError: There is none.
    """
    rows = WeightsStore(weights_dir).installed()
    names = tuple(
        row.spec.name
        for row in rows
        if isinstance(row.spec, RestorerSpec) and row.path is not None and row.is_intact is True
    )
    if not names:
        raise SettingsError("no restoring model is installed: name a weights file")
    return names


def _restore(restorer: FaceRestorer, images: Sequence[RGBImage]) -> tuple[RGBImage, ...]:
    """Restore aligned pictures by a model that may want another size and pose."""
    restored: list[RGBImage] = []
    for start in range(0, len(images), restorer.batch_size):
        batch = images[start : start + restorer.batch_size]
        poses = [_crop_from_picture(image, restorer) for image in batch]
        crops = [
            _warped(image, invert_affine(pose), restorer.size)
            for image, pose in zip(batch, poses, strict=True)
        ]
        done = restorer.submit(crops).result()
        restored += [
            _warped(crop, pose, len(image))
            for image, crop, pose in zip(batch, done, poses, strict=True)
        ]
    return tuple(restored)


def _crop_from_picture(image: RGBImage, restorer: FaceRestorer) -> Matrix:
    found = similarity_transform(landmarks_of(image), restorer.template)
    assert found is not None
    return found


def _warped(image: RGBImage, image_from_target: Matrix, size: int) -> RGBImage:
    if image.shape[0] == size and np.allclose(image_from_target, np.eye(2, 3), atol=1e-6):
        return image
    channels = [resample(image[..., k], image_from_target, size, size) for k in range(3)]
    return np.asarray(np.clip(np.rint(cv2.merge(channels)), 0, 255), np.uint8)
