"""Tells by time and place alone which known face a track is; the same wherever decoding began.

No file is read here: ``jobs.faces_file`` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from vidrestore.contracts import Points

Floats = npt.NDArray[np.float64]

_WIDTHS_PER_SPREAD = 3.2
"""Width of a frontal face (twice the distance of its eyes) over the RMS distance of its landmarks
from their centre, which changes less than the eyes' distance when the head turns."""
_FARTHEST = 0.5
"""Distance in face widths (and in log size) from which on it is somebody else."""
_TOLERANCE_SECONDS = 0.002
"""Times are kept rounded to a millisecond."""
_DEVIATION = 0.05
"""Largest error in face widths of a path that was thinned out."""
_NEVER = 1e3


@dataclass(frozen=True, slots=True, eq=False)
class KnownFace:
    """A face, where it was seen over time, and what is to be done with it."""

    face_id: int
    seen: Floats
    """Shape (N, 4), N ≥ 1: seconds (increasing), centre x, centre y, width; display pixels. In
    between the face is on the straight line."""
    restore: bool = True
    strength: float = 1.0
    """0..1, a factor to the strength of the run."""


def place_of(landmarks: Points) -> Floats:
    """Return centre x, centre y and width of a face, shape (3,), in the landmarks' pixels."""
    points = landmarks.astype(np.float64)
    centre = points.mean(axis=0)
    spread = np.sqrt(((points - centre) ** 2).sum(axis=1).mean())
    return np.array([*centre, _WIDTHS_PER_SPREAD * spread])


def thinned(path: Floats) -> Floats:
    """Drop the points of a path that lie on straight lines between others (Ramer-Douglas-Peucker).

    Unlike in the plane, a point is compared with the place on the line *at its time*.

    Args:
        path: Shape (N, 4) as ``KnownFace.seen``, N ≥ 1.

    Returns:
        Shape (K, 4), K ≤ N: some of the rows, the first and the last among them. Every other row is
        within 5 % of the face's width of what is interpolated.
    """
    kept = {0, len(path) - 1}
    open_ends = [(0, len(path) - 1)]
    while open_ends:
        first, last = open_ends.pop()
        if last - first < 2:
            continue
        inner = path[first + 1 : last]
        error = np.abs(_interpolated(path[[first, last]], inner[:, 0]) - inner[:, 1:])
        error = error.max(axis=1) / inner[:, 3]
        if error.max() > _DEVIATION:
            middle = first + 1 + int(error.argmax())
            kept.add(middle)
            open_ends += [(first, middle), (middle, last)]
    return path[sorted(kept)]


class FaceIndex:
    """Looks up who is where at a time.

    Args:
        faces: With ids of their own.
    """

    def __init__(self, faces: Sequence[KnownFace]) -> None:
        self._faces = tuple(faces)
        self._first = np.array([f.seen[0, 0] for f in faces]) - _TOLERANCE_SECONDS
        self._last = np.array([f.seen[-1, 0] for f in faces]) + _TOLERANCE_SECONDS

    def recognise(self, seconds: float, places: Floats) -> list[KnownFace | None]:
        """Name faces of one frame: each at most one known face, each known face at most once.

        Of all pairings that of the least total distance is taken (Hungarian algorithm). A face that
        is more than half a face width away from every known one, or is much larger or smaller, is
        nobody.

        Args:
            seconds: Time of the frame from the start of the film.
            places: Shape (M, 3) from ``place_of``, display pixels.

        Returns:
            For each place the known face, or None.
        """
        named: list[KnownFace | None] = [None] * len(places)
        present = np.flatnonzero((self._first <= seconds) & (seconds <= self._last))
        if not len(places) or not len(present):
            return named
        when = np.array([seconds])
        known = np.concatenate([_interpolated(self._faces[k].seen, when) for k in present])
        away = (places[:, None, :2] - known[None, :, :2]) / known[None, :, 2:]
        growth = np.log(places[:, None, 2:] / known[None, :, 2:])
        distance = np.linalg.norm(np.concatenate([away, growth], axis=2), axis=2)
        is_possible = distance <= _FARTHEST
        rows, columns = linear_sum_assignment(np.where(is_possible, distance, _NEVER))
        for i, k in zip(rows, columns, strict=True):
            if is_possible[i, k]:
                named[i] = self._faces[present[k]]
        return named


def _interpolated(seen: Floats, seconds: Floats) -> Floats:
    """Return places, shape (len(seconds), 3); beyond the ends those of the ends."""
    return np.stack([np.interp(seconds, seen[:, 0], seen[:, k]) for k in (1, 2, 3)], axis=1)
