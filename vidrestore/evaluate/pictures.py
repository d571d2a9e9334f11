"""A set of pictures to measure with: clean faces from a folder, and the same ones degraded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vidrestore.contracts import RGBImage
from vidrestore.errors import SettingsError

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
_LEAST_SIDE = 64

Degrade = Callable[[RGBImage, int], RGBImage]
"""Takes a clean picture and a seed, gives the degraded one of the same shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A face as it was, and as a tape or a bad copy shows it."""

    name: str
    clean: RGBImage
    degraded: RGBImage


@dataclass(frozen=True, slots=True, eq=False)
class PictureSet:
    """The pictures that all models are measured with."""

    pairs: tuple[Pair, ...]
    num_skipped: int
    """Files that could not be read, or are not square pictures of at least 64 pixels."""


def load_pictures(folder: Path, degrade: Degrade, count: int, seed: int) -> PictureSet:
    """Draw pictures from a folder and degrade them; the same seed gives the same set.

    Args:
        folder: Square pictures of faces aligned to facexlib's FFHQ template.
        degrade: Called for each picture with a seed that follows from ``seed`` and its place.
        count: How many at most; which ones is decided by the seed and the files' names.
        seed: 0 or more.

    Raises:
        SettingsError: The folder does not exist or holds no such picture.
    """
    if not folder.is_dir():
        raise SettingsError(f"the folder {folder} does not exist")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)
    order = np.random.default_rng([seed, 0]).permutation(len(paths))
    pairs: list[Pair] = []
    num_skipped = 0
    for place, index in enumerate(order):
        if len(pairs) == count:
            break
        clean = read_picture(paths[index])
        if clean is None or clean.shape[0] != clean.shape[1] or clean.shape[0] < _LEAST_SIDE:
            num_skipped += 1
            continue
        own_seed = int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
        pairs.append(Pair(paths[index].name, clean, degrade(clean, own_seed)))
    if not pairs:
        raise SettingsError(
            f"{folder} holds no square picture of at least {_LEAST_SIDE} pixels "
            f"({num_skipped} of its files were skipped): give a folder of aligned faces"
        )
    return PictureSet(tuple(pairs), num_skipped)


def read_picture(path: Path) -> RGBImage | None:
    """Read a picture as (H, W, 3) uint8 RGB; None if it cannot be read."""
    try:
        data = np.fromfile(path, np.uint8)  # OpenCV itself cannot open every name everywhere
    except OSError:
        return None
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    return None if picture is None else np.asarray(picture, np.uint8)
