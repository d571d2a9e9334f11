"""Aligned face crops in, restored crops out: the network alone, for people who bring their own."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vidrestore.contracts import RGBImage
from vidrestore.errors import SettingsError
from vidrestore.jobs.networks import choose_models, loaded_restorer
from vidrestore.settings import ModelSettings


def restore_crops(crops: Sequence[RGBImage], model: str = "auto") -> list[RGBImage]:
    """Restore face crops that are aligned already.

    Args:
        crops: Pictures of shape (H, W, 3), uint8 RGB, each a face aligned to the model's template:
            facexlib's FFHQ template for ``vidrestore-lite-256``, that of the official GPEN code
            for ``gpen-bfr-*``. A crop of another size than the model's is resized to it and back.
        model: A name of ``vidrestore weights list``, a weights file, or ``auto``.

    Returns:
        The restored crops, same shapes, uint8 RGB.

    Raises:
        SettingsError: Unknown model, or an array that is not such a picture.
        WeightsError: The model is not installed, or its file is not what it should be.
    """
    for k, crop in enumerate(crops):
        if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8 or not crop.size:
            raise SettingsError(
                f"crop {k} is {crop.dtype} of shape {crop.shape}: use uint8 of shape (H, W, 3)"
            )
    settings = ModelSettings(name=model)
    restored: list[RGBImage] = []
    with loaded_restorer(choose_models(settings), settings) as (restorer, _, _):
        for start in range(0, len(crops), restorer.batch_size):
            batch = crops[start : start + restorer.batch_size]
            ready = [_resized(crop, (restorer.size, restorer.size)) for crop in batch]
            for crop, result in zip(batch, restorer.submit(ready).result(), strict=True):
                restored.append(_resized(result, (crop.shape[1], crop.shape[0])))
    return restored


def _resized(crop: RGBImage, size: tuple[int, int]) -> RGBImage:
    height, width = crop.shape[:2]
    if (width, height) == size:
        return crop
    shrinks = size[0] < width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, size, interpolation=method), dtype=np.uint8)
