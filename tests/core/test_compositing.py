"""Blending: what must not change, what must, and that nothing ever jumps."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from tests.support.images import (
    assert_images_close,
    frame_from_planes,
    make_frame,
    picture_of,
    pixel_layout,
    textured_picture,
    yuv444_from_rgb,
)
from vidrestore.contracts import AlignedFace, FaceTrack, RestoredFace
from vidrestore.core.compositing import FaceMask, blend_faces_into, feathered_mask
from vidrestore.core.geometry import (
    compose,
    display_from_frame,
    invert_affine,
    similarity_transform,
    transform_points,
)
from vidrestore.core.warping import crop_from_planes, sample_mask
from vidrestore.models.registry import Template, landmark_template

SIZE = 128
TEMPLATE = landmark_template(Template.FFHQ, SIZE)
MASK = FaceMask.of(feathered_mask(TEMPLATE, SIZE))


def matrix(scale, degrees, centre, size=SIZE):
    """crop_from_frame with ``scale`` crop pixels per frame pixel about a centre of the frame."""
    turn = scale * np.exp(1j * np.radians(degrees))
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, (size - 1) / 2 - linear @ np.asarray(centre, np.float64)])


def face_in(frame, crop_from_frame, restore, size=SIZE):
    """Cut a face out and restore it with ``restore(crop)``."""
    crop = crop_from_planes(frame, crop_from_frame, size)
    landmarks = np.zeros((5, 2), np.float32)
    track = FaceTrack(1, landmarks, None, 0.9, 1.0)
    restored = np.clip(np.rint(restore(crop)), 0, 255).astype(np.uint8)
    return RestoredFace(AlignedFace(track, crop, crop_from_frame), restored, 1.0)


def invert(crop):
    return 255.0 - crop


def identity(crop):
    return crop


def positions(plane_shape, layout, index, crop_from_frame):
    """Where the samples of a plane lie in the crop, written out for MPEG-2 siting."""
    rows, columns = np.mgrid[: plane_shape[0], : plane_shape[1]].astype(np.float64)
    if index > 0:
        columns *= 2**layout.chroma_shift_x
        rows = rows * 2 + 0.5 if layout.chroma_shift_y else rows
    points = np.stack([columns.ravel(), rows.ravel()], axis=1)
    return transform_points(crop_from_frame, points).reshape(*plane_shape, 2)


def read(image, there):
    """Bilinear, 0 outside."""
    return map_coordinates(image.astype(np.float64), [there[..., 1], there[..., 0]], order=1)


# --- the mask -----------------------------------------------------------------------------------


@pytest.mark.parametrize("template", list(Template))
@pytest.mark.parametrize("size", [64, 256, 512])
def test_the_mask_is_one_on_the_face_and_zero_along_the_border(template, size):
    landmarks = landmark_template(template, size)
    mask = feathered_mask(landmarks, size)
    assert mask.dtype == np.float32
    assert mask.shape == (size, size)
    assert mask.min() == 0
    assert mask.max() == 1
    inner = np.zeros_like(mask)
    inner[2:-2, 2:-2] = mask[2:-2, 2:-2]
    np.testing.assert_array_equal(inner, mask)
    columns, rows = landmarks.round().astype(int).T
    assert (mask[rows, columns] == 1).all()
    assert 0.3 < mask.mean() < 0.6


@pytest.mark.parametrize("template", list(Template))
def test_the_edge_of_the_mask_is_soft(template):
    mask = feathered_mask(landmark_template(template, 256), 256)
    steepest = max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1))
    feather_px = np.pi / 2 / steepest
    assert 0.10 * 256 < feather_px < 0.14 * 256


def test_both_templates_cover_the_same_part_of_a_face():
    ffhq, gpen = (landmark_template(template, 256) for template in (Template.FFHQ, Template.GPEN))
    ffhq_from_gpen = similarity_transform(gpen, ffhq)
    expected = feathered_mask(gpen, 256)
    there = transform_points(ffhq_from_gpen, np.indices((256, 256))[::-1].reshape(2, -1).T)
    moved = read(feathered_mask(ffhq, 256), there.reshape(256, 256, 2))
    assert_images_close(moved, expected, max_abs=0.12, mean_abs=0.01, peak=1)


def test_the_mask_scales_with_the_crop():
    small = feathered_mask(landmark_template(Template.GPEN, 256), 256)
    large = feathered_mask(landmark_template(Template.GPEN, 1024), 1024)
    reduced = cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA)
    assert_images_close(reduced, small, max_abs=0.05, peak=1)


# --- what must not change -----------------------------------------------------------------------

LAYOUTS = [
    pixel_layout("420"),
    pixel_layout("420", 10, matrix="709"),
    pixel_layout("422", 10),
    pixel_layout("444", 12, is_full_range=True),
    pixel_layout("411"),
    pixel_layout("420", is_full_range=True),
]
every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
WIDE = np.array([[16 / 11, 0, 0.22], [0, 1, 0]])
PLACES = {
    "upright": matrix(1.7, 0, (90, 80)),
    "rolled": matrix(1.2, 33, (70, 71)),
    "coarse": matrix(0.6, -10, (95, 70)),
    "over the corner": matrix(1.5, 10, (5, 130)),
    "wide pixels, turned": compose(matrix(1.1, 0, (130, 70)), [[0, -1, 200], [1, 0, 0]], WIDE),
    "mirrored": compose(matrix(1.4, 20, (70, 70)), [[-1, 0, 156], [0, 1, 0]]),
    "tiny": matrix(10, 5, (40.3, 50.9)),
    "huge": matrix(0.1, 5, (90, 70)),
}
every_place = pytest.mark.parametrize("place", PLACES)


@every_layout
@every_place
def test_only_samples_under_the_mask_change(layout, place):
    frame = make_frame(textured_picture(157, 141), layout)
    before = [plane.copy() for plane in frame.planes]
    face = face_in(frame, PLACES[place], invert)
    planes, (region,) = blend_faces_into(frame, [face], [1.0], MASK)
    reach = cv2.dilate((MASK.weights > 0).astype(np.float32), np.ones((3, 3)))
    assert region is not None
    for index, (plane, original) in enumerate(zip(planes, before, strict=True)):
        np.testing.assert_array_equal(frame.planes[index], original)
        assert plane.dtype == original.dtype
        assert plane.shape == original.shape
        changed = plane != original
        there = positions(plane.shape, layout, index, PLACES[place])
        assert not changed[read(reach, there) == 0].any()
        assert changed[read(MASK.weights, there) > 0.5].mean() > 0.6
        shift_x, shift_y = (layout.chroma_shift_x, layout.chroma_shift_y) if index else (0, 0)
        rows, columns = np.nonzero(changed)
        assert region.left <= (columns.min() << shift_x)
        assert region.top <= (rows.min() << shift_y)
        assert min((columns.max() + 1) << shift_x, 157) <= region.right
        assert min((rows.max() + 1) << shift_y, 141) <= region.bottom
    assert 0 <= region.left < region.right <= 157
    assert 0 <= region.top < region.bottom <= 141


@pytest.mark.parametrize("strength", [0.0, -0.0])
def test_strength_zero_changes_nothing_at_all(strength):
    frame = make_frame(textured_picture(96, 80))
    face = face_in(frame, matrix(2, 0, (48, 40)), invert)
    planes, regions = blend_faces_into(frame, [face], [strength], MASK)
    assert all(new is old for new, old in zip(planes, frame.planes, strict=True))
    assert regions == (None,)


def test_a_face_outside_of_the_frame_is_not_painted():
    frame = make_frame(textured_picture(96, 80))
    faces = [
        face_in(frame, matrix(2, 0, centre), invert)
        for centre in [(-80, 40), (48, 200), (48, 40), (400, 40)]
    ]
    planes, regions = blend_faces_into(frame, faces, [1.0] * 4, MASK)
    assert [region is not None for region in regions] == [False, False, True, False]
    assert planes[0] is not frame.planes[0]
    planes, _ = blend_faces_into(frame, faces[:2], [1.0] * 2, MASK)
    assert all(new is old for new, old in zip(planes, frame.planes, strict=True))


def test_a_face_that_needs_no_restoring_stays_as_it_is():
    picture = textured_picture(160, 160, smooth_px=3)
    for layout in (pixel_layout("420"), pixel_layout("420", 10)):
        frame = make_frame(picture, layout)
        face = face_in(frame, matrix(1.6, 7, (80, 80)), identity)
        planes, _ = blend_faces_into(frame, [face], [1.0], MASK)
        peak = 2**layout.bits - 1
        for new, old in zip(planes, frame.planes, strict=True):
            scale = peak / 255
            assert_images_close(
                new, old, max_abs=12 * scale, mean_abs=0.8 * scale, peak=peak, what=layout.name
            )


# --- what must change ---------------------------------------------------------------------------


def _expected_blend(frame, faces, strengths, mask):
    """The formula over the whole frame in float64, for 4:4:4 and crops as fine as the film."""
    layout = frame.layout
    changes = np.zeros((*frame.planes[0].shape, 3))
    total = np.zeros(frame.planes[0].shape)
    film = np.stack(frame.planes, axis=-1).astype(np.float64)
    inside = mask.weights[..., None] / mask.weights.sum()
    for face, strength in zip(faces, strengths, strict=True):
        before, after = face.aligned.crop.astype(float), face.crop.astype(float)
        matched = after + ((before - after) * inside).sum(axis=(0, 1))
        there = positions(frame.planes[0].shape, layout, 0, face.aligned.crop_from_frame)
        yuv = yuv444_from_rgb(matched, layout)
        back = np.stack([read(yuv[..., k], there) for k in range(3)], axis=-1)
        weight = strength * read(mask.weights, there)
        changes += weight[..., None] * (back - film)
        total += weight
    film += changes / np.maximum(total, 1)[..., None]
    return np.clip(film, 0, 2**layout.bits - 1)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("strength", [1.0, 0.35])
def test_one_face_is_blended_by_the_formula(bits, strength):
    frame = make_frame(textured_picture(190, 170), pixel_layout("444", bits))
    other = textured_picture(SIZE, SIZE, seed=5)
    face = face_in(frame, matrix(1.0, 21, (97.4, 80.2)), lambda _: other)
    planes, _ = blend_faces_into(frame, [face], [strength], MASK)
    expected = _expected_blend(frame, [face], [strength], MASK)
    tolerance = 2 ** (bits - 8)
    assert_images_close(
        np.stack(planes, axis=-1), expected, max_abs=1.2 * tolerance, mean_abs=0.3 * tolerance
    )


def test_overlapping_faces_share_by_their_weights():
    """A chain: the first touches the second, the second the third; the fourth stands apart."""
    frame = make_frame(textured_picture(460, 200), pixel_layout("444"))
    centres = [(80, 90), (150, 110), (215, 85), (385, 100)]
    faces = [
        face_in(
            frame,
            matrix(1.0, 8 * k, centre),
            lambda _, k=k: textured_picture(SIZE, SIZE, seed=20 + k),
        )
        for k, centre in enumerate(centres)
    ]
    strengths = [1.0, 0.8, 1.0, 0.5]
    planes, regions = blend_faces_into(frame, faces, strengths, MASK)
    expected = _expected_blend(frame, faces, strengths, MASK)
    assert_images_close(np.stack(planes, axis=-1), expected, max_abs=1.2, mean_abs=0.3)
    assert regions[0].right > regions[1].left
    assert regions[2].right < regions[3].left


def test_the_order_of_faces_does_not_matter():
    frame = make_frame(textured_picture(240, 160))
    faces = [
        face_in(frame, matrix(1.3, 10, (90, 80)), invert),
        face_in(frame, matrix(1.1, -10, (140, 80)), lambda crop: crop[::-1]),
    ]
    planes, regions = blend_faces_into(frame, faces, [1.0, 0.7], MASK)
    swapped, swapped_regions = blend_faces_into(frame, faces[::-1], [0.7, 1.0], MASK)
    for a, b in zip(planes, swapped, strict=True):
        np.testing.assert_array_equal(a, b)
    assert regions == swapped_regions[::-1]


@every_layout
@every_place
def test_more_strength_never_changes_a_sample_less(layout, place):
    frame = make_frame(textured_picture(157, 141), layout)
    face = face_in(frame, PLACES[place], lambda crop: 4 * (crop.astype(float) - 128) + 128)
    last = [np.zeros(plane.shape) for plane in frame.planes]
    for strength in (0.001, 0.2, 0.5, 0.9, 1.0):
        planes, _ = blend_faces_into(frame, [face], [strength], MASK)
        for index, (new, old) in enumerate(zip(planes, frame.planes, strict=True)):
            change = np.abs(new.astype(float) - old)
            assert (change >= last[index]).all(), (strength, index)
            last[index] = change
    assert last[0].max() > 5


@every_layout
def test_the_restored_face_appears_in_every_layout(layout):
    """Colour and place: chroma that came back half a sample off would miss these bounds."""
    picture, wanted = (textured_picture(180, 160, seed=s, smooth_px=7) for s in (1, 2))
    crop_from_frame = matrix(1.5, 15, (88, 82))
    target = make_frame(wanted, pixel_layout("444", 12))
    frame = make_frame(picture, layout)
    face = face_in(
        frame, crop_from_frame, lambda _: crop_from_planes(target, crop_from_frame, SIZE)
    )
    planes, _ = blend_faces_into(frame, [face], [1.0], MASK)
    inside = MASK.weights[..., None] / MASK.weights.sum()
    shift = ((face.aligned.crop.astype(float) - face.crop) * inside).sum(axis=(0, 1))
    expected = make_frame(np.clip(wanted + shift, 0, 255), layout)
    scale = 2 ** (layout.bits - 8)
    for index, (new, old) in enumerate(zip(planes, expected.planes, strict=True)):
        there = positions(new.shape, layout, index, crop_from_frame)
        core = read(MASK.weights, there) > 0.9999
        assert core.sum() > 300
        assert_images_close(
            new[core] / scale, old[core] / scale, max_abs=6, mean_abs=0.75, what=f"plane {index}"
        )


@every_layout
@pytest.mark.parametrize("degrees", [0, 90])
def test_a_coloured_mark_lies_at_one_place_in_all_planes(layout, degrees):
    frame = make_frame(np.full((160, 160, 3), (140.0, 110, 95)), layout)
    crop_from_frame = matrix(1.6, degrees, (80.3, 79.6))
    y, x = np.indices((SIZE, SIZE))
    mark = np.exp(-((x - 70.0) ** 2 + (y - 57.0) ** 2) / 160)[..., None]
    face = face_in(frame, crop_from_frame, lambda crop: crop + mark * np.array([110.0, 20, -80]))
    planes, _ = blend_faces_into(frame, [face], [1.0], MASK)
    for index, (new, old) in enumerate(zip(planes, frame.planes, strict=True)):
        change = np.abs(new.astype(float) - old)
        change = np.clip(change - 0.25 * change.max(), 0, None)
        there = positions(new.shape, layout, index, crop_from_frame)
        found = (there * change[..., None]).sum(axis=(0, 1)) / change.sum()
        np.testing.assert_allclose(found, [70, 57], atol=0.2, err_msg=f"plane {index}")


@every_layout
def test_a_face_reaches_the_last_samples_of_an_odd_sized_frame(layout):
    frame = make_frame(textured_picture(35, 27), layout)
    face = face_in(frame, matrix(1.1, 0, (17, 13)), invert)
    planes, (region,) = blend_faces_into(frame, [face], [1.0], MASK)
    assert (region.left, region.top, region.right, region.bottom) == (0, 0, 35, 27)
    for new, old in zip(planes, frame.planes, strict=True):
        changed = new != old
        assert changed[-1].mean() > 0.6
        assert changed[:, -1].mean() > 0.6


def test_a_cast_of_the_network_does_not_show():
    frame = make_frame(textured_picture(150, 150), pixel_layout("420", 10))
    crop_from_frame = matrix(1.4, 0, (75, 75))
    plain = face_in(frame, crop_from_frame, lambda crop: crop[:, ::-1])
    cast = face_in(frame, crop_from_frame, lambda crop: crop[:, ::-1] + np.array([12.0, -9, 20]))
    expected, _ = blend_faces_into(frame, [plain], [1.0], MASK)
    planes, _ = blend_faces_into(frame, [cast], [1.0], MASK)
    for a, b in zip(planes, expected, strict=True):
        assert_images_close(a, b, max_abs=4, mean_abs=0.4, peak=1023)


def test_blending_has_no_bias():
    """Truncating would darken the face by half a level."""
    frame = make_frame(np.full((150, 150, 3), 121.3), pixel_layout("444"))
    noise = np.random.default_rng(0).normal(0, 6, (SIZE, SIZE, 1))
    face = face_in(frame, matrix(1.0, 12, (75, 75)), lambda crop: crop + noise)
    planes, _ = blend_faces_into(frame, [face], [0.6], MASK)
    changed = planes[0] != frame.planes[0]
    assert changed.sum() > 4000
    assert planes[0].mean() - frame.planes[0].mean() == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("bits", [8, 10])
def test_samples_are_clipped_and_never_wrap(bits):
    """Matching the means pushes the white of a nearly white face with dark spots over the top."""
    layout = pixel_layout("420", bits, is_full_range=True)
    frame = make_frame(np.full((150, 150, 3), (250.0, 246, 243)), layout)
    crop_from_frame = matrix(1.0, 0, (75, 75))
    spots = textured_picture(SIZE, SIZE, seed=3)[..., :1] < 90
    face = face_in(frame, crop_from_frame, lambda crop: np.where(spots, 10, crop))
    planes, _ = blend_faces_into(frame, [face], [1.0], MASK)
    peak = 2**bits - 1
    there = positions((150, 150), layout, 0, crop_from_frame)
    core = read(MASK.weights, there) == 1
    is_white = read(cv2.dilate(spots.astype(np.uint8), np.ones((3, 3))), there) == 0
    assert (planes[0][core & is_white] == peak).mean() > 0.9
    assert planes[0][core & ~is_white].min() < 0.3 * peak
    assert max(int(plane.max()) for plane in planes) <= peak


# --- faces larger than the crop -----------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS[:3], ids=lambda layout: layout.name)
def test_detail_that_the_crop_cannot_hold_stays_in_the_film(layout):
    """The film's finest pattern survives while the restored, coarser change is painted."""
    smooth = textured_picture(420, 420, smooth_px=12).astype(float)
    fine = 8.0 * (-1) ** np.indices((420, 420)).sum(axis=0)[..., None]
    frame = make_frame(np.clip(smooth + fine, 0, 255), layout)
    crop_from_frame = matrix(0.36, 9, (210, 210))
    bump = 30 * np.cos(np.arange(SIZE) / 9)[:, None, None] * np.ones((1, SIZE, 1))
    face = face_in(frame, crop_from_frame, lambda crop: crop + bump)
    planes, _ = blend_faces_into(frame, [face], [1.0], MASK)
    change = planes[0].astype(float) - frame.planes[0]
    core = read(MASK.weights, positions((420, 420), layout, 0, crop_from_frame)) > 0.999
    assert np.abs(change[core]).mean() > 10 * 2 ** (layout.bits - 8)
    high_pass = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]) / 8
    new = cv2.filter2D(planes[0].astype(np.float64), -1, high_pass)[core]
    old = cv2.filter2D(frame.planes[0].astype(np.float64), -1, high_pass)[core]
    assert (new * old).mean() / (old * old).mean() == pytest.approx(1, abs=0.02)


