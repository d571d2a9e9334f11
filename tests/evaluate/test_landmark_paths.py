import numpy as np
import pytest

from tests.support.fakes import landmarks_at
from vidrestore.evaluate.landmark_paths import Sight, measure_paths


def eyes_apart(points):
    return float(np.linalg.norm(points[1] - points[0]))


def path(shown, truth=None, searched=lambda k: True, raw=None, first=0):
    """Sights of consecutive frames from functions of the frame's number."""
    return [
        Sight(
            frame=k,
            smoothed=shown(k),
            raw=(raw or shown)(k) if searched(k) else None,
            truth=None if truth is None else truth(k),
        )
        for k in range(first, first + 12)
    ]


def moving(k):
    return landmarks_at(100 + 3.0 * k, 80 + 0.7 * k * k, 40)


def test_a_path_that_is_the_truth_has_no_error_and_no_jitter_however_it_moves():
    found = measure_paths([path(moving, moving)])
    assert found.error_raw_px == found.error_smoothed_px == found.error_smoothed_all_px == 0
    assert found.jitter_smoothed_px == pytest.approx(0, abs=1e-4)


def test_errors_are_in_pixels_of_a_512_crop():
    found = measure_paths([path(lambda k: moving(k) + np.float32([0, 2]), moving)])
    expected = 2 * 128 / eyes_apart(moving(0))
    assert found.error_smoothed_px == pytest.approx(expected, rel=1e-3)
    assert found.jitter_smoothed_px == pytest.approx(0, abs=1e-3)


def test_jitter_is_the_rms_second_difference_of_the_error():
    def trembling(k):
        return moving(k) + np.float32([0.5 * (-1) ** k, 0])  # second difference: 2 px

    found = measure_paths([path(trembling, moving)])
    assert found.jitter_smoothed_px == pytest.approx(2 * 128 / eyes_apart(moving(0)), rel=1e-3)


def test_detections_are_joined_by_lines_between_searches():
    def still(k):
        return landmarks_at(50, 50, 30)

    def kinked(k):
        return still(k) + np.float32([abs(k - 6), 0])

    found = measure_paths([path(still, still, lambda k: k % 3 == 0, kinked)])
    scale = 128 / eyes_apart(still(0))
    # one kink of two pixels among the 8 second differences from frame 0 to frame 9
    assert found.jitter_raw_px == pytest.approx(2 * scale / np.sqrt(8), rel=1e-3)
    assert found.error_raw_px == pytest.approx((6 + 3 + 0 + 3) / 4 * scale, rel=1e-3)


def test_nothing_is_joined_over_missing_frames():
    jump = path(lambda k: landmarks_at(300, 80, 40), first=40)
    found = measure_paths([[*path(lambda k: landmarks_at(100, 80, 40)), *jump]])
    assert found.jitter_smoothed_px == found.jitter_raw_px == 0


def test_without_truth_or_faces_nothing_is_claimed():
    found = measure_paths([path(moving)])
    assert found.error_raw_px is found.error_smoothed_px is None
    assert found.jitter_smoothed_px > 0
    assert measure_paths([]).jitter_raw_px is None
