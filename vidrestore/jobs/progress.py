"""How far a run is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a run after a frame was written."""

    num_frames_done: int
    num_frames_expected: int | None
    """An estimate from the film's length; None where the file does not tell."""
    seconds_done: float
    """Time of the latest frame, from the start of the film."""
    num_frames_kept: int = 0
    """Those among the done that an earlier run had finished."""


OnProgress = Callable[[Progress], None]
