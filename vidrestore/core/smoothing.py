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

_LEAST_STEP_SECONDS = 1e-4
"""Searches closer together in time count as so far apart; the system would be singular."""
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
_OUTLIER_STEP = 0.5
"""Distance in face sizes (or in log size) from the path of the others from which on a detection may
be an outlier."""
_OUTLIER_RATIO = 3.0
"""An outlier lies so much further from that path than two thirds of the detections."""
_OUTLIER_STD = 3.0
"""The last detection is one if it lies so many standard deviations from where the others lead."""
_HUBER = 1.5
"""Distance in standard deviations from which on a detection draws no harder at the robust path."""
_ROBUST_DRIFT = 0.02 * _MOST_DRIFT
"""Drift of the robust path. Shaken heads leave it further than others, but smoothly."""
_ROBUST_ROUNDS = 5
_SHAPE_SECONDS = 0.3
"""Standard deviation of the Gaussian weights with which shapes are averaged."""


def drift_densities(seconds: Floats, poses: Floats, variances: Floats) -> Floats:
    """Estimate how restless a face is around each measurement.

    A parabola is fitted around each measurement; the square of its acceleration, less what the
    noise of the measurements alone would give, is averaged over the neighbours.

    Args:
        seconds: Shape (n,), strictly increasing.
        poses: Shape (n, d), x and y in face sizes; of the four coordinates the first d.
        variances: Shape (n, d): of the noise of each measurement, same units.

    Returns:
        Shape (n, d): spectral density of the acceleration, units² per s³.
    """
    d = poses.shape[1]
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
    density: Floats = _MEMORY_OF_ACCELERATION * np.maximum(excess, 0) + _LEAST_DRIFT[:d]
    limited: Floats = np.minimum(density, _MOST_DRIFT[:d])
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
    h = np.maximum(np.diff(seconds), _LEAST_STEP_SECONDS)
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
    measured, origin, units = _in_sizes(poses)
    std = measured_std(poses, scores) / units
    wanted = np.clip(wanted, seconds[0], seconds[-1] + _COAST_SECONDS)
    drift = drift_densities(seconds, measured, std**2)
    drift = (drift[1:] + drift[:-1]) / 2
    positions, velocities = smooth_paths(seconds, measured, std**2, drift, FIRST_SPEED_STD)
    path: Floats = interpolate(seconds, positions, velocities, wanted) * units + origin
    return path


def _in_sizes(poses: Floats) -> tuple[Floats, Floats, Floats]:
    """Return poses (n, 4) in face sizes and without jumps of the angle; their origin and units."""
    size = float(np.exp(np.median(poses[:, 2])))
    origin = np.array([poses[0, 0], poses[0, 1], poses[0, 2], 0.0])
    units = np.array([size, size, 1.0, 1.0])
    measured = poses.copy()
    measured[:, 3] = np.unwrap(poses[:, 3])
    return (measured - origin) / units, origin, units


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
    """Find detections that lie far from the path of the others.

    That path is fitted with weights that fall with the distance (Huber, Robust Estimation of a
    Location Parameter, 1964), so that neither one outlier nor two neighbours draw it to them. A
    head that jumps from detection to detection leaves it everywhere, and so none of its detections
    is an outlier. The first and the last have neighbours on one side only; they are held against
    where the others lead, as far as that is known.

    Args:
        seconds: Shape (n,), strictly increasing.
        poses: Shape (n, 4), all measured.

    Returns:
        Shape (n,), True for outliers.
    """
    n = len(seconds)
    if n < 4:
        return np.zeros(n, dtype=bool)
    measured, _, units = _in_sizes(poses)
    places = measured[:, :3]
    variances = (measured_std(poses, 1.0) / units)[:, :3] ** 2
    t = ((seconds[1:-1] - seconds[:-2]) / (seconds[2:] - seconds[:-2]))[:, None]
    bends = places[1:-1] - places[:-2] - t * (places[2:] - places[:-2])
    if np.abs(bends).max() < _OUTLIER_STEP / 2:  # nothing jumps: the usual case, at little cost
        return np.zeros(n, dtype=bool)
    is_outlier = _are_off_robust_path(seconds, places, variances)
    is_beyond = np.zeros(n, dtype=bool)
    for way in (1, -1):  # backwards in time the first is the last
        kept = np.flatnonzero(~is_outlier)[::way]
        if len(kept) >= 4 and _leaves(way * seconds[kept], places[kept], variances[kept]):
            is_beyond[kept[-1]] = True
    if is_beyond.any():  # it has bent the robust path, and so put its neighbours in the wrong
        rest = ~is_beyond
        is_outlier[rest] = _are_off_robust_path(seconds[rest], places[rest], variances[rest])
    return is_outlier | is_beyond


def _are_off_robust_path(
    seconds: Floats, places: Floats, variances: Floats
) -> npt.NDArray[np.bool_]:
    """Say which places (n, 3) lie far from a robust path, and much further than most."""
    drift = np.tile(_ROBUST_DRIFT[:3], (len(seconds) - 1, 1))
    weights = np.ones((len(seconds), 1))
    for _ in range(_ROBUST_ROUNDS):
        path, _ = smooth_paths(seconds, places, variances / weights, drift, FIRST_SPEED_STD[:3])
        away = np.sqrt(((places - path) ** 2 / variances).sum(axis=1, keepdims=True))
        weights = _HUBER / np.maximum(away, _HUBER)
    steps = np.abs(places - path).max(axis=1)
    far: npt.NDArray[np.bool_] = steps > max(
        _OUTLIER_STEP, _OUTLIER_RATIO * float(np.quantile(steps, 0.67))
    )
    return far


def _leaves(seconds: Floats, places: Floats, variances: Floats) -> bool:
    """Say whether the last of some places (n, 3) lies off where those before it lead."""
    known, noise = seconds[:-1], variances[:-1]
    drift = drift_densities(known, places[:-1], noise)
    between = (drift[1:] + drift[:-1]) / 2
    path, speed = smooth_paths(known, places[:-1], noise, between, FIRST_SPEED_STD[:3])
    h, ahead = known[-1] - known[-2], seconds[-1] - known[-1]
    steps = np.abs(places[-1] - path[-1] - ahead * speed[-1])
    # the drift on the way, that of the speed known from places h apart, and what noise does to both
    spread = drift[-1] * (ahead**3 / 3 + 0.29 * h * ahead**2) + 5 * variances[-1]
    return bool(((steps > _OUTLIER_STEP) & (steps > _OUTLIER_STD * np.sqrt(spread))).any())
