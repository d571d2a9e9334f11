"""Pictures in another size: colours and places stay, and nothing is lost without need."""

import cv2
import numpy as np
import pytest

from tests.support.images import assert_images_close, make_frame, pixel_layout, textured_picture
from vidrestore.contracts import FrameGeometry
from vidrestore.core.colour import rgb_from_yuv_matrix
from vidrestore.core.enlarging import planes_from_rgb, resized_planes, rgb_from_planes
from vidrestore.core.warping import frame_from_plane

LAYOUTS = [
    pixel_layout("444", 8),
    pixel_layout("420", 8, matrix="709"),
    pixel_layout("422", 10, is_full_range=True),
    pixel_layout("420", 12, matrix="2020"),
]


def ramps(layout, geometry):
    """Planes whose numbers say where in the frame each sample lies."""
    step = (1 << layout.bits) / 300
    planes = []
    for index in range(3):
        x, y = (layout.chroma_shift_x, layout.chroma_shift_y) if index else (0, 0)
        rows, columns = np.indices((-(-geometry.height >> y), -(-geometry.width >> x)))
        (a, _, left), (_, d, top) = frame_from_plane(layout, index)
        # as shares of the frame, from edge to edge
        across = (a * columns + left + 0.5) / geometry.width
        down = (d * rows + top + 0.5) / geometry.height
        planes.append((100 + 60 * across + 40 * down) * step)
    return planes


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda k: k.name)
@pytest.mark.parametrize("size", [(120, 90), (160, 120), (320, 240), (40, 30), (121, 91)])
def test_every_sample_of_every_plane_lies_where_it_lay(layout, size):
    small, large = FrameGeometry(80, 60), FrameGeometry(*size)
    kind = np.uint8 if layout.bits == 8 else np.uint16
    planes = tuple(np.rint(p).astype(kind) for p in ramps(layout, small))
    made = resized_planes(planes, large, layout)
    step = (1 << layout.bits) / 300
    for plane, expected in zip(made, ramps(layout, large), strict=True):
        assert plane.dtype == kind
        assert plane.shape == expected.shape
        inside = np.s_[16:-16, 16:-16] if min(plane.shape) > 40 else np.s_[6:-6, 6:-6]
        # a quarter of a luma sample is 0.19 · step here; numbers are rounded twice
        close = {"max_abs": 1.6 + 0.1 * step, "mean_abs": 0.4 + 0.05 * step}
        assert_images_close(plane[inside], expected[inside], **close)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda k: k.name)
def test_to_rgb_and_back_gives_the_luma_again(layout):
    frame = make_frame(textured_picture(96, 80), layout)
    picture = rgb_from_planes(frame.planes, frame.layout)
    assert picture.shape == (80, 96, 3)
    assert 0 <= picture.min() < picture.max() <= 1
    back = planes_from_rgb(picture, frame.geometry, frame.layout)
    codes = 1 << (layout.bits - 8)
    assert_images_close(back[0], frame.planes[0], max_abs=8 * codes, mean_abs=0.6 * codes)
    for k in (1, 2):
        assert back[k].shape == frame.planes[k].shape
        assert_images_close(back[k], frame.planes[k], max_abs=40 * codes, mean_abs=3 * codes)


def test_a_plain_colour_is_converted_as_the_matrix_says():
    layout = pixel_layout("420", 10, matrix="709")
    planes = (np.full((8, 8), 400, np.uint16), *(np.full((4, 4), n, np.uint16) for n in (480, 560)))
    expected = rgb_from_yuv_matrix(layout) @ [400, 480, 560, 1] / 255
    np.testing.assert_allclose(rgb_from_planes(planes, layout)[3, 5], expected, atol=1e-5)
    back = planes_from_rgb(rgb_from_planes(planes, layout), FrameGeometry(8, 8), layout)
    assert [int(p[1, 2]) for p in back] == [400, 480, 560]


def test_a_large_picture_is_reduced_without_aliasing():
    fine = np.indices((128, 128)).sum(axis=0) % 2
    picture = np.repeat(fine[..., None], 3, axis=2).astype(np.float32)
    layout = pixel_layout("444", 8, is_full_range=True)
    y, _, _ = planes_from_rgb(picture, FrameGeometry(32, 32), layout)
    assert_images_close(y, np.full((32, 32), 127.5), max_abs=1)


def test_enlarging_keeps_what_bilinear_interpolation_would_soften():
    def wave(size):
        x = (np.arange(size) + 0.5) / size
        across = 127 + 90 * np.sin(2 * np.pi * 12 * x)
        return np.rint(np.tile(across, (size, 1))).astype(np.uint8)

    grey = np.full((24, 24), 128, np.uint8)
    y, _, _ = resized_planes((wave(48), grey, grey), FrameGeometry(96, 96), pixel_layout())
    soft = cv2.resize(wave(48), (96, 96), interpolation=cv2.INTER_LINEAR)
    inside = np.s_[8:-8, 8:-8]
    errors = [np.abs(made[inside] - wave(96)[inside].astype(float)).mean() for made in (y, soft)]
    assert errors[0] < errors[1] / 3
