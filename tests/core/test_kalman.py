import numpy as np
import pytest

from tests.support.fakes import landmarks_at
from vidrestore.core.kalman import (
    PoseFilter,
    find_outliers,
    landmarks_from_pose,
    pose_from_landmarks,
    smooth_poses,
    smooth_shapes,
)


def test_pose_and_shape_put_together_give_the_landmarks_back():
    rng = np.random.default_rng(1)
    for _ in range(20):
        landmarks = landmarks_at(*rng.uniform(50, 400, 2), rng.uniform(5, 80), rng.uniform(-3, 3))
        landmarks = landmarks + rng.normal(0, 2, landmarks.shape).astype(np.float32)
        pose, shape = pose_from_landmarks(landmarks)
        np.testing.assert_allclose(landmarks_from_pose(pose, shape), landmarks, atol=1e-3)


def test_pose_says_where_how_large_and_how_turned():
    pose, _ = pose_from_landmarks(landmarks_at(120, 80, 30, 0.3))
    np.testing.assert_allclose(pose, [120, 80, np.log(30), 0.3], atol=1e-4)


def test_coincident_landmarks_have_no_finite_pose():
    pose, _ = pose_from_landmarks(np.full((5, 2), 7, np.float32))
    assert not np.isfinite(pose).all()


def test_a_gliding_face_is_followed_without_lag():
    """Constant velocity is the model itself; only the unknown speed at the start costs a bit."""
    seconds = np.arange(40) / 25
    poses = np.column_stack([100 + 60 * seconds, 50 - 20 * seconds, 3 + 0.1 * seconds, seconds])
    smoothed = smooth_poses(seconds, poses, np.ones(40))
    np.testing.assert_allclose(smoothed, poses, atol=0.15)
    np.testing.assert_allclose(smoothed[10:], poses[10:], atol=0.005)


def test_noise_on_a_still_face_falls_to_a_third_and_error_too():
    rng = np.random.default_rng(3)
    seconds = np.arange(100) / 25
    truth = np.tile([100.0, 50.0, np.log(30), 0.0], (100, 1))
    noise = rng.normal(size=truth.shape) * [0.5, 0.5, 0.012, 0.012]
    smoothed = smooth_poses(seconds, truth + noise, np.ones(100))

    def jitter(p):
        return np.sqrt((np.diff(p, 2, axis=0) ** 2).mean(axis=0))

    assert (jitter(smoothed) < jitter(truth + noise) / 5).all()
    assert (np.abs(smoothed - truth).mean(axis=0) < np.abs(noise).mean(axis=0) / 1.5).all()


def test_missing_measurements_are_bridged_on_a_straight_line():
    seconds = np.arange(30) / 25
    poses = np.column_stack([100 + 50 * seconds, 50 * seconds, np.full(30, 3.0), np.zeros(30)])
    gappy = poses.copy()
    gappy[10:19] = np.nan
    smoothed = smooth_poses(seconds, gappy, np.ones(30))
    np.testing.assert_allclose(smoothed, poses, atol=0.1)


def test_a_turn_through_half_a_circle_does_not_jump():
    seconds = np.arange(30) / 25
    angle = np.pi - 0.3 + seconds / 2
    poses = np.column_stack([np.full(30, 9.0), np.full(30, 9.0), np.full(30, 3.0), angle])
    wrapped = poses.copy()
    wrapped[:, 3] = np.angle(np.exp(1j * angle))
    assert np.abs(np.diff(wrapped[:, 3])).max() > 6  # the measurement does jump
    assert np.abs(np.diff(smooth_poses(seconds, wrapped, np.ones(30))[:, 3])).max() < 0.05


def test_a_weak_detection_moves_the_belief_less():
    def moved(score):
        kf = PoseFilter(0.0, np.array([100.0, 50.0, 3.0, 0.0]))
        kf.predict(0.04)
        kf.update(np.array([103.0, 50.0, 3.0, 0.0]), score)
        return kf.pose[0] - 100

    assert 0 < moved(0.3) < moved(1.0) < 3


def test_innovation_tells_the_face_from_an_outlier():
    kf = PoseFilter(0.0, np.array([100.0, 50.0, 3.0, 0.0]))
    for k in range(1, 10):
        kf.predict(k / 25)
        kf.update(np.array([100.0, 50.0, 3.0, 0.0]), 1.0)
    kf.predict(10 / 25)
    assert kf.innovation(np.array([100.5, 50.0, 3.0, 0.0]), 1.0) < 9
    assert kf.innovation(np.array([140.0, 50.0, 3.0, 0.0]), 1.0) > 100


@pytest.mark.parametrize("where", [0, 1, 5, 8, 9])
def test_one_outlier_is_found_wherever_it_stands(where):
    seconds = np.arange(10) * 0.12
    poses = np.column_stack([100 + 40 * seconds, 50 * np.ones(10), np.full(10, 3.0), np.zeros(10)])
    poses[where, 0] += 40  # two face sizes
    assert np.flatnonzero(find_outliers(seconds, poses)).tolist() == [where]


@pytest.mark.parametrize("hertz", [1.2, 2, 3, 4])
@pytest.mark.parametrize("reach", [5, 10, 19])  # px; the face size is 20
def test_hardly_anything_of_a_shaking_head_is_taken_for_outliers(hertz, reach):
    seconds = np.arange(20) * 0.12
    x = 100 + reach * np.sin(2 * np.pi * hertz * seconds + 0.4)
    poses = np.column_stack([x, np.full(20, 50.0), np.full(20, 3.0), np.zeros(20)])
    found = find_outliers(seconds, poses)
    assert found.sum() <= 3
    assert not (found[1:] & found[:-1]).any()


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