def test_a_large_face_that_needs_no_restoring_stays_exactly_as_it_is():
    frame = make_frame(textured_picture(320, 320))
    face = face_in(frame, matrix(1 / 1.6, 9, (160, 160)), identity)
    planes, (region,) = blend_faces_into(frame, [face], [1.0], MASK)
    for new, old in zip(planes, frame.planes, strict=True):
        np.testing.assert_array_equal(new, old)
    assert region is not None


def test_a_growing_face_keeps_more_and_more_of_the_film_without_a_jump():
    """What an identical crop takes away from the film's noise goes to 0 in small steps."""
    noise = np.random.default_rng(0).normal(0, 12, (330, 330, 1))
    frame = make_frame(np.full((330, 330, 3), (150.0, 120, 100)) + noise, pixel_layout("420", 10))
    lost = []
    for film_per_crop in np.geomspace(0.95, 1.6, 53):
        crop_from_frame = matrix(1 / film_per_crop, 9, (165, 165))
        face = face_in(frame, crop_from_frame, identity)
        planes, _ = blend_faces_into(frame, [face], [1.0], MASK)
        core = (slice(135, 195), slice(135, 195))
        lost.append(np.std(planes[0][core].astype(float) - frame.planes[0][core]))
    lost = np.array(lost)
    assert lost[0] > 15
    assert lost[-1] == 0
    assert np.abs(np.diff(lost)).max() < 0.08 * lost.max()
    assert (np.diff(lost)[20:] <= 0.01 * lost.max()).all()


