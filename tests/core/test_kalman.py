import numpy as np
import pytest

from tests.support.fakes import landmarks_at
from vidrestore.core.kalman import (
    PoseFilter,
    landmarks_from_pose,
    measured_std,
    pose_from_landmarks,
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


def test_noise_grows_with_doubt_and_is_relatively_larger_for_small_faces():
    small, large = np.array([0.0, 0, np.log(12), 0]), np.array([0.0, 0, np.log(100), 0])
    assert measured_std(small, 1.0)[0] / 12 == pytest.approx(0.0353, abs=1e-3)
    assert measured_std(large, 1.0)[0] / 100 == pytest.approx(0.0148, abs=1e-3)
    np.testing.assert_allclose(measured_std(small, 0.5), 2 * measured_std(small, 1.0))
    both = measured_std(np.stack([small, large]), np.array([1.0, 0.5]))
    np.testing.assert_allclose(both[1], measured_std(large, 0.5))
