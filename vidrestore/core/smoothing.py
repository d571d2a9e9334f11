"""Smooth paths through noisy poses: the constant-velocity smoother, restlessness, outliers.

The model is that of ``kalman.PoseFilter``: a velocity that drifts as white-noise acceleration
drives it. What the Rauch-Tung-Striebel smoother (1965) makes of a window of measurements is the
most probable path given all of them, and that is the solution of one banded linear system; solving
it gives the same numbers as the two passes of matrices, in a tenth of the time. Between two
measurements the most probable path of this model is a cubic (Wahba, Spline Models for
Observational Data, 1990, chapter 1), so frames in between cost nothing more.

How restless the face is differs from moment to moment, and with it how much may be smoothed. It is
read from the path itself: from the acceleration of parabolas fitted around each measurement.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import solveh_banded

from vidrestore.core.kalman import FIRST_SPEED_STD, Floats, measured_std

_FIT_SECONDS = 0.16
"""Standard deviation of the Gaussian weights of the fitted parabolas, seconds."""
_CALM_SECONDS = 0.2
"""Over this (standard deviation of Gaussian weights) restlessness is averaged."""
_MEMORY_OF_ACCELERATION = 0.5
"""A head's acceleration lasts about so long, seconds: spectral density over variance."""
_LEAST_DRIFT = np.array([0.05, 0.05, 0.02, 0.03])
"""Spectral density of the acceleration of a face at rest: sizes², log size², radians², per s³."""
_MOST_DRIFT = np.array([400.0, 400.0, 60.0, 200.0])
"""The same of a face that is shaken."""
_COAST_SECONDS = 0.12
"""A face is thought to move on for so long after it was last seen; then it is held."""
_OUTLIER_STEP = 0.6
"""Distance in face sizes (or in log size) from the line through its neighbours from which on a
detection may be an outlier."""
_SHAPE_SECONDS = 0.3
"""Standard deviation of the Gaussian weights with which shapes are averaged."""


def drift_densities(seconds: Floats, poses: Floats, variances: Floats) -> Floats:
    """Estimate how restless a face is around each measurement.

    A parabola is fitted around each measurement; the square of its acceleration, less what the
    noise of the measurements alone would give, is averaged over the neighbours.

    Args:
        seconds: Shape (n,), strictly increasing.
        poses: Shape (n, 4), x and y in face sizes.
        variances: Shape (n, 4): of the noise of each measurement, same units.

    Returns:
        Shape (n, 4): spectral density of the acceleration, units² per s³.
    """
    away = seconds[None, :] - seconds[:, None]
    weights = np.exp(-0.5 * (away / _FIT_SECONDS) ** 2)
    powers = np.stack([np.ones_like(away), away, away**2 / 2], axis=2)  # (n, n, 3)
    weighted = powers * weights[:, :, None]
    normal = weighted.transpose(0, 2, 1) @ powers
    # a little stiffness where there are too few points for a parabola
    normal[:, 1, 1] += 1e-4
    normal[:, 2, 2] += 1e-5
    rows = np.linalg.solve(normal, weighted.transpose(0, 2, 1))[:, 2]  # (n, n)
    accelerations, spread = rows @ poses, rows**2 @ variances + 1e-9
    near = np.exp(-0.5 * (away / _CALM_SECONDS) ** 2)[:, :, None] / spread[None, :, :]
    excess = (near * (accelerations**2 - spread)[None]).sum(axis=1) / near.sum(axis=1)
    excess[:, :2] = excess[:, :2].mean(axis=1, keepdims=True)  # the camera's axes mean nothing
    density: Floats = _MEMORY_OF_ACCELERATION * np.maximum(excess, 0) + _LEAST_DRIFT
    limited: Floats = np.minimum(density, _MOST_DRIFT)
    return limited


def smooth_paths(
    seconds: Floats, values: Floats, variances: Floats, drift: Floats, first_speed_std: Floats
) -> tuple[Floats, Floats]:
    """Find the most probable path of each coordinate: Kalman filter and RTS smoother in one.

    With u = (position, velocity), a path minimises the sum of (z_k - x_k)² / r_k over the
    measurements and of w' Q^-1 w over the steps, w = u_(k+1) - F u_k; Q is that of white-noise
    acceleration (Bar-Shalom, Li and Kirubarajan, Estimation with Applications to Tracking and
    Navigation, 6.2.2). The coordinates do not know each other; they stand in one system, one after
    the other, because one call costs less than four.

    Args:
        seconds: Shape (n,), strictly increasing.
        values: Shape (n, d): measurements z.
        variances: Shape (n, d): r.
        drift: Shape (n - 1, d): spectral density of the acceleration in each step.
        first_speed_std: Shape (d,): spread of the unknown speed at the first measurement.

    Returns:
        Positions (n, d) and velocities (n, d).
    """
    n, d = values.shape
    bands = np.zeros((4, d, 2 * n))  # [i - j, :, j] of the symmetric matrices, lower form
    bands[0, :, ::2] = 1 / variances.T
    bands[0, :, 1] = 1 / first_speed_std**2
    h = np.diff(seconds)
    a, b, c = 12 / (drift.T * h**3), 6 / (drift.T * h**2), 2 / (drift.T * h)
    bands[0, :, :-2:2] += a
    bands[0, :, 2::2] += a
    bands[0, :, 1:-2:2] += 2 * c
    bands[0, :, 3::2] += 2 * c
    bands[1, :, :-2:2] += b
    bands[1, :, 2::2] -= b
    bands[1, :, 1:-2:2] -= b
    bands[2, :, :-2:2] -= a
    bands[2, :, 1:-2:2] += c
    bands[3, :, :-2:2] += b
    right = np.zeros((d, 2 * n))
    right[:, ::2] = (values / variances).T
    solved = solveh_banded(bands.reshape(4, -1), right.ravel(), lower=True, check_finite=False)
    states = solved.reshape(d, n, 2)
    return states[..., 0].T, states[..., 1].T