# --- grey ---------------------------------------------------------------------------------------


def test_a_grey_film_stays_grey():
    grey = np.repeat(textured_picture(150, 150)[..., :1], 3, axis=2)
    for layout in LAYOUTS:
        frame = make_frame(grey, layout)
        face = face_in(
            frame, matrix(1.4, 10, (75, 75)), lambda crop: crop + np.array([40.0, 5, -30])
        )
        planes, _ = blend_faces_into(frame, [face], [1.0], MASK)
        assert planes[1] is frame.planes[1]
        assert planes[2] is frame.planes[2]
        face = face_in(frame, matrix(1.4, 10, (75, 75)), invert)
        assert blend_faces_into(frame, [face], [1.0], MASK)[0][0] is not frame.planes[0]


def test_noise_in_the_chroma_of_a_grey_tape_is_still_grey():
    rng = np.random.default_rng(0)
    luma = textured_picture(160, 160)[..., 1].copy()
    chroma = [np.rint(rng.normal(128, 4, (80, 80))).astype(np.uint8) for _ in range(2)]
    frame = frame_from_planes((luma, *chroma), pixel_layout("420"))
    face = face_in(frame, matrix(0.9, 0, (80, 80)), lambda crop: crop + np.array([40.0, 5, -30]))
    planes, _ = blend_faces_into(frame, [face], [1.0], MASK)
    assert planes[1] is frame.planes[1]


