from __future__ import annotations

import gc

import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tests.support.fakes import frame_at
from tests.support.images import SUBSAMPLING
from tests.support.synthetic import drawn_number, picture
from vidrestore.contracts import FrameGeometry
from vidrestore.media.pixels import (
    PictureReader,
    bits_of,
    is_rgb,
    matrix_tag,
    picture_of,
    planar_name,
)

LIMITED, FULL = 1, 2
SMOOTH = cv2.GaussianBlur(picture(5, 128, 64), (0, 0), 3)


def decoded(pixel_format: str, matrix: int = 6, color_range: int = LIMITED) -> VideoFrame:
    """SMOOTH as a decoder would give it in that format."""
    rgb = VideoFrame.from_ndarray(SMOOTH, "rgb24")
    spaces = {1: 1, 5: 5, 6: 5, 9: 9}
    frame = VideoReformatter().reformat(
        rgb, format=pixel_format, dst_colorspace=spaces[matrix], dst_color_range=color_range
    )
    frame.colorspace, frame.color_range = matrix, color_range
    return frame


def raw_plane(frame: VideoFrame, index: int, dtype: str = "u1") -> np.ndarray:
    plane = frame.planes[index]
    rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
    return rows[:, : plane.width]


@pytest.mark.parametrize(
    ("stored", "travels"),
    [
        ("yuv420p", "yuv420p"),
        ("yuvj420p", "yuv420p"),
        ("yuvj422p", "yuv422p"),
        ("yuv444p", "yuv444p"),
        ("yuv422p10le", "yuv422p10le"),
        ("yuv444p16le", "yuv444p16le"),
        ("yuva420p", "yuv420p"),
        ("yuv411p", "yuv420p"),
        ("yuvj411p", "yuv420p"),
        ("yuv410p", "yuv420p"),
        ("yuv440p", "yuv420p"),
        ("nv12", "yuv420p"),
        ("p010le", "yuv420p10le"),
        ("yuyv422", "yuv422p"),
        ("yuv420p10be", "yuv420p10le"),
        ("gray", "yuv420p"),
        ("gray10le", "yuv420p10le"),
        ("rgb24", "yuv444p"),
        ("bgr0", "yuv444p"),
        ("pal8", "yuv444p"),
        ("gbrp10le", "yuv444p10le"),
        ("rgb48le", "yuv444p16le"),
    ],
)
def test_every_decoder_format_has_a_planar_one_to_travel_in(stored, travels):
    assert planar_name(stored) == travels


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuva420p", "yuv420p10le"]
)
def test_planar_pictures_are_viewed_without_a_copy(pixel_format):
    frame = decoded(pixel_format, color_range=FULL if "j" in pixel_format else LIMITED)
    planes, layout, _ = PictureReader().read(frame)
    shift = SUBSAMPLING[pixel_format.strip("yuvja")[:3]]
    assert (layout.chroma_shift_x, layout.chroma_shift_y) == shift
    assert layout.bits == (10 if "10" in pixel_format else 8)
    for index, plane in enumerate(planes):
        assert plane.ctypes.data == frame.planes[index].buffer_ptr
        assert plane.dtype == (np.uint16 if layout.bits == 10 else np.uint8)


def test_planes_cannot_be_written_to():
    planes, _, _ = PictureReader().read(decoded("yuv420p"))
    with pytest.raises(ValueError, match="read-only"):
        planes[0][0, 0] = 1


def test_planes_outlive_the_picture():
    frame = decoded("yuv420p")
    before = raw_plane(frame, 0).copy()
    planes, _, render = PictureReader().read(frame)
    del frame
    gc.collect()
    assert np.array_equal(planes[0], before)
    assert render(16, 8).shape == (8, 16, 3)


@pytest.mark.parametrize(
    ("pixel_format", "color_range"),
    [("yuv411p", 1), ("yuvj411p", 2), ("nv12", 1), ("nv12", 2), ("nv16", 1), ("yuv440p", 1)],
)
def test_converting_the_chroma_leaves_the_luma_alone(pixel_format, color_range):
    frame = decoded(pixel_format, color_range=color_range)
    planes, layout, _ = PictureReader().read(frame)
    assert np.array_equal(planes[0], raw_plane(frame, 0))
    assert layout.is_full_range == (color_range == 2)
    assert planes[1].shape == (64 >> layout.chroma_shift_y, 128 >> layout.chroma_shift_x)


@pytest.mark.parametrize(("tag", "is_full"), [(0, True), (1, False), (2, True)])
def test_gray_keeps_its_numbers_and_gets_colourless_chroma(tag, is_full):
    frame = decoded("gray")
    frame.color_range = tag
    planes, layout, render = PictureReader().read(frame)
    assert np.array_equal(planes[0], raw_plane(frame, 0))
    assert (planes[1] == 128).all()
    assert (planes[2] == 128).all()
    assert layout.is_full_range == is_full
    rgb = render(128, 64)
    assert (np.ptp(rgb, axis=2) == 0).all()
    if is_full:
        assert np.array_equal(rgb[..., 0], planes[0])


def test_ten_bit_gray_keeps_its_numbers():
    frame = decoded("gray10le")
    planes, layout, _ = PictureReader().read(frame)
    assert layout.name == "yuv420p10le"
    assert np.array_equal(planes[0], raw_plane(frame, 0, "<u2"))
    assert (planes[1] == 512).all()


