"""Aligning: the right crops, for the right faces, whatever way the film is stored."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from tests.support.images import assert_images_close, make_frame, pixel_layout, textured_picture
from vidrestore.contracts import FaceTrack, TrackedFrame
from vidrestore.core.geometry import transform_points
from vidrestore.models.registry import Template, landmark_template
from vidrestore.stages.align import align_faces

SIZE = 64
TEMPLATE = landmark_template(Template.FFHQ, SIZE)
SHARP = pixel_layout("444", 10, is_full_range=True)

# What is stored, for a picture that is to be seen, under each of the display matrix's signs.
STORED = {
    (1, 0, 0, 1): lambda a: a,
    (-1, 0, 0, 1): lambda a: a[:, ::-1],
    (1, 0, 0, -1): lambda a: a[::-1],
    (-1, 0, 0, -1): lambda a: a[::-1, ::-1],
    (0, 1, 1, 0): lambda a: a.swapaxes(0, 1),
    (0, 1, -1, 0): lambda a: np.rot90(a, 1),
    (0, -1, 1, 0): lambda a: np.rot90(a, -1),
    (0, -1, -1, 0): lambda a: a[::-1, ::-1].swapaxes(0, 1),
}


def face_at(x, y, scale=0.8, track_id=1, strength=1.0):
    """A track whose face lies about (x, y) of the display."""
    landmarks = ((TEMPLATE - SIZE / 2) * scale + [x, y]).astype(np.float32)
    return FaceTrack(track_id, landmarks, landmarks, 0.9, strength)


def align(frame, *tracks):
    (aligned,) = align_faces(iter([TrackedFrame(frame, tracks, False)]), TEMPLATE, SIZE)
    return aligned.faces


@pytest.mark.parametrize("turn", STORED)
def test_a_face_is_upright_in_its_crop_however_the_film_is_stored(turn):
    shown = textured_picture(150, 110, smooth_px=4)
    (expected,) = align(make_frame(shown, SHARP), face_at(82, 50))
    (face,) = align(make_frame(STORED[turn](shown), SHARP, turn=turn), face_at(82, 50))
    assert_images_close(face.crop, expected.crop, max_abs=1)
    np.testing.assert_allclose(
        face.crop[20:40, 20:40].mean(axis=(0, 1)),
        cv2.resize(shown[35:51, 67:83], (1, 1), interpolation=cv2.INTER_AREA)[0, 0],
        atol=25,
    )


@pytest.mark.parametrize("turn", [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, 1)])
def test_wide_pixels_make_no_wide_faces(turn):
    aspect = Fraction(3, 2)
    shown = textured_picture(150, 110, smooth_px=6)
    (expected,) = align(make_frame(shown, SHARP), face_at(75, 52))
    stored = STORED[turn](shown)
    narrow = cv2.resize(
        stored, (stored.shape[1] * 2 // 3, stored.shape[0]), interpolation=cv2.INTER_AREA
    )
    frame = make_frame(narrow, SHARP, turn=turn, pixel_aspect=aspect)
    (face,) = align(frame, face_at(75, 52))
    assert_images_close(face.crop, expected.crop, max_abs=12, mean_abs=1.5)


def test_the_matrix_takes_the_landmarks_to_the_template():
    frame = make_frame(textured_picture(96, 80))
    (face,) = align(frame, face_at(44, 37, scale=0.5))
    landmarks = transform_points(face.crop_from_frame, face.track.landmarks)
    np.testing.assert_allclose(landmarks, TEMPLATE, atol=1e-4)
    assert face.crop.shape == (SIZE, SIZE, 3)
    assert face.crop.dtype == np.uint8


def test_faces_that_are_not_shown_get_no_crop():
    frame = make_frame(textured_picture(96, 80))
    nowhere = FaceTrack(3, np.full((5, 2), 40, np.float32), None, 0.9, 1.0)
    unknown = FaceTrack(4, np.full((5, 2), np.nan, np.float32), None, 0.9, 1.0)
    tracks = (
        face_at(30, 30, track_id=1, strength=0.0),
        nowhere,
        unknown,
        face_at(60, 40, track_id=5, strength=0.01),
    )
    assert [face.track.track_id for face in align(frame, *tracks)] == [5]


def test_frames_leave_one_by_one_and_in_order():
    frames = [make_frame(textured_picture(64, 64), tick=tick) for tick in range(4)]
    tracked = [
        TrackedFrame(frames[0], (), True),
        TrackedFrame(frames[1], (face_at(30, 30, track_id=7), face_at(40, 40, track_id=8)), False),
        TrackedFrame(frames[2], (face_at(30, 30, strength=0),), False),
        TrackedFrame(frames[3], (face_at(30, 30),), True),
    ]
    taken = []

    def source():
        for item in tracked:
            taken.append(item)
            yield item

    out = []
    for aligned in align_faces(source(), TEMPLATE, SIZE):
        out.append(aligned)
        assert len(taken) == len(out)
    assert [aligned.frame for aligned in out] == frames
    assert [aligned.is_cut for aligned in out] == [True, False, False, True]
    assert [len(aligned.faces) for aligned in out] == [0, 2, 0, 1]
    assert [face.track.track_id for face in out[1].faces] == [7, 8]
