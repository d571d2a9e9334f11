import numpy as np
import pytest

from tests.support.fakes import frame_at
from vidrestore.core.cuts import LOOKAHEAD_FRAMES, find_cuts, luma_thumbnail


def picture(seed):
    return np.random.default_rng(seed).uniform(0, 100, (48, 64)).astype(np.float32)


def cuts_of(pictures):
    return [k for k, is_cut in enumerate(find_cuts(iter(pictures))) if is_cut]


def test_the_first_picture_starts_a_shot_and_the_next_does_not():
    assert cuts_of([picture(0)] * 2) == [0]


def test_another_scene_is_a_cut_once():
    assert cuts_of([picture(0)] * 4 + [picture(1)] * 4) == [0, 4]


def test_a_cut_just_before_the_end_is_found():
    assert cuts_of([picture(0)] * 4 + [picture(1)]) == [0, 4]


def test_a_cut_between_dark_pictures_is_found():
    assert cuts_of([picture(0) / 8] * 3 + [picture(1) / 8] * 3) == [0, 3]


@pytest.mark.parametrize("speed", [2, 4, 9])
def test_a_pan_that_sets_off_and_stops_is_no_cut(speed):
    rng = np.random.default_rng(2)
    wide = np.repeat(rng.uniform(0, 100, (48, 60)), 8, axis=1).astype(np.float32)
    columns = [0] * 5 + [speed * k for k in range(1, 30)] + [speed * 29] * 5
    assert cuts_of([wide[:, c : c + 64] for c in columns]) == [0]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut(length):
    lit = [picture(0) * 0.1 + 90] * length
    assert cuts_of([picture(0)] * 8 + lit + [picture(0)] * 8) == [0]


def test_a_shot_of_two_pictures_is_told_from_a_flash():
    assert cuts_of([picture(0)] * 4 + [picture(1)] * 2 + [picture(2)] * 4) == [0, 4, 6]


def faded_in(seed, steps=8):
    return [picture(seed) * (k / steps) for k in range(1, steps + 1)]


def test_a_cut_to_black_out_of_which_a_shot_fades_in_is_one_cut():
    black = [picture(0) * 0]
    assert cuts_of([picture(0)] * 6 + black + faded_in(1) + [picture(1)] * 3) == [0, 6]


@pytest.mark.parametrize("num_black", [1, 2, 4, 9])
def test_a_shot_that_fades_in_where_another_faded_out_begins_with_its_first_picture(num_black):
    black = [picture(0) * 0] * num_black
    film = [picture(0)] * 4 + faded_in(0)[::-1] + black + faded_in(1, steps=5) + [picture(1)] * 3
    assert cuts_of(film) == [0, 12 + num_black]


def test_a_shot_that_fades_out_and_in_again_goes_on():
    black = [picture(0) * 0] * 3
    assert cuts_of(faded_in(0, steps=12)[::-1] + black + faded_in(0, steps=3)) == [0]


@pytest.mark.parametrize(("gain", "offset"), [(0.3, 0), (0.5, 50), (1, 40)])
def test_light_that_is_switched_is_no_cut(gain, offset):
    rng = np.random.default_rng(6)
    noises = [rng.normal(0, 2, (48, 64)).astype(np.float32) for _ in range(12)]
    pictures = [picture(0) + noise for noise in noises[:6]]
    pictures += [picture(0) * gain + offset + noise for noise in noises[6:]]
    assert cuts_of(pictures) == [0]


def test_noise_is_no_cut():
    rng = np.random.default_rng(3)
    noises = [rng.normal(0, 5, (48, 64)).astype(np.float32) for _ in range(20)]
    assert cuts_of([picture(0) + noise for noise in noises]) == [0]


def test_no_more_is_read_ahead_than_was_said():
    read = []

    def pictures():
        for k in range(20):
            read.append(k)
            yield picture(k)

    for k, _ in enumerate(find_cuts(pictures())):
        assert read[-1] <= k + LOOKAHEAD_FRAMES


def test_thumbnail_is_in_percent_of_the_range():
    thumbnail = luma_thumbnail(frame_at(0, luma=51))
    assert thumbnail.shape == (48, 64)
    np.testing.assert_allclose(thumbnail, 20, atol=1e-4)
