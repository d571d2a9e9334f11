"""Colour against FFmpeg's scaler with its accurate flags, and against a second writing-out."""

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from tests.support.images import (
    assert_images_close,
    pixel_layout,
    rgb_from_yuv444,
    yuv444_from_rgb,
)
from vidrestore.core.colour import (
    channel_from_rgb,
    colourfulness,
    rgb_from_yuv,
    rgb_from_yuv_matrix,
    yuv_from_rgb_matrix,
)

EXACT = int(
    Interpolation.POINT
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
COLORSPACES = {"601": Colorspace.ITU601, "709": Colorspace.ITU709}

every_layout = pytest.mark.parametrize(
    "layout",
    [
        pixel_layout("444", bits, is_full_range=full, matrix=matrix)
        for bits in (8, 10, 12, 16)
        for full in (False, True)
        for matrix in ("601", "709", "2020")
    ],
    ids=lambda layout: f"{layout.bits}bit-kr{layout.kr}-{'full' if layout.is_full_range else 'tv'}",
)
swscale_layouts = pytest.mark.parametrize(
    "layout",
    [
        pixel_layout("444", bits, is_full_range=full, matrix=matrix)
        for bits in (8, 10)
        for full in (False, True)
        for matrix in ("601", "709")
    ],
    ids=lambda layout: f"{layout.bits}bit-kr{layout.kr}-{'full' if layout.is_full_range else 'tv'}",
)


def random_rgb(seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)


def yuv_from_rgb(rgb, layout):
    matrix = yuv_from_rgb_matrix(layout)
    channels = np.moveaxis(rgb, -1, 0).copy()
    return np.stack([channel_from_rgb(channels, row) for row in matrix], axis=-1)


def tags(layout):
    return {
        "colorspace": COLORSPACES["601" if layout.kr == 0.299 else "709"],
        "range": ColorRange.JPEG if layout.is_full_range else ColorRange.MPEG,
    }


def swscale_yuv(rgb, layout):
    wanted = tags(layout)
    frame = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(rgb, format="rgb24"),
        format=layout.name,
        interpolation=EXACT,
        dst_colorspace=wanted["colorspace"],
        dst_color_range=wanted["range"],
        threads=1,
    )
    kind = np.uint8 if layout.bits == 8 else np.dtype("<u2")
    planes = [np.frombuffer(p, kind).reshape(p.height, -1)[:, : p.width] for p in frame.planes]
    return frame, np.stack(planes, axis=-1)


@swscale_layouts
def test_yuv_is_that_of_swscale(layout):
    """To one level: swscale truncates the chroma of full range, half a level on average."""
    rgb = random_rgb()
    codes = np.rint(yuv_from_rgb(rgb, layout))
    assert_images_close(codes, swscale_yuv(rgb, layout)[1], max_abs=1 << (layout.bits - 8))


@swscale_layouts
def test_rgb_is_that_of_swscale(layout):
    frame, yuv = swscale_yuv(random_rgb(1), layout)
    wanted = tags(layout)
    expected = VideoReformatter().reformat(
        frame,
        format="rgb24",
        interpolation=EXACT,
        src_colorspace=wanted["colorspace"],
        src_color_range=wanted["range"],
        threads=1,
    )
    rgb = rgb_from_yuv(*np.moveaxis(yuv.astype(np.float32), -1, 0).copy(), layout)
    assert_images_close(rgb, expected.to_ndarray(), max_abs=1, mean_abs=0.3)


@every_layout
def test_yuv_follows_the_standard_at_every_depth(layout):
    rgb = random_rgb(2)
    expected = yuv444_from_rgb(rgb, layout)
    tolerance = 2e-6 * 2**layout.bits
    assert_images_close(yuv_from_rgb(rgb, layout), expected, max_abs=tolerance)


@every_layout
def test_rgb_follows_the_standard_at_every_depth_and_is_rounded(layout):
    codes = np.rint(yuv444_from_rgb(random_rgb(3), layout)).astype(np.float32)
    exact = rgb_from_yuv444(codes, layout).clip(0, 255)
    rgb = rgb_from_yuv(*np.moveaxis(codes, -1, 0).copy(), layout)
    assert rgb.dtype == np.uint8
    assert_images_close(rgb, exact, max_abs=0.501)
    assert abs((rgb - exact).mean()) < 0.01


@every_layout
def test_the_two_matrices_undo_each_other(layout):
    rgb = random_rgb(4).reshape(-1, 3)
    forward, back = yuv_from_rgb_matrix(layout), rgb_from_yuv_matrix(layout)
    yuv = rgb @ forward[:, :3].T + forward[:, 3]
    np.testing.assert_allclose(yuv @ back[:, :3].T + back[:, 3], rgb, atol=1e-9)


def test_landmarks_of_limited_range():
    """Black, white and the primaries of BT.601, as ITU-R BT.601-7 table 3 has them."""
    rgb = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8)
    yuv = np.rint(yuv_from_rgb(rgb, pixel_layout("444")))[0]
    np.testing.assert_array_equal(
        yuv, [[16, 128, 128], [235, 128, 128], [81, 90, 240], [41, 240, 110]]
    )


def test_codes_outside_of_the_nominal_range_saturate():
    y = np.array([[0, 255, 16, 235]], np.float32)
    neutral = np.full_like(y, 128)
    rgb = rgb_from_yuv(y, neutral, neutral, pixel_layout("444"))
    np.testing.assert_array_equal(rgb[..., 0], [[0, 255, 0, 255]])


def test_grey_has_no_colourfulness_and_skin_has_some():
    greys = np.repeat(np.arange(256)[:, None], 3, axis=1)
    layout = pixel_layout("420", 10, matrix="709")
    assert colourfulness(greys, layout).max() < 1e-9
    skin = np.array([[198, 150, 128], [92, 62, 48]])
    assert 10 < colourfulness(skin, layout).min() <= colourfulness(skin, layout).max() < 40


def test_colourfulness_does_not_depend_on_depth_or_range():
    rgb = random_rgb(5)
    expected = colourfulness(rgb, pixel_layout("420", 8))
    np.testing.assert_array_equal(
        colourfulness(rgb, pixel_layout("444", 12, is_full_range=True)), expected
    )
