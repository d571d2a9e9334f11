"""Which detection belongs to which face."""

from __future__ import annotations

from collections.abc import Sequence
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


def match(expected: Sequence[Place], seen: Sequence[Place]) -> dict[int, int]:
    """Pair faces with detections so that the total cost is least (Hungarian algorithm).

    Returns:
        Index of the detection by index of the face, for those that belong together.
    """
    if not expected or not seen:
        return {}
    believed = np.stack([p.pose for p in expected])
    found = np.stack([p.pose for p in seen])
    overlap = iou(np.stack([p.box for p in expected]), np.stack([p.box for p in seen]))
    size = 2 * np.exp(np.maximum(believed[:, None, 2], found[None, :, 2]))
    distance = np.linalg.norm(believed[:, None, :2] - found[None, :, :2], axis=2) / size
    cost = (1 - overlap) + distance
    step = np.abs(believed[:, None, 2] - found[None, :, 2])
    is_possible = (cost <= MAX_COST) & (step <= MAX_LOG_SIZE_STEP)
    rows, columns = linear_sum_assignment(np.where(is_possible, cost, 1e3))
    return {int(i): int(j) for i, j in zip(rows, columns, strict=True) if is_possible[i, j]}
