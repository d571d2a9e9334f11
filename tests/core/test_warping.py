"""Crops and their way back: position, brightness and sharpness, for every kind of plane."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.images import (
    assert_images_close,
    frame_from_planes,
    make_frame,
    pixel_layout,
    rgb_from_yuv444,
    textured_picture,
)
from vidrestore.core.geometry import (
    area_scale,
    compose,
    invert_affine,
    transform_points,
    translation,
)
from vidrestore.core.warping import (
    crop_from_planes,
    frame_from_plane,
    resample,
    sample_mask,
    warp_to_plane,
)

GREY = pixel_layout("444", 8, is_full_range=True)


def matrix(scale, degrees, centre, size):
    """crop_from_frame with ``scale`` crop pixels per frame pixel about a centre of the frame."""
    turn = scale * np.exp(1j * np.radians(degrees))
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    shift = (size - 1) / 2 - linear @ np.asarray(centre, np.float64)
    return np.column_stack([linear, shift])


def grid(width, height):
    y, x = np.mgrid[:height, :width]
    return np.stack([x.ravel(), y.ravel()], axis=1)


def positions(to_from_pixels, width, height):
    return transform_points(to_from_pixels, grid(width, height)).reshape(height, width, 2)


def grey_frame(luma):
    neutral = np.full_like(luma, 128)
    return frame_from_planes((luma, neutral, neutral.copy()), GREY)


def ramps(xy, layout):
    """Y, U and V that change evenly in different directions, in code values."""
    x, y = xy[..., 0], xy[..., 1]
    scale = 2.0 ** (layout.bits - 8)
    return scale * np.stack([126 + 0.3 * x - 0.2 * y, 40 + 1.2 * x, 40 + 1.4 * y], axis=-1)


def ramp_frame(layout, width=128, height=128):
    planes = []
    for index in range(3):
        shift_x, shift_y = (0, 0) if index == 0 else (layout.chroma_shift_x, layout.chroma_shift_y)
        columns, rows = width >> shift_x, height >> shift_y
        # co-sited with the left column, half-way between the rows: H.264 Annex E, type 0
        x = np.arange(columns) * 2.0**shift_x
        y = np.arange(rows) * 2.0**shift_y + (0.5 if shift_y else 0.0)
        values = ramps(np.stack(np.meshgrid(x, y), axis=-1), layout)[..., index]
        planes.append(np.rint(values).astype(np.uint8 if layout.bits == 8 else np.uint16))
    return frame_from_planes(tuple(planes), layout)


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "411"])
@pytest.mark.parametrize("scale", [0.45, 0.9, 1.0, 2.7])
@pytest.mark.parametrize("degrees", [0, 25, 90])
def test_colour_lies_where_the_chroma_samples_are(subsampling, scale, degrees):
    """Chroma read half a luma column off would shift blue by 1 level here, not by 0.1."""
    layout = pixel_layout(subsampling, 12, matrix="709")
    size = 32
    crop_from_frame = matrix(scale, degrees, (60.3, 61.8), size)
    crop = crop_from_planes(ramp_frame(layout), crop_from_frame, size)
    there = positions(invert_affine(crop_from_frame), size, size)
    expected = rgb_from_yuv444(ramps(there, layout), layout).clip(0, 255)
    assert_images_close(crop, expected, max_abs=1.0, mean_abs=0.35)
    assert np.abs((crop - expected).mean(axis=(0, 1))).max() < 0.1


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("standard", ["601", "709"])
def test_a_crop_shows_the_picture_whatever_the_layout(bits, full, standard):
    picture = textured_picture(96, 80, smooth_px=4)
    layout = pixel_layout("444", bits, is_full_range=full, matrix=standard)
    crop = crop_from_planes(make_frame(picture, layout), matrix(1, 0, (47.5, 39.5), 64), 64)
    tolerance = 2 if bits == 8 else 1
    assert_images_close(crop, picture[8:72, 16:80], max_abs=tolerance, mean_abs=0.6)


def test_rounding_has_no_bias():
    luma = np.tile(np.array([[100, 101]], np.uint8), (40, 20))
    crop = crop_from_planes(grey_frame(luma), matrix(4, 0, (20.1, 20.2), 64), 64)
    assert crop.mean() == pytest.approx(100.5, abs=0.06)


@pytest.mark.parametrize("template", ["facexlib", "gpen"])
def test_crops_agree_with_the_reference_program(shared_dir: Path, template):
    """Bilinear crops inside of the frame; the reference fills the outside with a flat colour.

    Three cases are left out: there the face is larger than the crop, and the reference aliases.
    """
    golden = np.load(shared_dir / "golden" / "align.npz")
    frame = _frame_of_bgr(golden["frame_bgr_u8"])
    compared = []
    for index, name in enumerate(golden["names"].tolist()):
        crop_from_frame = golden["matrix/gpen_512" if template == "gpen" else "matrix/facexlib_512"]
        crop_from_frame = crop_from_frame[index]
        if np.isnan(crop_from_frame).any() or area_scale(crop_from_frame) < 1:
            continue
        crop = crop_from_planes(frame, crop_from_frame, 512)
        inside = _inside(crop_from_frame, frame, 512)
        small = crop.reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))
        small_inside = inside.reshape(128, 4, 128, 4).all(axis=(1, 3))
        expected = golden[f"crop128/{template}"][index, ..., ::-1]
        _assert_golden(small[small_inside], expected[small_inside], f"{name} at 128")
        compared.append(name)
        if f"crop512/{template}/{name}" in golden:
            expected = golden[f"crop512/{template}/{name}"][..., ::-1]
            _assert_golden(crop[inside], expected[inside], f"{name} at 512")
    assert len(compared) >= 11, compared


def _assert_golden(crop, expected, what):
    assert_images_close(crop, expected, max_abs=6, mean_abs=0.4, what=what)


def _frame_of_bgr(bgr):
    return make_frame(bgr[..., ::-1], pixel_layout("444", 10, is_full_range=True))


def _inside(crop_from_frame, frame, size):
    there = positions(invert_affine(crop_from_frame), size, size)
    limit = np.array([frame.geometry.width, frame.geometry.height]) - 2
    return ((there > 1) & (there < limit)).all(axis=-1)


@pytest.mark.parametrize("degrees", [0, 37])
@pytest.mark.parametrize("scale", [0.21, 0.5, 0.8, 1.5])
def test_only_the_part_that_is_needed_makes_the_same_crop(degrees, scale):
    """Cutting out the region first must not move block averages or filters."""
    luma = textured_picture(400, 300)[..., 1].copy()
    crop_from_frame = matrix(scale, degrees, (161, 140), 40)
    crop = crop_from_planes(grey_frame(luma), crop_from_frame, 40)
    whole = resample(luma, invert_affine(crop_from_frame), 40, 40)
    assert_images_close(crop[..., 1], whole, max_abs=0.51)


@pytest.mark.parametrize("scale", [0.3, 0.9, 2.0])
@pytest.mark.parametrize("centre", [(0, 0), (99, 40), (50, 79), (-30, 90), (130, 30)])
def test_beyond_the_edge_the_picture_goes_on_mirrored(centre, scale):
    luma = textured_picture(100, 80)[..., 1].copy()
    crop_from_frame = matrix(scale, 12, centre, 32)
    crop = crop_from_planes(grey_frame(luma), crop_from_frame, 32)
    pad = 240
    wide = np.pad(luma, pad, mode="reflect")
    wide_from_crop = compose(translation(pad, pad), invert_affine(crop_from_frame))
    expected = resample(wide, wide_from_crop, 32, 32)
    # where blocks are averaged, mirroring is about the edge block instead of the edge sample
    assert_images_close(crop[..., 1], expected, max_abs=0.51 if scale > 0.5 else 25)


@pytest.mark.parametrize("scale", [0.002, 0.05, 30])
@pytest.mark.parametrize("centre", [(20, 20), (-4000, 9), (17, 5000)])
@pytest.mark.parametrize("shape", [(41, 35), (2, 2), (1, 7)])
def test_any_transform_and_any_size_of_plane_gives_a_crop(scale, centre, shape):
    height, width = shape
    frame = make_frame(np.full((height, width, 3), 90.0), pixel_layout("420"))
    crop = crop_from_planes(frame, matrix(scale, 20, centre, 16), 16)
    assert crop.shape == (16, 16, 3)
    assert_images_close(crop, np.full(crop.shape, 90), max_abs=2)


def _wave_crop(film_per_crop, wavelength, size=96, degrees=17.0):
    """Film a wave that has the same place and length in every crop, and resample it."""
    length = int(size * film_per_crop * 1.5) + 20
    crop_from_film = matrix(1 / film_per_crop, degrees, (length / 2 + 0.3, length / 2 - 0.2), size)
    x = positions(crop_from_film, length, length)[..., 0]
    film = (128 + 100 * np.cos(2 * np.pi * x / wavelength)).astype(np.float32)
    crop = resample(film, invert_affine(crop_from_film), size, size)[12:84, 12:84]
    wave = np.exp(-2j * np.pi * np.arange(12, 84) / wavelength)
    phasor = 2 * ((crop - 128) * wave).mean(axis=1)
    return float(crop.mean()), float(np.abs(phasor).mean()), float(np.angle(phasor.mean()))


@pytest.mark.parametrize("wavelength", [4.0, 8.0])
def test_a_growing_face_changes_neither_place_nor_brightness_and_never_jumps(wavelength):
    """Also where block averaging sets in, at 2, 3 and 4 film pixels for each crop pixel."""
    waves = [_wave_crop(f, wavelength) for f in np.geomspace(1.0, 4.4, 60)]
    brightness, contrast, phase = (np.array(values) for values in zip(*waves, strict=True))
    assert np.abs(brightness - 128).max() < 0.5
    shift_px = phase / (2 * np.pi) * wavelength
    assert np.abs(shift_px).max() < 0.01
    assert np.abs(np.diff(contrast)).max() < 1.0
    assert contrast.min() > (72 if wavelength == 4 else 92)


def test_detail_finer_than_the_crop_becomes_its_mean_and_not_a_pattern():
    luma = (255 * (np.indices((300, 300)).sum(axis=0) % 2)).astype(np.uint8)
    for scale in (0.3, 0.45, 0.6):
        crop = crop_from_planes(grey_frame(luma), matrix(scale, 10, (150, 150), 64), 64)
        assert crop.std() < 6, (scale, crop.std())
        assert crop.mean() == pytest.approx(127.5, abs=1)
    aliased = cv2.warpAffine(luma, matrix(0.3, 10, (150, 150), 64), (64, 64))
    assert aliased.std() > 35


def test_resampling_leaves_its_source_alone():
    source = textured_picture(50, 50)[..., 0].astype(np.float32)
    before = source.copy()
    resample(source, invert_affine(matrix(0.4, 5, (25, 25), 20)), 20, 20)
    np.testing.assert_array_equal(source, before)


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "411"])
@pytest.mark.parametrize("scale", [0.7, 1.0, 3.0, 9.0])
@pytest.mark.parametrize("degrees", [0, 25, 90])
def test_a_channel_comes_back_to_the_samples_it_belongs_to(subsampling, scale, degrees):
    """An even change across the crop is an even change across each plane, without a shift."""
    layout = pixel_layout(subsampling)
    size = 256
    crop_from_frame = matrix(scale, degrees, (64.2, 63.7), size)
    crop = (grid(size, size) @ [0.5, 0.25]).reshape(size, size).astype(np.float32)
    for index, box in ((0, (60, 58, 69, 70)), (1, (30, 29, 34, 35))):
        if index == 1:
            right, bottom = 64 >> layout.chroma_shift_x, 64 >> layout.chroma_shift_y
            box = right - 2, bottom - 2, right + 2, bottom + 2
        crop_from_plane = compose(crop_from_frame, frame_from_plane(layout, index))
        back = warp_to_plane(crop, crop_from_plane, box)
        left, top, right, bottom = box
        there = positions(crop_from_plane, right, bottom)[top:, left:]
        assert_images_close(back, there @ [0.5, 0.25], max_abs=0.02)


def test_a_crop_finer_than_the_plane_is_averaged_on_its_way_back():
    crop = (255.0 * (np.indices((256, 256)).sum(axis=0) % 2)).astype(np.float32)
    back = warp_to_plane(crop, matrix(3.3, 4, (50, 50), 256), (30, 30, 70, 70))
    assert back.std() < 5
    assert back.mean() == pytest.approx(127.5, abs=0.5)


@pytest.mark.parametrize("scale", [1.0, 1.6, 2.5, 6.0])
def test_there_and_back_again_gives_the_picture(scale):
    picture = textured_picture(80, 80, smooth_px=3)
    luma = picture[..., 1].copy()
    crop_from_frame = matrix(scale, 8, (40, 40), 256)
    crop = crop_from_planes(grey_frame(luma), crop_from_frame, 256)[..., 1].astype(np.float32)
    reach = int(100 / scale / 1.5)
    low, high = max(0, 40 - reach), min(80, 40 + reach)
    back = warp_to_plane(crop, crop_from_frame, (low, low, high, high))
    assert_images_close(back, luma[low:high, low:high], max_abs=22, mean_abs=4.5)


def test_a_mask_is_exactly_zero_where_it_is_zero_and_outside_of_the_crop():
    mask = np.zeros((64, 64), np.float32)
    mask[20:44, 20:44] = 1
    mask = cv2.GaussianBlur(mask, (9, 9), 2)
    crop_from_plane = matrix(1.7, 30, (50, 50), 64)
    weights = sample_mask(mask, crop_from_plane, (0, 0, 100, 100))
    there = positions(crop_from_plane, 100, 100)
    is_far = ((there < 14) | (there > 49)).any(axis=-1)
    assert (weights[is_far] == 0).all()
    assert 0 <= weights.min() <= weights.max() <= 1
    is_core = ((there > 25) & (there < 38)).all(axis=-1)
    np.testing.assert_allclose(weights[is_core], 1, atol=1e-6)


@pytest.mark.parametrize(("shift_x", "shift_y"), list(itertools.product((0, 1, 2), (0, 1))))
def test_the_first_chroma_sample_lies_on_the_left_column_between_the_rows(shift_x, shift_y):
    layout = pixel_layout()
    layout = type(layout)("any", 8, shift_x, shift_y, False, 0.299, 0.114)
    first = transform_points(frame_from_plane(layout, 1), np.array([[0, 0], [1, 1]]))
    np.testing.assert_array_equal(first[0], [0, 0.5 if shift_y else 0])
    np.testing.assert_array_equal(first[1] - first[0], [2**shift_x, 2**shift_y])
    np.testing.assert_array_equal(frame_from_plane(layout, 0), np.eye(2, 3))
