"""A picture in tiles of one size that overlap and fade into each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatPicture = npt.NDArray[np.float32]
Place = tuple[int, int]
"""Number of a tile's row and column."""

_OVERLAP = 48
"""Pixels that neighbours share, at least. A quarter at each side is not used, for a network sees an
edge there that is none; over the half between one tile fades into the other."""


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut up.

    All tiles have one size, so a device needs one set of buffers, and as little overlap as goes
    into whole numbers of tiles.
    """

    picture: tuple[int, int]
    """(height, width)."""
    largest: int
    """Most pixels along a side of a tile; at least 128."""

    @cached_property
    def tile(self) -> tuple[int, int]:
        """(height, width) of a tile."""
        height, width = (_length(n, self.largest) for n in self.picture)
        return height, width

    @property
    def places(self) -> Iterator[Place]:
        """All tiles, row by row."""
        rows, columns = self._starts
        return ((i, j) for i in range(len(rows)) for j in range(len(columns)))

    def cut(self, picture: FloatPicture, place: Place) -> FloatPicture:
        """Return a tile of a picture of shape (H, W, 3), as a view."""
        (top, left), (height, width) = self._corner(place), self.tile
        return picture[top : top + height, left : left + width]

    def add(self, result: FloatPicture, tile: FloatPicture, place: Place, scale: int) -> None:
        """Add an enhanced tile to the picture that it is part of.

        Args:
            result: Shape (scale·H, scale·W, 3); zero before the first tile.
            tile: As enhanced, ``scale`` times as large as it was cut.
            place: Which one it is.
            scale: How many times as large the result is.
        """
        (top, left), (height, width) = self._corner(place), tile.shape[:2]
        down = _weights(self._starts[0], self.tile[0], place[0], scale)
        across = _weights(self._starts[1], self.tile[1], place[1], scale)
        weights = (down[:, None] * across)[..., None]
        result[top * scale :, left * scale :][:height, :width] += tile * weights

    @cached_property
    def _starts(self) -> tuple[list[int], list[int]]:
        rows, columns = (_starts(n, t) for n, t in zip(self.picture, self.tile, strict=True))
        return rows, columns

    def _corner(self, place: Place) -> tuple[int, int]:
        return self._starts[0][place[0]], self._starts[1][place[1]]


def _num_tiles(length: int, largest: int) -> int:
    return 1 if length <= largest else -(-(length - _OVERLAP) // (largest - _OVERLAP))


def _length(length: int, largest: int) -> int:
    """Return how long tiles are, for as many as are needed."""
    number = _num_tiles(length, largest)
    return -(-(length + (number - 1) * _OVERLAP) // number)


def _starts(length: int, tile: int) -> list[int]:
    number = _num_tiles(length, tile)
    if number == 1:
        return [0]
    return [k * (length - tile) // (number - 1) for k in range(number)]


def _weights(starts: list[int], tile: int, number: int, scale: int) -> npt.NDArray[np.float32]:
    """Return how much of a tile counts along one axis, shape (scale·tile,); 1 but in overlaps."""
    weights = np.ones(tile * scale)
    if number > 0:
        rise = _rise((starts[number - 1] + tile - starts[number]) * scale)
        weights[: len(rise)] *= rise
    if number + 1 < len(starts):
        rise = _rise((starts[number] + tile - starts[number + 1]) * scale)
        weights[len(weights) - len(rise) :] *= 1 - rise
    return weights.astype(np.float32)


def _rise(overlap: int) -> npt.NDArray[np.float64]:
    places = (np.arange(overlap) + 0.5) / overlap
    return np.clip(2 * places - 0.5, 0, 1)
