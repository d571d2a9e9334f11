"""Makes good pictures bad, reproducibly: pairs for training, test sets for measuring.

Two families: ``blind`` (see :mod:`vidrestore.train.blind`) and ``tape``
(:mod:`vidrestore.train.tape`). Parameters are drawn once for a picture or a clip; in a clip only
the noise differs from frame to frame. Square pictures are taken for face crops, whose source in a
film was 64 to 256 pixels wide; others for whole frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from vidrestore.contracts import RGBImage
from vidrestore.errors import SettingsError
from vidrestore.train.blind import BlindParameters, draw_blind, draw_nearly_clean
from vidrestore.train.tape import TapeParameters, draw_tape


class Degradation(Protocol):
    """One draw of a family's parameters."""

    @property
    def name(self) -> str:
        """The family's name."""
        ...

    @property
    def parameters(self) -> BlindParameters | TapeParameters:
        """What was drawn; ``dataclasses.asdict`` makes plain data of it."""
        ...

    def apply(self, frames: Sequence[RGBImage], rng: np.random.Generator) -> list[RGBImage]:
        """Degrade pictures of one size; as many of the same size come out."""
        ...


FAMILIES: Mapping[str, Callable[[np.random.Generator], Degradation]] = MappingProxyType(
    {"blind": draw_blind, "tape": draw_tape}
)
"""What draws a degradation, by the family's name."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How often a training picture gets which degradation."""

    tape: float = 0.5
    """Probability of ``tape`` among the degraded ones; the others get ``blind``."""
    nearly_clean: float = 0.1
    """Probability that a picture is left nearly as it is, so that good faces are kept."""

    def __post_init__(self) -> None:
        for name, value in (("tape", self.tape), ("nearly_clean", self.nearly_clean)):
            if not 0 <= value <= 1:
                raise SettingsError(f"{name} is a probability, 0 to 1, not {value}")

    def draw(self, rng: np.random.Generator) -> Degradation:
        """Draw a family, then its parameters."""
        if rng.random() < self.nearly_clean:
            return draw_nearly_clean(rng)
        return draw("tape" if rng.random() < self.tape else "blind", rng)


def draw(family: str, rng: np.random.Generator) -> Degradation:
    """Draw a family's parameters.

    Raises:
        SettingsError: There is no family of that name.
    """
    if family not in FAMILIES:
        raise SettingsError(f"no degradation is called {family!r}: use {' or '.join(FAMILIES)}")
    return FAMILIES[family](rng)


def degrade_image(image: RGBImage, family: str, seed: int) -> RGBImage:
    """Degrade one picture; the seed alone says how.

    Args:
        image: Shape (H, W, 3), uint8 RGB.
        family: A name of `FAMILIES`.
        seed: 0 or more; gives parameters and noise.

    Returns:
        A picture of the same shape.

    Raises:
        SettingsError: There is no family of that name.
    """
    return degrade_clip([image], family, seed)[0]


def degrade_clip(frames: Sequence[RGBImage], family: str, seed: int) -> list[RGBImage]:
    """Degrade the pictures of a clip with one draw of parameters.

    Args:
        frames: Pictures of one size, shape (H, W, 3), uint8 RGB, in the order of showing.
        family: A name of `FAMILIES`.
        seed: 0 or more; gives parameters and noise.

    Returns:
        As many pictures of the same shape.

    Raises:
        SettingsError: There is no family of that name.
    """
    rng = np.random.default_rng(seed)
    return draw(family, rng).apply(frames, rng)
