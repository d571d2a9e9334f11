"""How near landmark paths are to the truth, and how they tremble."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidrestore.contracts import Points
from vidrestore.core.metrics import second_differences

_CROP = 512
_EYES_APART = _CROP / 4
"""The eyes are about a quarter of the crop apart in both templates."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One face in one frame, in pixels of the upright picture."""

    frame: int
    """Number of the frame; the numbers of a path increase."""
    smoothed: Points
    raw: Points | None
    """What the detector said, None where it did not look or did not see."""
    truth: Points | None


@dataclass(frozen=True, slots=True)
class PathMeasures:
    """Of all landmarks of all paths, in pixels of a 512-pixel crop; None where it cannot be known.

    Against the truth the jitter is that of the error, so that true motion is none of it; without
    one it is that of the path itself.
    """

    error_raw_px: float | None
    """Mean distance of the detections from the truth."""
    error_smoothed_px: float | None
    """The same of the smoothed landmarks, in the same frames."""
    error_smoothed_all_px: float | None
    """The same, in all frames."""
    jitter_raw_px: float | None
    """RMS second difference from frame to frame of the detections, joined by straight lines."""
    jitter_smoothed_px: float | None


def measure_paths(paths: Sequence[Sequence[Sight]]) -> PathMeasures:
    """Measure the paths of some faces, each one track in the order of its frames."""
    sights = [sight for path in paths for sight in path]
    known = [s for s in sights if s.truth is not None]
    searched = [s for s in known if s.raw is not None]
    runs = [run for path in paths for run in _runs(path)]
    return PathMeasures(
        error_raw_px=_mean([_error(s.raw, s) for s in searched]),
        error_smoothed_px=_mean([_error(s.smoothed, s) for s in searched]),
        error_smoothed_all_px=_mean([_error(s.smoothed, s) for s in known]),
        jitter_raw_px=_jitter([_joined_detections(run) for run in runs]),
        jitter_smoothed_px=_jitter([_offsets(run, [s.smoothed for s in run]) for run in runs]),
    )


def _runs(path: Sequence[Sight]) -> list[list[Sight]]:
    """Cut a path where frames are missing, or the truth begins or ends."""
    runs: list[list[Sight]] = []
    for sight in path:
        last = runs[-1][-1] if runs else None
        goes_on = (
            last is not None
            and sight.frame == last.frame + 1
            and (sight.truth is None) == (last.truth is None)
        )
        if goes_on:
            runs[-1].append(sight)
        else:
            runs.append([sight])
    return runs


def _error(points: Points | None, sight: Sight) -> float:
    assert points is not None
    assert sight.truth is not None
    apart = np.linalg.norm(points.astype(np.float64) - sight.truth, axis=1)
    return float(apart.mean()) * _scale(sight)


def _scale(sight: Sight) -> float:
    at = sight.smoothed if sight.truth is None else sight.truth
    return _EYES_APART / max(1e-6, float(np.linalg.norm(at[1] - at[0])))


def _offsets(run: Sequence[Sight], points: Sequence[Points]) -> Floats:
    """Return the points at crop scale, less the truth where it is known: (n, 5, 2)."""
    rows = [
        (p.astype(np.float64) - (0 if s.truth is None else s.truth)) * _scale(s)
        for s, p in zip(run, points, strict=True)
    ]
    return np.stack(rows)


def _joined_detections(run: Sequence[Sight]) -> Floats:
    """Join the detections of a run by straight lines, from the first to the last: (n, 5, 2)."""
    at = [k for k, sight in enumerate(run) if sight.raw is not None]
    if len(at) < 2:
        return np.empty((0, 5, 2))
    part = run[at[0] : at[-1] + 1]
    seen = np.stack([s.raw for s in part if s.raw is not None]).reshape(len(at), 10)
    places = np.arange(at[0], at[-1] + 1)
    columns = [np.interp(places, at, seen[:, k]) for k in range(10)]
    joined = np.stack(columns, axis=1).reshape(len(part), 5, 2)
    return _offsets(part, list(joined))


def _jitter(paths: Sequence[Floats]) -> float | None:
    second = [second_differences(path).reshape(-1, 2) for path in paths if len(path) >= 3]
    if not second:
        return None
    return math.sqrt(float(np.square(np.concatenate(second)).sum(axis=1).mean()))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
