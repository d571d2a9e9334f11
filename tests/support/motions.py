"""Faces that move as people do, and a detector that errs as RetinaFace was measured to err.

The error of a detection has two parts. The larger one depends on where the face lies on the
network's grid: it is the same for a face at the same place, and another a fraction of a face
further on. The smaller one is new in every picture. ``docs/STEADINESS.md`` says how both were
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.support.fakes import FACE, frame_at, observation
from vidrestore.contracts import DetectedFrame, FaceObservation, Points, TrackedFrame
from vidrestore.core.kalman import landmarks_from_pose

Floats = npt.NDArray[np.float64]

RATE = 25
"""Ticks a second."""
CROP_SIZE = 104.0
"""Size of a face in a crop of 512 pixels with the FFHQ template: pixels."""
WIDTH_FROM_SIZE = 2.6
"""Width of the detector's box over the size of the face."""
_MEAN_SHAPE = FACE - FACE.mean(axis=0)
_GRID_SHARE = 0.87
"""Share of the error (standard deviation) that depends on the place."""
_GRID_LENGTH = 0.08
"""Distance, in face sizes, log size or radians, after which that part is another."""
_NUM_WAVES = 96


def _sway(t: Floats, hertz: float, reach: float, phase: float = 0.0) -> Floats:
    wave: Floats = reach * np.sin(2 * np.pi * hertz * t + phase)
    return wave


def _still(t: Floats) -> Floats:
    return np.zeros((len(t), 4))


def _glides(t: Floats) -> Floats:
    return np.stack([1.2 * t, -0.3 * t, 0 * t, 0.03 * t], axis=1)


def _talks(t: Floats) -> Floats:
    x = _sway(t, 0.45, 0.35) + _sway(t, 1.1, 0.06, 1.0)
    y = _sway(t, 0.7, 0.12, 0.5) + _sway(t, 1.4, 0.04)
    return np.stack([x, y, _sway(t, 0.3, 0.04), _sway(t, 0.5, 0.09, 0.3)], axis=1)


def _nods(t: Floats) -> Floats:
    return np.stack(
        [_sway(t, 0.3, 0.1), _sway(t, 1.0, 0.3), _sway(t, 1.0, 0.03), _sway(t, 0.4, 0.03)], axis=1
    )


def _zooms(t: Floats) -> Floats:
    return np.stack([0.2 * t, 0.1 * t, _sway(t, 0.15, 0.5), 0 * t], axis=1)


def _shakes(t: Floats) -> Floats:
    return np.stack(
        [_sway(t, 1.5, 0.45), _sway(t, 3.0, 0.03), 0 * t, _sway(t, 1.5, 0.06, 0.4)], axis=1
    )


MOTIONS: dict[str, Callable[[Floats], Floats]] = {
    "still": _still,
    "glides": _glides,
    "talks": _talks,
    "nods": _nods,
    "zooms": _zooms,
    "shakes": _shakes,
}
"""Pose (x and y in face sizes, log size, angle) by time in seconds, relative to the start."""


def poses_of(motion: str, size: float, seconds: Floats, phase: float = 0.0) -> Floats:
    """True poses, shape (n, 4), of a face of ``size`` pixels that begins ``phase`` s later."""
    poses = MOTIONS[motion](seconds + phase)
    poses[:, :2] = poses[:, :2] * size + (400, 300)
    poses[:, 2] += np.log(size)
    return poses


def landmarks_of(poses: Floats) -> npt.NDArray[np.float32]:
    """True landmarks, shape (n, 5, 2), of poses (n, 4)."""
    return np.stack([landmarks_from_pose(p, _MEAN_SHAPE) for p in poses])


def spread_of_poses(size: float) -> Floats:
    """Standard deviation of the pose of a detection: x, y in face sizes, log size, radians."""
    return (0.012 + 0.28 / size) * np.array([1.0, 1.0, 0.95, 1.15])


