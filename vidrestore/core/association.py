"""Which detection belongs to which face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from vidrestore.core.geometry import iou
from vidrestore.core.kalman import Floats

MAX_COST = 2.2
"""Association cost, (1 - IoU) + distance in half face widths, of two different people."""
MAX_LOG_SIZE_STEP = 0.6
"""Change of log size between prediction and detection beyond which they are two people."""
_DOUBT = 1.6
"""A way of pairing that costs so little more than the best might be the right one."""
_APPEARANCE_WEIGHT = 6.0
"""Of the distance between two looks, where the geometry leaves a doubt. Looks of one person are
about 0.3 nearer to each other than `_STRANGE`, those of two people 0.3 further apart."""
_SAME_LOOK = 0.45
"""Least distance of two looks that are not enough, alone, to take two faces for one."""
_STRANGE = 0.6
"""Distance of two looks that says neither that it is one person nor that it is two."""

Appearance = Callable[[int, int], float | None]
"""Distance between the looks of a face and of a detection, given by index; None if not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a face is, or is thought to be."""

    pose: Floats
    """Shape (4,): centre x, centre y, log size, angle."""
    boxed_pose: Floats
    """The pose that the face had when ``box_xyxy`` was measured, shape (4,)."""
    box_xyxy: npt.NDArray[np.float32]
    """Shape (4,): left, top, right, bottom."""

    @property
    def box(self) -> Floats:
        """The box, moved and scaled from where it was measured to the pose."""
        corners = self.box_xyxy.reshape(2, 2) - self.boxed_pose[:2]
        scale = np.exp(self.pose[2] - self.boxed_pose[2])
        box: Floats = (corners * scale + self.pose[:2]).reshape(4)
        return box


def match(
    expected: Sequence[Place],
    seen: Sequence[Place],
    latest: Sequence[Place] = (),
    appearance: Appearance | None = None,
) -> dict[int, int]:
    """Pair faces with detections so that the total cost is least (Hungarian algorithm).

    Args:
        expected: Where the faces are thought to be.
        seen: The detections.
        latest: Where the faces were last seen. Somebody may have stopped or turned back, so where
            this suits as well there is a doubt.
        appearance: Asked about those pairs alone that are in doubt: it is slow.

    Returns:
        Index of the detection by index of the face, for those that belong together.
    """
    if not expected or not seen:
        return {}
    cost = _costs(expected, seen)
    if appearance is not None:
        least = np.minimum(cost, _costs(latest, seen)) if latest else cost.copy()
        disputed = set(_assign(cost)) ^ set(_assign(least))
        for i, j in sorted(disputed | _doubtful_pairs(least)):
            apart = appearance(i, j) if least[i, j] < MAX_COST else None
            if apart is not None:
                cost[i, j] = least[i, j] + _APPEARANCE_WEIGHT * (apart - _STRANGE)
    return {i: j for i, j in _assign(np.minimum(cost, MAX_COST)) if cost[i, j] < MAX_COST}


def _costs(expected: Sequence[Place], seen: Sequence[Place]) -> Floats:
    """Return the cost of each pair, (faces, detections).

    To stay alone costs as much as the worst pair: no good pair is given up for two bad ones.
    """
    believed = np.stack([p.pose for p in expected])
    found = np.stack([p.pose for p in seen])
    overlap = iou(np.stack([p.box for p in expected]), np.stack([p.box for p in seen]))
    size = 2 * np.exp(np.maximum(believed[:, None, 2], found[None, :, 2]))
    distance = np.linalg.norm(believed[:, None, :2] - found[None, :, :2], axis=2) / size
    cost: Floats = (1 - overlap) + distance
    step = np.abs(believed[:, None, 2] - found[None, :, 2])
    cost[(cost > MAX_COST) | (step > MAX_LOG_SIZE_STEP)] = MAX_COST
    return cost


def match_looks(num_faces: int, num_seen: int, appearance: Appearance) -> dict[int, int]:
    """Pair faces with detections by their looks alone; see ``match``."""
    apart = [[appearance(i, j) for j in range(num_seen)] for i in range(num_faces)]
    cost = np.array(apart, np.float64).reshape(num_faces, num_seen)  # None becomes NaN
    cost[~(cost < _SAME_LOOK)] = _SAME_LOOK
    return {i: j for i, j in _assign(cost) if cost[i, j] < _SAME_LOOK}


def _assign(cost: Floats) -> list[tuple[int, int]]:
    rows, columns = linear_sum_assignment(cost)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _doubtful_pairs(cost: Floats) -> set[tuple[int, int]]:
    """Return the pairs in which nearly equally good assignments differ.

    To each pair of the best assignment the best one without it is sought.
    """
    best = _assign(cost)
    total = sum(cost[pair] for pair in best)
    doubtful: set[tuple[int, int]] = set()
    for pair in best:
        without = cost.copy()
        without[pair] = MAX_COST
        other = _assign(without)
        if sum(without[p] for p in other) < total + _DOUBT:
            doubtful |= {pair} | set(best) ^ set(other)
    return doubtful