def test_colour_comes_in_step_by_step_as_the_film_gains_colour():
    """The film's face goes from grey to skin; the restored one has a colourful pattern on it."""
    pattern = 60 * np.sin(np.arange(SIZE) / 7)[None, :, None] * np.array([1.0, -0.5, 0])
    noise = np.random.default_rng(0).normal(0, 3, (150, 150, 3))
    added = []
    for saturation in np.linspace(0, 0.3, 61):
        skin = 150 + saturation * np.array([48.0, 0, -22])
        frame = make_frame(skin + noise, pixel_layout("444", 10))
        face = face_in(frame, matrix(1.0, 0, (75, 75)), lambda crop: crop + pattern)
        planes, _ = blend_faces_into(frame, [face], [1.0], MASK)
        added.append(np.std(planes[2].astype(float) - frame.planes[2]))
    added = np.array(added)
    assert added[0] == 0
    assert added[-1] > 20
    assert np.abs(np.diff(added)).max() < 0.13 * added[-1]
    assert added[-1] == pytest.approx(added[-8], rel=0.02)


# --- geometry end to end, and the reference program ---------------------------------------------


@pytest.mark.parametrize("turn", [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, 1), (0, -1, -1, 0)])
@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(16, 11)])
def test_a_mark_painted_at_a_place_of_the_display_appears_there(turn, aspect):
    flat = np.full((120, 140, 3), (140.0, 110, 95))
    frame = make_frame(flat, pixel_layout("444", 10), turn=turn, pixel_aspect=aspect)
    to_display = display_from_frame(frame.geometry)
    spot = np.array([[66.0, 58.0]])
    crop_from_display = matrix(2.0, 0, spot[0] + [9, 4])
    crop_from_frame = compose(crop_from_display, to_display)
    y, x = np.indices((SIZE, SIZE))
    mark_x, mark_y = transform_points(crop_from_display, spot)[0]
    mark = 90 * np.exp(-((x - mark_x) ** 2 + (y - mark_y) ** 2) / 50)[..., None]
    face = face_in(frame, crop_from_frame, lambda crop: crop + mark)
    planes, _ = blend_faces_into(frame, [face], [1.0], MASK)
    change = (planes[0].astype(float) - frame.planes[0]).clip(min=40)
    change -= 40
    rows, columns = np.indices(change.shape)
    found = [(columns * change).sum() / change.sum(), (rows * change).sum() / change.sum()]
    expected = transform_points(invert_affine(to_display), spot)[0]
    np.testing.assert_allclose(found, expected, atol=0.1)


