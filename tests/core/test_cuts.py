import numpy as np

from tests.support.fakes import frame_at
from vidrestore.core.cuts import CutDetector, luma_thumbnail


def picture(seed):
    return np.random.default_rng(seed).uniform(0, 100, (48, 64)).astype(np.float32)


def test_the_first_picture_starts_a_shot_and_the_next_does_not():
    cuts = CutDetector()
    assert cuts.update(picture(0))
    assert not cuts.update(picture(0))


def test_another_scene_is_a_cut_once():
    cuts = CutDetector()
    shots = [picture(0)] * 4 + [picture(1)] * 4
    assert [cuts.update(p) for p in shots] == [True, *[False] * 3, True, *[False] * 3]


def test_a_cut_between_dark_pictures_is_found():
    cuts = CutDetector()
    shots = [picture(0) / 8] * 3 + [picture(1) / 8] * 3
    assert [cuts.update(p) for p in shots] == [True, False, False, True, False, False]


def test_a_steady_pan_is_no_cut():
    cuts = CutDetector()
    wide = np.repeat(np.random.default_rng(2).uniform(0, 100, (48, 40)), 8, axis=1)
    views = [wide[:, 4 * k : 4 * k + 64].astype(np.float32) for k in range(30)]
    found = [cuts.update(v) for v in views]
    assert sum(found) <= 2  # the start, and at most the moment the pan sets off
    assert not any(found[2:])


def test_noise_is_no_cut():
    rng = np.random.default_rng(3)
    cuts = CutDetector()
    noises = [rng.normal(0, 5, (48, 64)).astype(np.float32) for _ in range(20)]
    found = [cuts.update(picture(0) + noise) for noise in noises]
    assert found == [True, *[False] * 19]


def test_thumbnail_is_in_percent_of_the_range():
    thumbnail = luma_thumbnail(frame_at(0, luma=51))
    assert thumbnail.shape == (48, 64)
    np.testing.assert_allclose(thumbnail, 20, atol=1e-4)
