import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from tests.support.fakes import frame_at, landmarks_at, observation
from vidrestore.contracts import FrameGeometry
from vidrestore.core.geometry import display_from_frame, transform_points
from vidrestore.core.views import orient, to_display, upright_view, view_size

TURNS = {
    (1, 0, 0, 1): lambda p: p,
    (0, 1, -1, 0): lambda p: np.rot90(p, -1),
    (-1, 0, 0, -1): lambda p: np.rot90(p, 2),
    (0, -1, 1, 0): lambda p: np.rot90(p, 1),
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
    (0, -1, -1, 0): lambda p: np.rot90(p, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_picture_is_turned_as_numpy_turns_it(turn):
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    np.testing.assert_array_equal(orient(picture, turn), TURNS[turn](picture))


@pytest.mark.parametrize("turn", TURNS)
def test_turned_pictures_and_turned_points_agree(turn):
    geometry = FrameGeometry(6, 4, turn=turn)
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[1, 4] = 255
    x, y = transform_points(display_from_frame(geometry), np.array([[4.0, 1.0]]))[0]
    assert orient(picture, turn)[round(y), round(x), 0] == 255


def test_large_pictures_shrink_and_small_ones_stay():
    assert view_size(frame_at(0, width=2000, height=1000), 1000) == (1000, 500)
    assert view_size(frame_at(0, width=320, height=240), 1000) == (320, 240)


def test_pixels_become_square_and_upright():
    geometry = FrameGeometry(720, 576, turn=(0, 1, -1, 0), pixel_aspect=Fraction(16, 15))
    frame = frame_at(0, geometry=geometry)
    assert view_size(frame, 1000) == (576, 768)
    asked = []
    frame = dataclasses.replace(
        frame, render_rgb=lambda w, h: asked.append((w, h)) or np.zeros((h, w, 3), np.uint8)
    )
    assert upright_view(frame, 1000).shape == (768, 576, 3)
    assert asked == [(768, 576)]


def test_observations_come_back_to_display_pixels():
    frame = frame_at(0, width=2000, height=1000)
    seen = to_display(observation(landmarks_at(250, 125, 10)), frame, 500)
    # pixel 250 of a view a quarter as large has its centre at (250.5 * 4) - 0.5
    np.testing.assert_allclose(seen.landmarks.mean(axis=0), [1001.5, 501.5], atol=1e-3)
    assert seen.box_xyxy[2] - seen.box_xyxy[0] == pytest.approx(
        4 * (observation(landmarks_at(250, 125, 10)).box_xyxy[[0, 2]] @ [-1, 1]), rel=1e-5
    )
