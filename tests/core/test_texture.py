"""Averaging of texture along the way a face moves."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from vidrestore.core.texture import Texture, TextureFilter, with_luma_changed

SIDE = 96


def smooth_noise(seed, sigma, size=SIDE + 32):
    noise = np.random.default_rng(seed).normal(size=(size, size)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), sigma)
    return blurred / blurred.std()


SCENE = 128 + 40 * smooth_noise(1, 3)
"""What is filmed; crops are cut out of it."""


def crop(x=0.0, y=0.0):
    """Cut SIDE x SIDE out of the scene, moved by some pixels."""
    matrix = np.array([[1, 0, 16 + x], [0, 1, 16 + y]], np.float32)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(SCENE, matrix, (SIDE, SIDE), flags=flags)


def picture(luma):
    return np.repeat(np.clip(np.rint(luma), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def chain(films, drawn):
    """Link crops of a film and what a network drew of them."""
    textures = [Texture.of(picture(f), picture(d)) for f, d in zip(films, drawn, strict=True)]
    links = TextureFilter((SIDE, SIDE))
    for earlier, later in pairwise(textures):
        links.link(earlier, later)
    return links, textures


def flicker(seed):
    return 6 * np.random.default_rng(seed).normal(size=(SIDE, SIDE))


def error(image, truth):
    inside = np.s_[12:-12, 12:-12]
    return float(np.sqrt(np.square(image[inside] - truth[inside]).mean()))


@pytest.mark.parametrize("step", [(0, 0), (1.3, -0.6), (3.5, 2.0)])
def test_flicker_is_averaged_away_along_the_motion_and_detail_stays(step):
    films = [crop(step[0] * k, step[1] * k) for k in range(5)]
    links, textures = chain(films, [f + flicker(k) for k, f in enumerate(films)])
    assert error(textures[2].restored, films[2]) == pytest.approx(6, rel=0.1)
    assert error(links.steadied(textures, 2), films[2]) < 6 * 0.55  # 1/√5 = 0.45


def test_sides_may_be_odd():
    odd = np.s_[: SIDE - 1, : SIDE - 3]
    films = [crop(1.3 * k, -0.6 * k)[odd] for k in range(5)]
    textures = [Texture.of(picture(f), picture(f + flicker(k)[odd])) for k, f in enumerate(films)]
    links = TextureFilter(films[0].shape)
    for earlier, later in pairwise(textures):
        links.link(earlier, later)
    assert error(links.steadied(textures, 2), films[2]) < 6 * 0.55


@pytest.mark.parametrize("rows", [slice(20, 44), slice(21, 44), slice(20, 24)])
def test_where_the_film_changes_the_picture_s_own_drawing_is_shown(rows):
    changed = np.s_[rows, 14:58]  # a blink, a hand: in this picture only
    films = [crop() + flicker(20 + k) / 6 for k in range(5)]
    films[2][changed] -= 60
    links, textures = chain(films, films)
    steadied = links.steadied(textures, 2)
    assert np.abs(steadied - textures[2].restored)[changed].max() < 1
    elsewhere = np.abs(steadied - textures[2].restored)[60:90, 10:86]
    assert elsewhere.mean() > 0.4  # there it is averaged


@pytest.mark.parametrize("side", [12, 20, 31])
def test_tiny_crops_are_averaged_where_they_are(side):
    films = [crop()[:side, :side] for _ in range(3)]
    drawn = [film + flicker(k)[:side, :side] for k, film in enumerate(films)]
    textures = [Texture.of(picture(f), picture(d)) for f, d in zip(films, drawn, strict=True)]
    links = TextureFilter((side, side))
    for earlier, later in pairwise(textures):
        links.link(earlier, later)
    error_before, error_after = (
        np.abs(image - films[1]).mean()
        for image in (textures[1].restored, links.steadied(textures, 1))
    )
    assert error_after < 0.75 * error_before


def test_turns_and_zooms_are_followed():
    def turned(k):
        matrix = cv2.getRotationMatrix2D((64, 64), 2.5 * k, 1.02**k)
        matrix[:, 2] -= 16
        return cv2.warpAffine(SCENE, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC)

    films = [turned(k) for k in range(5)]
    links, textures = chain(films, films)
    assert error(films[1], films[2]) > 5
    assert error(links.steadied(textures, 2), films[2]) < 1.5
    with pytest.raises(AssertionError, match="beyond reach"):
        TextureFilter((SIDE, SIDE), 1).steadied(textures, 2)


def test_after_a_flash_nothing_of_it_is_left_and_nothing_is_lost_before_it():
    films = [crop() for _ in range(5)]
    films[3] = np.minimum(films[3] + 90, 255)
    links, textures = chain(films, [f + flicker(k) for k, f in enumerate(films)])
    assert error(links.steadied(textures[:4], 2), films[2]) < 6 * 0.72  # three of them agree
    assert error(links.steadied(textures[1:], 2), films[3]) < 7


def test_a_crop_alone_is_shown_as_it_was_drawn():
    links, textures = chain([crop()], [crop() + flicker(1)])
    np.testing.assert_array_equal(links.steadied(textures, 0), textures[0].restored)


@pytest.mark.parametrize(
    ("step", "least"),
    [((0, 0), 2.7), ((2, 1), 2.7), ((0.7, 0.4), 2.2)],  # between pixels sampling takes some away
)
def test_noise_of_the_film_is_measured_whatever_the_motion(step, least):
    moved = [crop(), crop(*step)]
    films = [film + flicker(10 + k) / 2 for k, film in enumerate(moved)]
    _, (first, second) = chain(films, films)
    assert first.noise is None
    assert least < second.noise < 3.3
    _, (_, clean) = chain(moved, moved)
    assert clean.noise < 0.6


def test_changing_luma_keeps_the_colour():
    colour = np.full((4, 4, 3), (200, 120, 60), np.uint8)
    brighter = with_luma_changed(colour, np.full((4, 4), 7.4, np.float32))
    np.testing.assert_array_equal(brighter, colour + 7)
    white = with_luma_changed(colour, np.full((4, 4), 100, np.float32))
    assert white[0, 0].tolist() == [255, 220, 160]
