"""One person's face through one shot: what is gathered of it while frames go by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vidrestore.contracts import Points

_JITTER_CROP = 512
"""Jitter is given in pixels of a crop of this size, whatever the model's own size."""


@dataclass(slots=True)
class TrackSummary:
    """One person's face through one shot."""

    id: int
    start_seconds: float
    end_seconds: float
    """Time of the last frame with this face."""
    num_frames: int = 0
    num_detections: int = 0
    mean_score: float = 0.0
    mean_strength: float = 0.0
    mean_width_px: float = 0.0
    """Width of the face, about twice the distance between the eyes; display pixels."""
    jitter_raw_px: float | None = None
    jitter_smoothed_px: float | None = None
    """RMS second difference of the landmarks from one detection to the next, before and after
    smoothing, in pixels of a 512-pixel crop; None where there were fewer than three detections."""
    largest_strength_step: float = 0.0
    """Largest change of strength from one frame to the next within the track."""
    held_back: dict[str, int] = field(default_factory=dict)
    """Frames in which the face was not shown fully, by the reason."""
    frames: list[dict[str, Any]] | None = None
    face_id: int | None = None
    """The face's number in the faces file."""
    flicker_before: float | None = None
    flicker_after: float | None = None
    """How much the face changes from one frame to the next, in the film and as it is shown; see
    ``RunHistory.add_face``. None where it was not measured."""
    moments: list[dict[str, Any]] | None = None
    """Small pictures before and after, see ``Gallery.moments``; None where there are none."""


@dataclass(slots=True, eq=False)
class TrackState:
    """What is gathered of a track while frames go by."""

    summary: TrackSummary
    at: Points
    """The latest landmarks."""
    detections: list[tuple[Points, Points]] = field(default_factory=list)
    """The latest three (measured, smoothed)."""
    squares: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    num_squares: int = 0
    flicker: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    num_flickers: int = 0
    strength: float | None = None
    num_rows_told: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Return everything as plain data, of the landmark rows those since the last call."""
        rows = self.summary.frames
        new = None if rows is None else rows[self.num_rows_told :]
        self.num_rows_told = 0 if rows is None else len(rows)
        summary = {f.name: getattr(self.summary, f.name) for f in dataclasses.fields(TrackSummary)}
        return {
            "summary": {**summary, "frames": new},
            "at": self.at.tolist(),
            "detections": [[points.tolist() for points in pair] for pair in self.detections],
            "squares": self.squares.tolist(),
            "num_squares": self.num_squares,
            "flicker": self.flicker.tolist(),
            "num_flickers": self.num_flickers,
            "strength": self.strength,
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], earlier: TrackState | None) -> TrackState:
        """Read what ``to_plain`` returned, after what it returned before."""
        made = cls(TrackSummary(**data["summary"]), np.array(data["at"], np.float32))
        if earlier is not None and earlier.summary.frames is not None:
            made.summary.frames = [*earlier.summary.frames, *(made.summary.frames or [])]
        made.num_rows_told = len(made.summary.frames or [])
        for measured, smoothed in data["detections"]:
            pair = (np.array(measured, np.float32), np.array(smoothed, np.float32))
            made.detections.append(pair)
        made.squares = np.array(data["squares"], np.float64)
        made.flicker = np.array(data["flicker"], np.float64)
        made.num_flickers = data["num_flickers"]
        made.num_squares, made.strength = data["num_squares"], data["strength"]
        return made

    def add_jitter(self, measured: Points, smoothed: Points) -> npt.NDArray[np.float64] | None:
        """Take a detection, and return the squared second differences before and after smoothing.

        Returns:
            Shape (2,), pixels squared of a crop of 512; None before the third detection.
        """
        self.detections = [*self.detections[-2:], (measured, smoothed)]
        if len(self.detections) < 3:
            return None
        a, b, c = (np.stack(pair).astype(np.float64) for pair in self.detections)
        size = float(np.linalg.norm(b[1, 1] - b[1, 0]))
        if size <= 0:
            return None
        # the eyes are about a quarter of the crop apart in both templates
        scale = _JITTER_CROP / 4 / size
        second = (a - 2 * b + c) * scale  # (2, 5, 2): measured, smoothed
        squares: npt.NDArray[np.float64] = (second**2).sum(axis=2).mean(axis=1)
        self.squares += squares
        self.num_squares += 1
        return squares

    def finished(self) -> TrackSummary:
        """Return the summary, with what is computed from sums."""
        if self.num_squares:
            jitter = np.sqrt(self.squares / self.num_squares)
            self.summary.jitter_raw_px, self.summary.jitter_smoothed_px = map(float, jitter)
        if self.num_flickers:
            flicker = self.flicker / self.num_flickers
            self.summary.flicker_before, self.summary.flicker_after = map(float, flicker)
        return self.summary