@pytest.mark.parametrize("alpha", [1.0, 0.7])
def test_two_faces_are_put_where_the_reference_program_puts_them(shared_dir: Path, alpha):
    """With the reference's own mask, and where only one face is, the methods agree.

    Left out on purpose: the feathers (the reference replaces where it overlaps, this shares), and
    the mean colour, which this keeps as in the film: it is predicted and taken off. The picture's
    one-pixel lines come back softer than in the reference, which aliases; hence a percentile
    besides the mean.
    """
    golden = np.load(shared_dir / "golden" / "paste.npz")
    rgb = golden["frame_bgr_u8"][..., ::-1]
    expected = golden[f"gpen/output_alpha{alpha}"][..., ::-1].astype(float)
    weights = golden["gpen/soft_mask_512"].astype(np.float32)
    mask = FaceMask.of(weights)
    layout = pixel_layout("444", 10, is_full_range=True)
    frame = make_frame(rgb, layout)
    template = landmark_template(Template.GPEN, 512)
    matrices = [similarity_transform(points, template) for points in golden["landmarks"]]
    faces = [face_in(frame, crop_from_frame, invert, 512) for crop_from_frame in matrices]
    coverage = [sample_mask(weights, m, (0, 0, 320, 240)) for m in matrices]

    planes, _ = blend_faces_into(frame, faces, [alpha] * 2, mask)
    outside = (coverage[0] == 0) & (coverage[1] == 0)
    assert outside.sum() > 30000
    ours = picture_of(planes, layout)
    np.testing.assert_array_equal(ours[outside], rgb[outside])
    np.testing.assert_array_equal(expected[outside], rgb[outside])

    inside = weights[..., None] / weights.sum()
    for k, (face, share) in enumerate(zip(faces, coverage, strict=True)):
        alone = (share > 0.999) & (coverage[1 - k] == 0)
        assert alone.sum() > 2000
        before, after = face.aligned.crop.astype(float), face.crop.astype(float)
        shift = alpha * ((before - after) * inside).sum(axis=(0, 1))
        planes, _ = blend_faces_into(frame, [face], [alpha], mask)
        difference = np.abs(picture_of(planes, layout)[alone] - shift - expected[alone])
        assert difference.mean() < 1.4
        assert np.quantile(difference, 0.95) < 6
