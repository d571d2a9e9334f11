import numpy as np
import pytest
from filterpy.kalman import KalmanFilter

from vidrestore.core.smoothing import (
    drift_densities,
    find_outliers,
    interpolate,
    smooth_paths,
    smooth_poses,
    smooth_shapes,
)


def test_one_banded_system_gives_what_kalman_filter_and_rts_smoother_give():
    """The oracle is filterpy, run forwards and backwards over uneven steps and noises."""
    rng = np.random.default_rng(8)
    seconds = np.cumsum(rng.uniform(0.04, 0.3, 25))
    values, variances = rng.normal(0, 1, 25), rng.uniform(0.01, 0.2, 25)
    drift = rng.uniform(0.1, 20, 24)
    positions, velocities = smooth_paths(
        seconds, values[:, None], variances[:, None], drift[:, None], np.array([2.0])
    )
    kf = KalmanFilter(dim_x=2, dim_z=1)
    kf.x, kf.P, kf.H = np.array([values[0], 0.0]), np.diag([variances[0], 4.0]), np.eye(1, 2)
    means, covariances, fs, qs = [kf.x.copy()], [kf.P.copy()], [np.eye(2)], [np.zeros((2, 2))]
    for k, h in enumerate(np.diff(seconds)):
        fs.append(np.array([[1, h], [0, 1]]))
        qs.append(drift[k] * np.array([[h**3 / 3, h**2 / 2], [h**2 / 2, h]]))
        kf.predict(F=fs[-1], Q=qs[-1])
        kf.update(values[k + 1], R=variances[k + 1])
        means.append(kf.x.copy())
        covariances.append(kf.P.copy())
    # filterpy takes the matrices of the step from k to k + 1 at k + 1
    expected = kf.rts_smoother(np.array(means), np.array(covariances), fs, qs)[0]
    np.testing.assert_allclose(positions[:, 0], expected[:, 0], atol=1e-8)
    np.testing.assert_allclose(velocities[:, 0], expected[:, 1], atol=1e-7)


def test_between_measurements_lies_what_a_measurement_of_no_weight_would_give():
    seconds, rng = np.arange(6) * 0.12, np.random.default_rng(2)
    values, drift = rng.normal(0, 1, (6, 1)), np.full((5, 1), 3.0)
    noise, speed = np.full((6, 1), 0.1), np.array([2.0])
    path = smooth_paths(seconds, values, noise, drift, speed)
    between = interpolate(seconds, *path, np.array([0.2]))
    more = np.insert(seconds, 2, 0.2)
    weak = smooth_paths(
        more, np.insert(values, 2, 9, axis=0), np.insert(noise, 2, 1e9, axis=0),
        np.full((6, 1), 3.0), speed,
    )  # fmt: skip
    np.testing.assert_allclose(between[0], weak[0][2], atol=1e-6)


def test_a_shaken_head_is_more_restless_than_one_at_rest():
    rng = np.random.default_rng(4)
    seconds = np.arange(40) * 0.12
    noise = rng.normal(0, 0.02, (40, 4))
    shaken = np.zeros((40, 4))
    shaken[20:, 0] = 0.5 * np.sin(2 * np.pi * 1.5 * seconds[20:])
    drift = drift_densities(seconds, shaken + noise, np.full((40, 4), 0.02**2))
    assert drift[:14, 0].max() < 1
    assert drift[26:, 0].min() > 15


def test_a_gliding_face_is_followed_without_lag():
    """Constant velocity is the model itself; only the unknown speed at the start costs a bit."""
    seconds = np.arange(40) / 25
    poses = np.column_stack([100 + 60 * seconds, 50 - 20 * seconds, 3 + 0.1 * seconds, seconds])
    smoothed = smooth_poses(seconds, poses, np.ones(40), seconds)
    np.testing.assert_allclose(smoothed, poses, atol=0.15)
    np.testing.assert_allclose(smoothed[10:], poses[10:], atol=0.005)


def test_noise_on_a_still_face_falls_to_a_third_and_error_too():
    rng = np.random.default_rng(3)
    seconds = np.arange(100) / 25
    truth = np.tile([100.0, 50.0, np.log(30), 0.0], (100, 1))
    noise = rng.normal(size=truth.shape) * [0.5, 0.5, 0.012, 0.012]
    smoothed = smooth_poses(seconds, truth + noise, np.ones(100), seconds)

    def jitter(p):
        return np.sqrt((np.diff(p, 2, axis=0) ** 2).mean(axis=0))

    assert (jitter(smoothed) < jitter(truth + noise) / 5).all()
    assert (np.abs(smoothed - truth).mean(axis=0) < np.abs(noise).mean(axis=0) / 1.5).all()