@pytest.mark.parametrize(
    ("matrix", "size", "weights"),
    [
        (2, (64, 64), (0.299, 0.114)),
        (2, (720, 576), (0.299, 0.114)),
        (2, (1280, 544), (0.2126, 0.0722)),
        (2, (720, 1280), (0.2126, 0.0722)),
        (0, (64, 64), (0.299, 0.114)),
        (1, (64, 64), (0.2126, 0.0722)),
        (5, (1920, 1080), (0.299, 0.114)),
        (9, (64, 64), (0.2627, 0.0593)),
        (10, (64, 64), (0.2627, 0.0593)),
    ],
)
def test_the_matrix_is_as_tagged_or_as_the_size_suggests(matrix, size, weights):
    frame = VideoFrame(*size, "yuv420p")
    frame.colorspace = matrix
    _, layout, render = PictureReader().read(frame)
    assert (layout.kr, layout.kb) == weights
    render(16, 16)  # the scaler takes every one of them


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize(
    ("pixel_format", "color_range"),
    [("yuv444p", 1), ("yuv444p", 2), ("yuvj444p", 2), ("yuv444p10le", 1)],
)
def test_rendering_obeys_matrix_and_range(matrix, pixel_format, color_range):
    frame = VideoFrame(32, 16, pixel_format)
    frame.colorspace, frame.color_range = matrix, color_range
    layout = PictureReader().read(frame)[1]
    red, green, blue = 0.8, 0.3, 0.2
    y = layout.kr * red + (1 - layout.kr - layout.kb) * green + layout.kb * blue
    u, v = (blue - y) / (2 * (1 - layout.kb)), (red - y) / (2 * (1 - layout.kr))
    depth = layout.bits - 8
    if color_range == 2:
        numbers = y * 255, 128 + 255 * u, 128 + 255 * v
    else:
        numbers = 16 + 219 * y, 128 + 224 * u, 128 + 224 * v
    for index, number in enumerate(numbers):
        plane = raw_plane(frame, index, "u1" if depth == 0 else "<u2")
        plane.flags.writeable = True
        plane[...] = round(number * 2**depth)
    rgb = PictureReader().read(frame)[2](8, 4)
    assert rgb.shape == (4, 8, 3)
    assert rgb.dtype == np.uint8
    assert np.abs(rgb.astype(float) - np.array([red, green, blue]) * 255).max() <= 2.5


@pytest.mark.parametrize("tag", [0, 1, 2])
@pytest.mark.parametrize("size", [(64, 64), (1280, 720)])
def test_rgb_becomes_limited_yuv_of_the_matrix_that_fits_its_size(size, tag):
    image = VideoFrame.from_ndarray(np.full((size[1], size[0], 3), (200, 80, 60), np.uint8))
    image.color_range = tag
    planes, layout, _ = PictureReader().read(image)
    red, green, blue = 200 / 255, 80 / 255, 60 / 255
    y = layout.kr * red + (1 - layout.kr - layout.kb) * green + layout.kb * blue
    assert not layout.is_full_range
    assert matrix_tag(layout) == (6 if size[1] <= 576 else 1)
    assert abs(planes[0][5, 5] - (16 + 219 * y)) <= 0.6
    assert abs(planes[1][5, 5] - (128 + 112 * (blue - y) / (1 - layout.kb))) <= 0.6
    assert abs(planes[2][5, 5] - (128 + 112 * (red - y) / (1 - layout.kr))) <= 0.6


def test_a_frame_becomes_a_picture_bit_for_bit():
    planes, layout, render = PictureReader().read(decoded("yuv420p"))
    frame = frame_with(planes, layout, render)
    made = picture_of(frame)
    assert made.format.name == "yuv420p"
    for index in range(3):
        assert np.array_equal(raw_plane(made, index), planes[index])


def test_odd_pictures_are_extended_by_their_last_column_and_row():
    geometry = FrameGeometry(63, 47)
    frame = frame_at(0, geometry=geometry)
    luma = np.arange(47 * 63, dtype=np.uint32).astype(np.uint8).reshape(47, 63)
    chroma = frame.planes[1]
    frame = frame_with((luma, chroma, chroma), frame.layout, frame.render_rgb)
    made = picture_of(frame, 64, 48)
    assert np.array_equal(raw_plane(made, 0), np.pad(luma, ((0, 1), (0, 1)), mode="edge"))
    assert np.array_equal(raw_plane(made, 1), chroma)


def test_the_number_in_a_picture_survives_the_trip():
    frame = VideoReformatter().reformat(
        VideoFrame.from_ndarray(picture(173, 160, 96), "rgb24"), format="yuv420p10le"
    )
    planes, _, render = PictureReader().read(frame)
    assert drawn_number(planes[0]) == 173
    assert drawn_number(render(160, 96)) == 173


def test_depth_and_kind_of_formats():
    assert bits_of("yuv420p10le") == 10
    assert bits_of("nv12") == 8
    assert is_rgb("pal8")
    assert is_rgb("gbrp")
    assert not is_rgb("gray")


def frame_with(planes, layout, render):
    height, width = planes[0].shape
    base = frame_at(0, geometry=FrameGeometry(width, height))
    return type(base)(
        planes=planes,
        pts=base.pts,
        time_base=base.time_base,
        duration=base.duration,
        seconds=base.seconds,
        tick=base.tick,
        layout=layout,
        geometry=base.geometry,
        render_rgb=render,
    )
