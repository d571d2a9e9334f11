import json

import cv2
import numpy as np
import pytest

from tests.evaluate.films import COUNT, landmarks, pictures, write
from vidrestore.errors import MediaError, SettingsError
from vidrestore.evaluate import video
from vidrestore.evaluate.film_faces import parse_report, read_landmarks, read_report
from vidrestore.evaluate.video import evaluate_film


@pytest.fixture(autouse=True)
def _without_identity(monkeypatch):
    """The embedding takes long and has tests of its own."""
    monkeypatch.setattr(video.DlibIdentity, "installed", classmethod(lambda cls, *_: None))


def noisy(frames, sigma, seed=0):
    rng = np.random.default_rng(seed)
    return [x + sigma * rng.standard_normal(x.shape) for x in frames]


def report_rows(count=COUNT, *, start=None, painted=lambda k: True, shown=landmarks):
    rows = [
        {
            "time": k / 25,
            "raw": landmarks(k).tolist() if k % 3 == 0 else None,
            "smoothed": shown(k).tolist(),
            "strength": 1.0,
            "painted": [0, 0, 9, 9] if painted(k) else None,
        }
        for k in range(count)
    ]
    track = {"id": 1, "frames": rows, "largest_strength_step": 0.2}
    return {"tracks": [track], "output": {"start_seconds": start}}


def test_an_untouched_film_is_as_steady_and_sharp_as_itself(tmp_path):
    film = write(tmp_path / "a.mkv", pictures())
    found = evaluate_film(film, film, report=parse_report(report_rows()))
    assert (found.num_frames, found.num_pairs) == (COUNT, COUNT - 1)
    assert found.warping_ratio == found.sharpness_ratio == 1
    assert found.truth is None
    assert found.largest_strength_step == 0.2


def test_noise_is_seen_as_flicker_and_blur_as_softness_and_neither_as_the_other(tmp_path):
    clean = pictures()
    truth = write(tmp_path / "truth.mkv", clean)
    worn = write(tmp_path / "worn.mkv", noisy(clean, 8))
    soft = write(tmp_path / "soft.mkv", [cv2.GaussianBlur(x, (0, 0), 2) for x in clean])
    found = evaluate_film(worn, soft, truth, report=parse_report(report_rows()))
    assert found.warping_ratio < 0.1
    assert found.sharpness_ratio < 0.5
    assert found.original.lasting_sharpness == pytest.approx(1, abs=0.1)
    assert found.original.sharpness > 1.3
    assert found.truth.lasting_sharpness == 1
    assert found.truth.psnr_db is None
    assert 25 < found.original.psnr_db < 35


def test_light_that_pumps_is_told(tmp_path):
    clean = pictures()
    film = write(tmp_path / "a.mkv", clean)
    pumped = write(tmp_path / "b.mkv", [x + 3 * (-1) ** k for k, x in enumerate(clean)])
    found = evaluate_film(film, pumped, report=parse_report(report_rows()))
    # the second difference of ±3 is 12, in luma of limited range
    assert found.restored.luma_pumping == pytest.approx(12 * 219 / 255, rel=0.15)
    assert found.original.luma_pumping < 1


def test_frames_in_which_the_face_was_not_painted_do_not_count(tmp_path):
    clean = pictures()
    film = write(tmp_path / "a.mkv", clean)
    ruined = [x if k < 4 else np.zeros_like(x) for k, x in enumerate(clean)]
    bad = write(tmp_path / "b.mkv", ruined)
    rows = report_rows(painted=lambda k: k < 4)
    found = evaluate_film(film, bad, report=parse_report(rows))
    assert found.num_pairs == 3
    assert found.warping_ratio == 1


def test_a_restored_range_is_compared_with_its_own_part_of_the_film(tmp_path):
    clean = pictures()
    film = write(tmp_path / "a.mkv", clean)
    part = write(tmp_path / "b.mkv", clean[3:7])
    found = evaluate_film(film, part, report=parse_report(report_rows(start=3 / 25)))
    assert found.num_frames == 4
    assert found.warping_ratio == 1


def test_landmarks_are_held_against_the_truth(tmp_path):
    film = write(tmp_path / "a.mkv", pictures())
    rows = report_rows(shown=lambda k: landmarks(k) + np.array([0, 1]))
    truth = [landmarks(k).astype(np.float32) for k in range(COUNT)]
    found = evaluate_film(film, film, report=parse_report(rows), true_landmarks=truth)
    eyes = np.linalg.norm(truth[0][1] - truth[0][0])
    assert found.landmarks.error_smoothed_all_px == pytest.approx(128 / eyes, rel=1e-3)
    assert found.landmarks.error_raw_px == pytest.approx(0, abs=1e-3)


def test_where_the_truth_is_known_the_run_does_not_choose_the_pixels(tmp_path):
    clean = pictures()
    film = write(tmp_path / "a.mkv", clean)
    other = write(tmp_path / "b.mkv", noisy(clean, 5))
    truth = [landmarks(k).astype(np.float32) for k in range(COUNT)]
    right, trembling = (
        evaluate_film(film, other, report=parse_report(rows), true_landmarks=truth)
        for rows in (
            report_rows(),
            report_rows(shown=lambda k: landmarks(k) + np.array([4 * (-1) ** k, 3])),
        )
    )
    assert trembling.restored == right.restored
    assert trembling.landmarks.jitter_smoothed_px > 5


def test_films_of_another_shape_or_pace_are_refused(tmp_path):
    clean = pictures()
    film = write(tmp_path / "a.mkv", clean)
    small = write(tmp_path / "b.mkv", [x[:160] for x in clean])
    with pytest.raises(MediaError, match="another shape"):
        evaluate_film(film, small, report=parse_report(report_rows()))
    slow = write(tmp_path / "c.mkv", clean[::2], rate=12.5)
    with pytest.raises(MediaError, match="no frame at"):
        evaluate_film(film, slow, report=parse_report(report_rows()))


def test_a_film_without_faces_is_no_error(tmp_path):
    film = write(tmp_path / "a.mkv", [np.full((96, 128, 3), 90.0) for _ in range(4)])
    found = evaluate_film(film, film)
    assert found.num_pairs == 0
    assert found.warping_ratio is None
    assert any("no face" in note for note in found.notes)


def test_faces_are_found_where_no_report_tells_of_them(tmp_path):
    grown = [cv2.resize(x, (512, 384), interpolation=cv2.INTER_CUBIC) for x in pictures()]
    film = write(tmp_path / "a.mkv", grown)
    found = evaluate_film(film, film)
    assert found.num_pairs >= COUNT - 2


def test_reports_and_landmarks_that_are_none_are_one_clear_line(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"tracks": [{"id": 1, "frames": None}], "output": {}}))
    with pytest.raises(SettingsError, match="--report-landmarks"):
        read_report(path)
    path.write_text("no json")
    with pytest.raises(SettingsError, match="--report-landmarks"):
        read_report(path)
    with pytest.raises(SettingsError, match="cannot read"):
        read_report(tmp_path / "missing.json")
    path.write_text(json.dumps({"landmarks": [[[1, 2]]]}))
    with pytest.raises(SettingsError, match="five landmarks"):
        read_landmarks(path)
    path.write_text(json.dumps({"landmarks": [None, landmarks(0).tolist()]}))
    first, second = read_landmarks(path)
    assert first is None
    assert second.shape == (5, 2)
