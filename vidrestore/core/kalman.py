"""Face poses, and a causal constant-velocity Kalman filter that predicts them.

Five noisy landmarks are turned into a pose (centre x and y, log of size, angle) and a shape (what
is left when the pose is taken away). Poses move with inertia, shapes change slowly. The filter here
serves association, which must know where a face is to be looked for; what is shown comes from
``smoothing``, with the same model and the future known.

Time is in seconds. Lengths are relative to the size of the face, so that one set of constants
serves near and far faces.
"""

from __future__ import annotations

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

_NOISE_OF_LARGE, _NOISE_OF_SMALL_PX = 0.012, 0.28
"""Noise of a detection in face sizes is the first plus the second over the size in pixels."""
_NOISE_SHARES = np.array([1.0, 1.0, 0.95, 1.15])
"""Of that noise in centre x and y, log size, and angle in radians."""
_ACCELERATION_STD = np.array([16.0, 16.0, 5.0, 10.0])
"""Acceleration that a head is expected to show: face sizes, log size, radians; each per s²."""
FIRST_SPEED_STD = np.array([6.0, 6.0, 0.7, 1.5])
"""Spread of the unknown speed at the first sight of a face, per second: 6 face sizes are 0.4 m."""
OUTLIER_INNOVATION = 28.5
"""Squared Mahalanobis distance of an outlier: exceeded by 1 in 100,000 of chi²(4)."""


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


def measured_std(poses: Floats, scores: npt.ArrayLike) -> Floats:
    """Return the standard deviation of detections of some poses (..., 4) and scores (...).

    As measured of RetinaFace on moving faces 30 to 260 pixels wide (``docs/STEADINESS.md``).

    Returns:
        Shape (..., 4): pixels, pixels, log pixels, radians.
    """
    size = np.exp(poses[..., 2])
    noise = (_NOISE_OF_LARGE + _NOISE_OF_SMALL_PX / size) / np.maximum(scores, 0.1)
    one = np.ones_like(size)
    std: Floats = noise[..., None] * _NOISE_SHARES * np.stack([size, size, one, one], axis=-1)
    return std


class PoseFilter:
    """A causal filter of one face: predict to a time, correct by a detection."""

    def __init__(self, seconds: float, pose: Floats, velocity: Floats | None = None) -> None:
        self._seconds = seconds
        self._filter = kf = KalmanFilter(dim_x=2 * NUM_POSE, dim_z=NUM_POSE)
        kf.x = np.concatenate([pose, np.zeros(NUM_POSE) if velocity is None else velocity])
        kf.H = np.eye(NUM_POSE, 2 * NUM_POSE)
        unit = self._units(pose)
        spread = [measured_std(pose, 1.0), FIRST_SPEED_STD * unit]
        kf.P = np.diag(np.concatenate(spread) ** 2)

    @property
    def pose(self) -> Floats:
        """The present belief, shape (4,)."""
        return np.array(self._filter.x[:NUM_POSE])

    def predict(self, seconds: float) -> None:
        """Move the belief on to ``seconds``."""
        f, q = self._transition(seconds)
        self._filter.predict(F=f, Q=q)
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
        return np.diag(measured_std(self._filter.x, score) ** 2)

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