@dataclass
class NoisyDetector:
    """Sees true poses with errors; every instance has a face, and so a grid error, of its own."""

    rng: np.random.Generator
    miss_share: float = 0.0
    outlier_share: float = 0.0

    def __post_init__(self) -> None:
        self._waves = self.rng.normal(0, 1 / _GRID_LENGTH, (_NUM_WAVES, 4))
        self._phases = self.rng.uniform(0, 2 * np.pi, _NUM_WAVES)
        self._loads = self.rng.normal(0, np.sqrt(2 / _NUM_WAVES), (_NUM_WAVES, 14))

    def see(self, pose: Floats) -> Points | None:
        """Return the landmarks measured of a face, or None for a miss."""
        rng = self.rng
        size = float(np.exp(pose[2]))
        at = np.array([pose[0] / size, pose[1] / size, pose[2], pose[3]])
        grid = np.cos(self._waves @ at + self._phases) @ self._loads
        error = _GRID_SHARE * grid + np.sqrt(1 - _GRID_SHARE**2) * rng.normal(size=14)
        error[:4] *= spread_of_poses(size) * [size, size, 1, 1]
        shape = _MEAN_SHAPE + error[4:].reshape(5, 2) * 0.014
        kind = rng.random()
        if kind < self.miss_share:
            return None
        if kind < self.miss_share + self.outlier_share:
            error[:2] += rng.choice([-1, 1], 2) * rng.uniform(0.8, 1.6, 2) * size
            error[2] += rng.uniform(-0.3, 0.3)
        return landmarks_from_pose(pose + error[:4], shape)


def film(
    seen: Callable[[int], tuple[FaceObservation, ...]], num_ticks: int, every: int, cut: int = 0
) -> Iterator[DetectedFrame]:
    """One shot, or two: what the detector saw at each tick that was searched."""
    for tick in range(num_ticks):
        is_due = tick % every == 0 or tick == cut
        yield DetectedFrame(
            frame=frame_at(tick, rate=RATE),
            was_searched=is_due,
            observations=seen(tick) if is_due else (),
            is_cut=tick in (0, cut),
        )


def observations_of(
    detector: NoisyDetector, poses: Floats, every: int, cut: int = 0
) -> dict[int, Points]:
    """Landmarks measured at the searched ticks, misses left out; the first is never missed."""
    measured: dict[int, Points] = {}
    for tick in sorted({*range(0, len(poses), every), cut}):
        seen = detector.see(poses[tick])
        while tick == 0 and seen is None:
            seen = detector.see(poses[0])
        if seen is not None:
            measured[tick] = seen
    return measured


def film_of(
    measured: dict[int, Points], num_ticks: int, every: int, cut: int = 0
) -> Iterator[DetectedFrame]:
    """One shot of one face, or two shots of one face each."""

    def seen(tick: int) -> tuple[FaceObservation, ...]:
        return (observation(measured[tick]),) if tick in measured else ()

    return film(seen, num_ticks, every, cut)


def jump(poses: Floats, cut: int, rng: np.random.Generator) -> Floats:
    """Let another shot begin at tick ``cut``: near enough for the face to be taken for the same."""
    size = np.exp(poses[cut, 2])
    after = poses.copy()
    after[cut:, :2] += rng.uniform(0.5, 1.5) * size * rng.choice([-1, 1], 2)
    after[cut:, 2] += rng.uniform(-0.3, 0.3)
    return after


@dataclass(frozen=True)
class Encounter:
    """People whose faces come near each other, and what a detector sees of them."""

    poses: npt.NDArray[np.float64]
    """True poses, shape (people, ticks, 4)."""
    seen: list[list[Points | None]]
    """For each tick what is measured of each person."""


ENCOUNTERS = ("pass", "pass behind", "pass level", "turn back", "three")
_NUM_TICKS = 90
_MIDDLE = 45