def interpolate(seconds: Floats, positions: Floats, velocities: Floats, wanted: Floats) -> Floats:
    """Evaluate the cubics between measurements; straight on before and behind them.

    Args:
        seconds: Shape (n,), strictly increasing.
        positions: Shape (n, d).
        velocities: Shape (n, d).
        wanted: Shape (m,).

    Returns:
        Shape (m, d).
    """
    if len(seconds) == 1:
        return positions + (wanted - seconds)[:, None] * velocities
    k = np.clip(np.searchsorted(seconds, wanted, side="right") - 1, 0, len(seconds) - 2)
    h = (seconds[k + 1] - seconds[k])[:, None]
    t = (wanted - seconds[k])[:, None] / h
    inside = np.clip(t, 0, 1)
    left, right = (1 + 2 * inside) * (1 - inside) ** 2, inside**2 * (3 - 2 * inside)
    path = left * positions[k] + right * positions[k + 1]
    path += h * inside * (1 - inside) * ((1 - inside) * velocities[k] - inside * velocities[k + 1])
    path += h * np.minimum(t, 0) * velocities[k] + h * np.maximum(t - 1, 0) * velocities[k + 1]
    return path


def smooth_poses(seconds: Floats, poses: Floats, scores: Floats, wanted: Floats) -> Floats:
    """Smooth a run of poses.

    Args:
        seconds: Shape (n,), strictly increasing: when the face was measured.
        poses: Shape (n, 4), pixels, log pixels and radians.
        scores: Shape (n,): confidence 0..1 of each measurement.
        wanted: Shape (m,): the times that are asked for. Long after the last measurement, and
            before the first, the face is held.

    Returns:
        Shape (m, 4): the poses at these times.
    """
    size = float(np.exp(np.median(poses[:, 2])))
    origin = np.array([poses[0, 0], poses[0, 1], poses[0, 2], 0.0])
    units = np.array([size, size, 1.0, 1.0])
    measured = poses.copy()
    measured[:, 3] = np.unwrap(poses[:, 3])
    measured = (measured - origin) / units
    std = measured_std(poses, scores) / units
    wanted = np.clip(wanted, seconds[0], seconds[-1] + _COAST_SECONDS)
    drift = drift_densities(seconds, measured, std**2)
    drift = (drift[1:] + drift[:-1]) / 2
    positions, velocities = smooth_paths(seconds, measured, std**2, drift, FIRST_SPEED_STD)
    path: Floats = interpolate(seconds, positions, velocities, wanted) * units + origin
    return path


def smooth_shapes(wanted: Floats, measured_at: Floats, shapes: Floats, scores: Floats) -> Floats:
    """Average shapes with weights that fall with the distance in time.

    Args:
        wanted: Shape (n,): seconds for which shapes are wanted.
        measured_at: Shape (m,): seconds at which they were measured, m >= 1.
        shapes: Shape (m, 5, 2).
        scores: Shape (m,): confidence 0..1.

    Returns:
        Shape (n, 5, 2).
    """
    away = (np.clip(wanted, measured_at[0], measured_at[-1])[:, None] - measured_at) ** 2
    # subtracting the smallest distance leaves the ratios and keeps far times from underflowing
    away -= away.min(axis=1, keepdims=True)
    weights = np.exp(-0.5 * away / _SHAPE_SECONDS**2) * scores[None, :]
    weights /= weights.sum(axis=1, keepdims=True)
    return np.tensordot(weights, shapes, axes=1)


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
    if n < 4:
        return is_outlier
    k = np.arange(n)
    # the four nearest in time, or three of a short run
    reach = min(5, n)
    first = np.clip(k - reach // 2, 0, n - reach)
    window = first[:, None] + np.arange(reach)
    around = window[window != k[:, None]].reshape(n, reach - 1)
    inner = np.clip(k - first - 1, 0, reach - 3)  # the pair that k lies in, or is next to
    i, j = around[k, inner], around[k, inner + 1]
    steps = _steps_from_line(k, i, j, seconds, poses)
    rests = np.max(
        [
            _steps_from_line(around[:, m + 1], around[:, m], around[:, m + 2], seconds, poses)
            for m in range(reach - 3)
        ],
        axis=0,
    )
    for m in np.flatnonzero((steps > _OUTLIER_STEP) & (rests < steps / 6)).tolist():
        is_outlier[m] = not (m > 0 and is_outlier[m - 1])
    return is_outlier


def _steps_from_line(
    k: npt.NDArray[np.intp],
    i: npt.NDArray[np.intp],
    j: npt.NDArray[np.intp],
    seconds: Floats,
    poses: Floats,
) -> Floats:
    """Distances of poses k from the lines through i and j: face sizes, or log size if more."""
    t = ((seconds[k] - seconds[i]) / (seconds[j] - seconds[i]))[:, None]
    steps = poses[k, :3] - poses[i, :3] - t * (poses[j, :3] - poses[i, :3])
    steps[:, :2] *= np.exp(-poses[k, 2])[:, None]
    farthest: Floats = np.abs(steps).max(axis=1)
    return farthest
