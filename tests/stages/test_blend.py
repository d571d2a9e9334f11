"""Blending as a stage: what passes through, what is weighed how, and what is reported."""

import numpy as np
import pytest

from tests.support.images import make_frame, textured_picture
from vidrestore.contracts import AlignedFace, FaceTrack, RestoredFace, RestoredFrame
from vidrestore.core.warping import crop_from_planes
from vidrestore.models.registry import Template, landmark_template
from vidrestore.settings import BlendSettings
from vidrestore.stages.blend import blend_faces

SIZE = 64
TEMPLATE = landmark_template(Template.GPEN, SIZE)


def face_at(frame, x, y, strength=1.0, track_id=1):
    crop_from_frame = np.array([[1.0, 0, SIZE / 2 - x], [0, 1, SIZE / 2 - y]])
    crop = crop_from_planes(frame, crop_from_frame, SIZE)
    track = FaceTrack(track_id, np.zeros((5, 2), np.float32), None, 0.9, strength)
    return RestoredFace(AlignedFace(track, crop, crop_from_frame), 255 - crop, strength)


def blend(restored, strength=1.0):
    frames = blend_faces(iter(restored), BlendSettings(strength=strength), TEMPLATE, SIZE)
    return list(frames)


def change(blended):
    planes = zip(blended.frame.planes, blended.original.planes, strict=True)
    return sum(float(np.abs(new.astype(float) - old).sum()) for new, old in planes)


def test_a_frame_without_faces_passes_through_as_the_same_object():
    frame = make_frame(textured_picture(96, 80))
    (blended,) = blend([RestoredFrame(frame, (), True)])
    assert blended.frame is frame
    assert blended.original is frame
    assert blended.faces == blended.regions == ()
    assert blended.is_cut


@pytest.mark.parametrize(("track_strength", "setting"), [(0.0, 1.0), (1.0, 0.0)])
def test_strength_zero_passes_the_frame_through_as_the_same_object(track_strength, setting):
    frame = make_frame(textured_picture(96, 80))
    restored = RestoredFrame(frame, (face_at(frame, 48, 40, track_strength),), False)
    (blended,) = blend([restored], setting)
    assert blended.frame is blended.original is frame
    assert blended.faces == restored.faces
    assert blended.regions == (None,)


def test_a_painted_frame_is_a_new_one_that_differs_in_its_planes_only():
    frame = make_frame(textured_picture(96, 80), tick=11)
    before = [plane.copy() for plane in frame.planes]
    face = face_at(frame, 48, 40)
    (blended,) = blend([RestoredFrame(frame, (face,), False)])
    assert blended.original is frame
    assert blended.frame is not frame
    for name in ("pts", "time_base", "duration", "seconds", "tick", "layout", "geometry"):
        assert getattr(blended.frame, name) == getattr(frame, name)
    for new, old, plane in zip(blended.frame.planes, before, frame.planes, strict=True):
        np.testing.assert_array_equal(plane, old)
        assert (new != old).any()
    assert blended.faces == (face,)
    (region,) = blended.regions
    outside = np.ones(before[0].shape, bool)
    outside[region.top : region.bottom, region.left : region.right] = False
    assert outside.any()
    np.testing.assert_array_equal(blended.frame.planes[0][outside], before[0][outside])


def test_track_and_setting_multiply():
    frame = make_frame(textured_picture(96, 80))

    def planes(track_strength, setting):
        restored = RestoredFrame(frame, (face_at(frame, 48, 40, track_strength),), False)
        return blend([restored], setting)[0]

    half, also_half, full = planes(0.5, 1.0), planes(1.0, 0.5), planes(1.0, 1.0)
    for a, b in zip(half.frame.planes, also_half.frame.planes, strict=True):
        np.testing.assert_array_equal(a, b)
    assert change(half) == pytest.approx(change(full) / 2, rel=0.02)
    assert change(planes(0.5, 0.5)) == pytest.approx(change(full) / 4, rel=0.04)


def test_each_face_is_reported_with_its_region_or_none():
    frame = make_frame(textured_picture(240, 90))
    faces = (
        face_at(frame, 40, 45, track_id=1),
        face_at(frame, 120, 45, strength=0.0, track_id=2),
        face_at(frame, 900, 45, track_id=3),
        face_at(frame, 200, 45, strength=0.3, track_id=4),
    )
    (blended,) = blend([RestoredFrame(frame, faces, False)])
    assert blended.faces == faces
    first, second, third, fourth = blended.regions
    assert second is third is None
    assert first.left < 40 < first.right <= fourth.left < 200 < fourth.right


def test_frames_leave_one_by_one_and_in_order():
    frames = [make_frame(textured_picture(80, 72), tick=tick) for tick in range(3)]
    items = [
        RestoredFrame(frames[0], (face_at(frames[0], 40, 36),), True),
        RestoredFrame(frames[1], (), False),
        RestoredFrame(frames[2], (face_at(frames[2], 40, 36),), False),
    ]
    taken = []

    def source():
        for item in items:
            taken.append(item)
            yield item

    out = []
    for blended in blend_faces(source(), BlendSettings(), TEMPLATE, SIZE):
        out.append(blended)
        assert len(taken) == len(out)
    assert [blended.original for blended in out] == frames
    assert [blended.is_cut for blended in out] == [True, False, False]
    assert [len(blended.faces) for blended in out] == [1, 0, 1]