def encounter(kind: str, seed: int) -> Encounter:
    """Let people meet in the middle of 90 ticks, the nearer (larger, or lower) in front.

    ``pass``: in opposite directions, at different depths; ``pass behind``: one stands still;
    ``pass level``: faces of one size; ``turn back``: two of one size come close and part again;
    ``three``: two pass each other in front of a third who stands. Nobody is hidden for longer than
    0.5 s.
    """
    rng = np.random.default_rng([seed, ENCOUNTERS.index(kind)])
    size = rng.uniform(14, 60)
    t = (np.arange(_NUM_TICKS) - _MIDDLE) / RATE
    # of one against the other, in sizes a second; three people are hidden one after the other
    speed = rng.uniform(5.6, 14.0) if kind != "three" else rng.uniform(11.5, 18.0)
    depth = 1.0 if kind in ("pass level", "turn back") else rng.uniform(1.15, 1.7)
    rise = rng.uniform(-0.5, 0.5)
    if kind == "turn back":
        # distance at the nearest: the boxes touch, both faces can be seen
        gap = rng.uniform(1.5, 2.2) + np.sqrt(t**2 + 0.05) * speed - np.sqrt(0.05) * speed
        offsets = [gap / 2, -gap / 2]
    elif kind == "pass behind":
        offsets = [0 * t, speed * t]
    else:
        offsets = [speed / 2 * t, -speed / 2 * t]
    sizes = [size, size / depth]
    rises = [0.0, rise]
    if kind == "three":
        offsets.append(0 * t + rng.uniform(-0.5, 0.5))
        sizes.append(size / depth / rng.uniform(1.1, 1.3))
        rises.append(rng.uniform(-1.2, -0.6))
    walkers = [
        np.stack(
            [
                400 + size * x,
                300 + size * (up + 0.04 * np.sin(2 * np.pi * 1.9 * t + rng.uniform(0, 6))),
                np.full(_NUM_TICKS, np.log(s)),
                0.05 * np.sin(2 * np.pi * 0.9 * t + rng.uniform(0, 6)),
            ],
            axis=1,
        )
        for x, s, up in zip(offsets, sizes, rises, strict=True)
    ]
    return Encounter(np.stack(walkers), _seen_of(walkers, rng))


def _seen_of(walkers: list[Floats], rng: np.random.Generator) -> list[list[Points | None]]:
    """Measure each; a face behind another is missed, as are 5 % of all."""
    detectors = [NoisyDetector(rng, miss_share=0.05, outlier_share=0.01) for _ in walkers]
    seen = []
    for tick in range(_NUM_TICKS):
        row: list[Points | None] = []
        for i, walker in enumerate(walkers):
            pose = walker[tick]
            # the walkers stand in the order of their distance: the first is in front
            is_hidden = any(_covers(front[tick], pose) for front in walkers[:i])
            row.append(None if is_hidden else detectors[i].see(pose))
        seen.append(row)
    return seen


def _covers(front: Floats, rear: Floats) -> bool:
    """A face whose middle lies within another's box is not found."""
    x, y = np.abs(front[:2] - rear[:2]) / np.exp(front[2])
    return bool(x < 0.5 * WIDTH_FROM_SIZE and y < 0.65 * WIDTH_FROM_SIZE)


def wrong_identities(meeting: Encounter, items: list[TrackedFrame]) -> tuple[int, int]:
    """Count tracks that pass from one person to another, and tracks more than there are people.

    Only frames count in which the face was measured and lies clearly nearest to one person.
    """
    owners: dict[int, set[int]] = {}
    for tick, item in enumerate(items):
        centres, sizes = meeting.poses[:, tick, :2], np.exp(meeting.poses[:, tick, 2])
        for face in item.tracks:
            away = np.linalg.norm(centres - face.landmarks.mean(axis=0), axis=1) / sizes
            nearest = np.sort(away)
            is_clear = nearest[0] < 1 and nearest[1] - nearest[0] > 0.8
            if face.measured is not None and face.strength >= 0.5 and is_clear:
                owners.setdefault(face.track_id, set()).add(int(away.argmin()))
    return sum(len(who) > 1 for who in owners.values()), len(owners) - len(meeting.poses)