def test_missing_measurements_are_bridged_on_a_straight_line():
    seconds = np.arange(30) / 25
    poses = np.column_stack([100 + 50 * seconds, 50 * seconds, np.full(30, 3.0), np.zeros(30)])
    seen = np.r_[0:10, 19:30]
    smoothed = smooth_poses(seconds[seen], poses[seen], np.ones(21), seconds)
    np.testing.assert_allclose(smoothed, poses, atol=0.1)


def test_a_turn_through_half_a_circle_does_not_jump():
    seconds = np.arange(30) / 25
    angle = np.pi - 0.3 + seconds / 2
    poses = np.column_stack([np.full(30, 9.0), np.full(30, 9.0), np.full(30, 3.0), angle])
    wrapped = poses.copy()
    wrapped[:, 3] = np.angle(np.exp(1j * angle))
    assert np.abs(np.diff(wrapped[:, 3])).max() > 6  # the measurement does jump
    assert np.abs(np.diff(smooth_poses(seconds, wrapped, np.ones(30), seconds)[:, 3])).max() < 0.05


@pytest.mark.parametrize("where", [0, 1, 5, 8, 9])
def test_one_outlier_is_found_wherever_it_stands(where):
    seconds = np.arange(10) * 0.12
    poses = np.column_stack([100 + 40 * seconds, 50 * np.ones(10), np.full(10, 3.0), np.zeros(10)])
    poses[where, 0] += 40  # two face sizes
    assert np.flatnonzero(find_outliers(seconds, poses)).tolist() == [where]


@pytest.mark.parametrize("where", [[4, 5], [4, 6], [2, 9], [13, 14], [15]])
@pytest.mark.parametrize("reach", [0, 9])  # px; the face size is 20
def test_neighbouring_outliers_are_found_on_heads_still_and_shaken(where, reach):
    seconds, rng = np.arange(16) * 0.08, np.random.default_rng(len(where))
    poses = rng.normal(0, [0.5, 0.5, 0.025, 0.03], (16, 4))
    poses += [100, 50, 3, 0]
    poses[:, 0] += reach * np.sin(2 * np.pi * 1.5 * seconds)
    poses[where, :2] += [25, -20]  # on the same side, so that they bear each other out
    found = np.flatnonzero(find_outliers(seconds, poses)).tolist()
    at_end = {0, 15} if reach else set()  # a shaken head may go anywhere
    assert set(where) - at_end <= set(found) <= set(where)


def test_a_head_that_sets_off_is_not_taken_for_an_outlier():
    """The last detection of a window, seen from where the others lead."""
    seconds = np.arange(12) * 0.12
    poses = np.tile([100.0, 50.0, 3.0, 0.0], (12, 1))
    for sizes in (0.1, 0.2, 0.4):
        poses[-1, 0] = 100 + 20 * sizes
        assert not find_outliers(seconds, poses).any()


@pytest.mark.parametrize("hertz", [1.2, 2, 3, 4])
@pytest.mark.parametrize("reach", [5, 10, 19])  # px; the face size is 20
def test_hardly_anything_of_a_shaking_head_is_taken_for_outliers(hertz, reach):
    seconds = np.arange(20) * 0.12
    x = 100 + reach * np.sin(2 * np.pi * hertz * seconds + 0.4)
    poses = np.column_stack([x, np.full(20, 50.0), np.full(20, 3.0), np.zeros(20)])
    assert find_outliers(seconds, poses).sum() <= 3


def test_shapes_are_averaged_and_stay_between_their_neighbours():
    a, b = np.zeros((5, 2)), np.ones((5, 2))
    shapes = smooth_shapes(
        np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0]), np.stack([a, b]), np.ones(2)
    )
    means = shapes.mean(axis=(1, 2))
    assert means[0] < means[1] < means[2]
    assert means[1] == pytest.approx(0.5)


def test_shapes_far_from_any_detection_take_the_nearest():
    measured = np.stack([np.zeros((5, 2)), np.ones((5, 2))])
    shapes = smooth_shapes(np.array([1e4]), np.array([0.0, 1.0]), measured, np.ones(2))
    assert np.isfinite(shapes).all()
    assert shapes.mean() > 0.9


def test_two_searches_a_microsecond_apart_are_no_trouble():
    seconds = np.array([0.0, 0.04, 0.040001, 0.08])
    poses = np.tile([100.0, 80.0, 3.0, 0.1], (4, 1))
    smoothed = smooth_poses(seconds, poses, np.ones(4), seconds)
    np.testing.assert_allclose(smoothed, poses, atol=1e-6)
