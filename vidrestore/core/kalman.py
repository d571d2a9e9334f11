"""Face poses over time: a constant-velocity Kalman filter and its fixed-interval smoother.

Five noisy landmarks are turned into a pose (centre x and y, log of size, angle) and a shape (what
is left when the pose is taken away). Poses move with inertia, shapes change slowly; each is
smoothed as what it is. A constant-velocity model is exact for a face that glides, and the
smoother (Rauch, Tung and Striebel 1965) uses the future as well as the past, so it does not lag.

Time is in seconds. Lengths are relative to the size of the face, so that one set of constants
serves near and far faces.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from filterpy.kalman import KalmanFilter

from vidrestore.contracts import Points

Floats = npt.NDArray[np.float64]

NUM_POSE = 4
"""A pose is (x, y, log size, angle): pixels, pixels, log pixels, radians."""

# An average frontal face about its centre, in units of its own size; complex numbers x + iy make
# a similarity transform one multiplication.
_MEAN_FACE = np.array([-0.59 - 0.62j, 0.58 - 0.62j, -0.01 + 0.04j, -0.49 + 0.60j, 0.51 + 0.60j])
_MEAN_FACE -= _MEAN_FACE.mean()

_MEASURED_STD = np.array([0.022, 0.022, 0.016, 0.016])
"""Noise of one detection: centre in face sizes, log size, angle in radians."""
_ACCELERATION_STD = np.array([16.0, 16.0, 5.0, 10.0])
"""Acceleration that a head is expected to show: face sizes, log size, radians; each per s²."""
_FIRST_SPEED_STD = np.array([2.0, 2.0, 0.7, 1.5])
"""Spread of the unknown speed at the first sight of a face, per second."""
OUTLIER_INNOVATION = 28.5
"""Squared Mahalanobis distance of an outlier: exceeded by 1 in 100,000 of chi²(4)."""
_OUTLIER_STEP = 0.6
"""Distance in face sizes (or in log size) from the line through its neighbours from which on a
detection may be an outlier."""
_SHAPE_MEMORY_SECONDS = 0.25
"""Time constant of the two-sided exponential average of shapes."""


def pose_from_landmarks(landmarks: Points) -> tuple[Floats, Floats]:
    """Split landmarks into pose and shape.

    Args:
        landmarks: Shape (5, 2), pixels.

    Returns:
        The pose, shape (4,): centre x, centre y, log size, angle; and the shape, (5, 2), about the
        centre, upright, in units of the size. ``landmarks_from_pose`` is the exact inverse.
        For five coincident points the pose is not finite.
    """
    points = landmarks[:, 0].astype(np.float64) + 1j * landmarks[:, 1].astype(np.float64)
    centre = points.mean()
    points = points - centre
    # least-squares similarity from the mean face: a = <face, points> / <face, face>
    a = np.vdot(_MEAN_FACE, points) / np.vdot(_MEAN_FACE, _MEAN_FACE).real
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = points / a
        pose = np.array([centre.real, centre.imag, np.log(np.abs(a)), np.angle(a)])
    return pose, np.stack([shape.real, shape.imag], axis=1)


def landmarks_from_pose(pose: Floats, shape: Floats) -> Points:
    """Put pose (4,) and shape (5, 2) together again: landmarks (5, 2) float32, pixels."""
    x, y, log_size, angle = pose
    points = np.exp(log_size + 1j * angle) * (shape[:, 0] + 1j * shape[:, 1]) + (x + 1j * y)
    return np.stack([points.real, points.imag], axis=1).astype(np.float32)


class PoseFilter:
    """A causal filter of one face: predict to a time, correct by a detection."""

    def __init__(self, seconds: float, pose: Floats) -> None:
        self._seconds = seconds
        self._step = np.eye(2 * NUM_POSE), np.zeros((2 * NUM_POSE, 2 * NUM_POSE))
        self._filter = kf = KalmanFilter(dim_x=2 * NUM_POSE, dim_z=NUM_POSE)
        kf.x = np.concatenate([pose, np.zeros(NUM_POSE)])
        kf.H = np.eye(NUM_POSE, 2 * NUM_POSE)
        unit = self._units(pose)
        kf.P = np.diag(np.concatenate([_MEASURED_STD * unit, _FIRST_SPEED_STD * unit]) ** 2)

    @property
    def pose(self) -> Floats:
        """The present belief, shape (4,)."""
        return np.array(self._filter.x[:NUM_POSE])

    @property
    def state(self) -> tuple[Floats, Floats]:
        """Mean (8,) and covariance (8, 8) of pose and velocity."""
        return np.array(self._filter.x), np.array(self._filter.P)

    @property
    def last_step(self) -> tuple[Floats, Floats]:
        """The F and Q, both (8, 8), of the latest step."""
        return self._step

    def predict(self, seconds: float) -> None:
        """Move the belief on to ``seconds``."""
        self._step = self._transition(seconds)
        self._filter.predict(F=self._step[0], Q=self._step[1])
        self._seconds = seconds

    def innovation(self, pose: Floats, score: float) -> float:
        """Squared Mahalanobis distance of a detection from the predicted belief.

        For a detection that belongs to the face it is chi² distributed with 4 degrees of freedom.
        """
        difference = self._difference(pose)
        spread = self._filter.P[:NUM_POSE, :NUM_POSE] + self._noise(score)
        return float(difference @ np.linalg.solve(spread, difference))

    def update(self, pose: Floats, score: float) -> None:
        """Correct the predicted belief by a detection of confidence ``score`` (0..1)."""
        kf = self._filter
        kf.update(kf.x[:NUM_POSE] + self._difference(pose), R=self._noise(score))

    def _difference(self, pose: Floats) -> Floats:
        difference: Floats = pose - self._filter.x[:NUM_POSE]
        difference[3] = np.angle(np.exp(1j * difference[3]))  # the short way round
        return difference

    def _noise(self, score: float) -> Floats:
        return np.diag((_MEASURED_STD * self._units(self._filter.x) / max(score, 0.1)) ** 2)

    def _transition(self, seconds: float) -> tuple[Floats, Floats]:
        """Return the matrices F and Q, both (8, 8), from the filter's time to ``seconds``.

        Q is that of white-noise acceleration held over the step (Bar-Shalom, Li and Kirubarajan,
        Estimation with Applications to Tracking and Navigation, 6.3.2).
        """
        dt = seconds - self._seconds
        f = np.eye(2 * NUM_POSE)
        f[:NUM_POSE, NUM_POSE:] = np.eye(NUM_POSE) * dt
        gain = np.vstack([np.eye(NUM_POSE) * (dt * dt / 2), np.eye(NUM_POSE) * dt])
        spread = np.diag((_ACCELERATION_STD * self._units(self._filter.x)) ** 2)
        return f, gain @ spread @ gain.T

    @staticmethod
    def _units(pose: Floats) -> Floats:
        size = float(np.exp(pose[2]))
        return np.array([size, size, 1.0, 1.0])


def smooth_poses(seconds: Floats, poses: Floats, scores: Floats) -> Floats:
    """Smooth a run of poses with the Kalman filter forwards and the RTS smoother backwards.

    Args:
        seconds: Shape (n,), strictly increasing.
        poses: Shape (n, 4); rows of NaN where nothing was measured. The first row is measured.
        scores: Shape (n,): confidence 0..1 of each measurement.

    Returns:
        Shape (n, 4): the pose at every time, measured or not.
    """
    kf = PoseFilter(float(seconds[0]), poses[0])
    n = len(seconds)
    means, covariances = np.empty((n, 2 * NUM_POSE)), np.empty((n, 2 * NUM_POSE, 2 * NUM_POSE))
    steps = []
    means[0], covariances[0] = kf.state
    for k in range(1, n):
        kf.predict(float(seconds[k]))
        if np.isfinite(poses[k, 0]):
            kf.update(poses[k], float(scores[k]))
        steps.append(kf.last_step)
        means[k], covariances[k] = kf.state
    for k in range(n - 2, -1, -1):
        f, q = steps[k]
        ahead = f @ covariances[k] @ f.T + q
        gain = np.linalg.solve(ahead, f @ covariances[k]).T
        means[k] += gain @ (means[k + 1] - f @ means[k])
    return means[:, :NUM_POSE]


def find_outliers(seconds: Floats, poses: Floats) -> npt.NDArray[np.bool_]:
    """Find single detections that jump away from a path that is smooth without them.

    A detection is an outlier if it lies far from the straight line through its neighbours in time
    while the detections around it, with it left out, lie close to lines of their own. A head that
    shakes makes every detection jump, and so none of them an outlier.

    Args:
        seconds: Shape (n,), strictly increasing.
        poses: Shape (n, 4), all measured.

    Returns:
        Shape (n,), True for outliers; never two neighbours.
    """
    n = len(seconds)
    is_outlier = np.zeros(n, dtype=bool)
    for k in range(n):
        # the four nearest in time, or three of a short run
        around = np.sort(np.argsort(np.abs(np.arange(n) - k), kind="stable")[1:5]).tolist()
        if len(around) < 3 or (k > 0 and is_outlier[k - 1]):
            continue
        i, j = min(pairwise(around), key=lambda pair: abs(pair[0] + pair[1] - 2 * k))
        step = _step_from_line(k, i, j, seconds, poses)
        if step > _OUTLIER_STEP:
            triples = zip(around, around[1:], around[2:], strict=False)
            rest = max(_step_from_line(b, a, c, seconds, poses) for a, b, c in triples)
            is_outlier[k] = rest < step / 6
    return is_outlier


def _step_from_line(k: int, i: int, j: int, seconds: Floats, poses: Floats) -> float:
    """Distance of pose k from the line through poses i and j: face sizes, or log size if more."""
    t = (seconds[k] - seconds[i]) / (seconds[j] - seconds[i])
    step = poses[k, :3] - poses[i, :3] - t * (poses[j, :3] - poses[i, :3])
    step[:2] *= np.exp(-poses[k, 2])
    return float(np.abs(step).max())


def smooth_shapes(seconds: Floats, measured_at: Floats, shapes: Floats, scores: Floats) -> Floats:
    """Average shapes with weights that fall exponentially with the distance in time.

    A two-sided exponential is the steady state of the smoother of a random walk.

    Args:
        seconds: Shape (n,): where shapes are wanted.
        measured_at: Shape (m,): where they were measured, m >= 1.
        shapes: Shape (m, 5, 2).
        scores: Shape (m,): confidence 0..1.

    Returns:
        Shape (n, 5, 2).
    """
    distance = np.abs(seconds[:, None] - measured_at[None, :])
    # subtracting the smallest distance leaves the ratios and keeps far times from underflowing
    distance -= distance.min(axis=1, keepdims=True)
    weights = np.exp(-distance / _SHAPE_MEMORY_SECONDS) * scores[None, :]
    weights /= weights.sum(axis=1, keepdims=True)
    return np.tensordot(weights, shapes, axes=1)
