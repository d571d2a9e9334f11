"""Pairs of damaged and clean faces, made on the fly.

Everything random about picture number n of a run follows from the run's seed and n alone. So a run
that goes on needs to know only how many pictures it has seen, and worker processes change nothing.
"""

from __future__ import annotations

import logging
import signal
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vidrestore.contracts import RGBImage
from vidrestore.errors import SettingsError
from vidrestore.train.augment import augment
from vidrestore.train.config import AugmentConfig, DataConfig
from vidrestore.train.degrade import Mix

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
_SHARD_SUFFIXES = frozenset({".npy", ".npz"})
_ORDER = 1
_PICTURE = 2
"""Tell the random numbers of the order from those of a picture."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where one face is: a file, and for a shard the row in it."""

    path: Path
    array: str | None = None
    row: int | None = None


class Faces:
    """The clean faces of a folder, of one size.

    Args:
        folder: Searched downwards for images and shards.
        size: Side S; pictures of another size are resized to it.
        prefixes: Only files whose names begin so; empty: all.
        cache_megabytes: Decoded images are kept up to this, in each process.

    Raises:
        SettingsError: The folder is missing or holds no face that can be used.
    """

    num_skipped: int
    """Files that were left out: unreadable, or not square."""

    def __init__(
        self, folder: Path, size: int, prefixes: Sequence[str] = (), cache_megabytes: int = 0
    ) -> None:
        if not folder.is_dir():
            raise SettingsError(f"the folder of faces {folder} does not exist")
        self.size = size
        self.num_skipped = 0
        self._sources: list[_Source] = []
        self._kept: dict[int, RGBImage] = {}
        self._num_kept = cache_megabytes * 1_000_000 // (size * size * 3)
        self._open: dict[tuple[Path, str | None], npt.NDArray[np.uint8]] = {}
        for path in sorted(folder.rglob("*")):
            if not path.name.startswith(tuple(prefixes) or ""):
                continue
            if path.suffix.lower() in IMAGE_SUFFIXES:
                self._add_image(path)
            elif path.suffix.lower() in _SHARD_SUFFIXES:
                self._add_shard(path)
        if not self._sources:
            wanted = f" beginning with {', '.join(prefixes)}" if prefixes else ""
            raise SettingsError(
                f"{folder} holds no face to train on{wanted}: use square images or shards "
                f"({self.num_skipped} files were skipped)"
            )

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> RGBImage:
        """Return a face, shape (S, S, 3), uint8 RGB; not to be written to."""
        if index in self._kept:
            return self._kept[index]
        source = self._sources[index]
        if source.row is not None:
            return _resized(np.asarray(self._array(source)[source.row]), self.size)
        image = _square(read_image(source.path))
        if image is None:
            raise SettingsError(f"{source.path} was a face when the run began and is none now")
        return self._keep(index, _resized(image, self.size))

    def __getstate__(self) -> dict[str, Any]:
        """Go to a worker process without the pictures: it reads those that it needs."""
        return self.__dict__ | {"_kept": {}, "_open": {}}

    def _array(self, source: _Source) -> npt.NDArray[np.uint8]:
        if (source.path, source.array) not in self._open:
            for name, array in _read_shard(source.path).items():
                self._open[source.path, name] = array
        try:
            return self._open[source.path, source.array]
        except KeyError:
            raise SettingsError(f"{source.path} held faces when the run began, none now") from None

    def _add_image(self, path: Path) -> None:
        image = _square(read_image(path))
        if image is None:
            self.num_skipped += 1
            return
        self._keep(len(self._sources), _resized(image, self.size))
        self._sources.append(_Source(path))

    def _keep(self, index: int, face: RGBImage) -> RGBImage:
        if len(self._kept) < self._num_kept:
            self._kept[index] = face
        return face

    def _add_shard(self, path: Path) -> None:
        arrays = _read_shard(path)
        self.num_skipped += not arrays
        for name, array in arrays.items():
            self._open[path, name] = array
            self._sources += [_Source(path, name, row) for row in range(len(array))]


@dataclass(frozen=True, slots=True)
class Pairing:
    """What is done to a clean face, and by which random numbers."""

    seed: int
    augment: AugmentConfig
    degrade: Mix

    def pair(self, faces: Faces, number: int) -> tuple[RGBImage, RGBImage]:
        """Return picture ``number`` of the run: damaged and clean, (S, S, 3) uint8 RGB."""
        epoch, place = divmod(number, len(faces))
        order = np.random.default_rng((self.seed, _ORDER, epoch)).permutation(len(faces))
        rng = np.random.default_rng((self.seed, _PICTURE, number))
        clean = augment(faces[int(order[place])], self.augment, rng)
        (damaged,) = self.degrade.draw(rng).apply([clean], rng)
        return damaged, clean


class _Pairs(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, faces: Faces, pairing: Pairing) -> None:
        self._faces = faces
        self._pairing = pairing

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        damaged, clean = self._pairing.pair(self._faces, number)
        return torch.from_numpy(np.ascontiguousarray(damaged)), torch.from_numpy(clean)


def batches(
    faces: Faces, pairing: Pairing, config: DataConfig, numbers: Iterator[list[int]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Prepare batches without end.

    Args:
        faces: The clean faces.
        pairing: What is done to them.
        config: How many processes work.
        numbers: The numbers of the pictures of each batch.

    Yields:
        Damaged and clean pictures, each of shape (N, 3, S, S), float32 in [-1, 1], channels last.
    """
    loader: DataLoader[Any] = DataLoader(
        _Pairs(faces, pairing),
        batch_sampler=numbers,
        num_workers=config.workers,
        worker_init_fn=_begin_worker,
        # a fork would copy the locks of threads that it does not copy
        multiprocessing_context="spawn" if config.workers else None,
        generator=torch.Generator(),  # else it draws from torch's own random numbers
    )
    for damaged, clean in loader:
        yield as_network_input(damaged), as_network_input(clean)


def as_network_input(pictures: Tensor) -> Tensor:
    """Turn (N, S, S, 3) uint8 into (N, 3, S, S) float32 in [-1, 1]; channels last."""
    return pictures.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def read_image(path: Path) -> RGBImage | None:
    """Read a picture as (H, W, 3) uint8 RGB; None if it is not one."""
    try:
        encoded = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB) if encoded.size else None
    except (OSError, cv2.error) as error:
        logger.debug("%s: %s", path, error)
        return None
    return None if image is None else np.asarray(image, dtype=np.uint8)


def _begin_worker(_: int) -> None:
    # the training process ends its workers itself; Ctrl-C and torchrun signal all of a group
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _square(image: RGBImage | None) -> RGBImage | None:
    return image if image is not None and image.shape[0] == image.shape[1] else None


def _resized(image: RGBImage, side: int) -> RGBImage:
    if image.shape[0] == side:
        return image
    method = cv2.INTER_AREA if side < image.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (side, side), interpolation=method), dtype=np.uint8)


def _read_shard(path: Path) -> dict[str | None, npt.NDArray[np.uint8]]:
    """Return a shard's arrays of faces, none if it holds anything else."""
    arrays: dict[str | None, npt.NDArray[Any]] = {}
    try:
        if path.suffix.lower() == ".npy":
            arrays[None] = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with np.load(path, allow_pickle=False) as file:
                arrays.update({name: file[name] for name in file.files})
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        logger.debug("%s: %s", path, error)
        return {}
    is_good = [a.dtype == np.uint8 and a.ndim == 4 and a.shape[3] == 3 and a.shape[1] == a.shape[2]
               for a in arrays.values()]  # fmt: skip
    return arrays if all(is_good) else {}
