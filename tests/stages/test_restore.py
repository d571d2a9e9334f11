import dataclasses

import numpy as np
import pytest

from tests.support.fakes import FakeRestorer, frame_at, landmarks_at
from vidrestore.contracts import AlignedFace, AlignedFrame, FaceTrack
from vidrestore.stages.restore import restore_faces


def aligned(tick, num_faces):
    track = FaceTrack(1, landmarks_at(30, 30, 10), None, 1.0, 1.0)
    faces = tuple(
        AlignedFace(track, np.full((64, 64, 3), (10 * k + tick) % 256, np.uint8), np.eye(2, 3))
        for k in range(num_faces)
    )
    return AlignedFrame(frame=frame_at(tick), faces=faces, is_cut=tick == 0)


def negative(crop):
    return 255 - crop


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_each_face_gets_its_own_crop_back_in_order(batch_size):
    counts = [1, 0, 2, 5, 0, 0, 1, 3, 0, 1] * 3
    frames = [aligned(k, n) for k, n in enumerate(counts)]
    items = list(restore_faces(iter(frames), FakeRestorer(negative, batch_size=batch_size)))
    assert [i.frame.tick for i in items] == list(range(len(counts)))
    for item, source in zip(items, frames, strict=True):
        assert len(item.faces) == len(source.faces)
        for face, before in zip(item.faces, source.faces, strict=True):
            assert face.aligned is before
            np.testing.assert_array_equal(face.crop, negative(before.crop))


def test_batches_are_filled_across_frames():
    restorer = FakeRestorer(batch_size=4)
    list(restore_faces((aligned(k, 1) for k in range(16)), restorer))
    assert restorer.batches == [4, 4, 4, 4]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_the_crops_of_a_repeated_picture_are_restored_once(batch_size):
    restorer = FakeRestorer(negative, batch_size=batch_size)
    frames = [
        dataclasses.replace(aligned(k, 1), faces=aligned(k // 3 * 3, 1).faces) for k in range(12)
    ]
    items = list(restore_faces(iter(frames), restorer))
    assert sum(restorer.batches) == 4
    for item, source in zip(items, frames, strict=True):
        assert item.faces[0].aligned is source.faces[0]
        np.testing.assert_array_equal(item.faces[0].crop, negative(source.faces[0].crop))


def test_two_batches_are_under_way_and_never_more():
    restorer = FakeRestorer(batch_size=1)
    list(restore_faces((aligned(k, 1) for k in range(20)), restorer))
    assert restorer.most_pending == 2


def test_a_crowd_in_one_frame_is_no_exception():
    restorer = FakeRestorer(batch_size=2)
    (item,) = restore_faces(iter([aligned(0, 30)]), restorer)
    assert len(item.faces) == 30
    assert restorer.most_pending == 2


def test_frames_without_faces_do_not_wait():
    taken = []

    def film():
        for k in range(100):
            taken.append(k)
            yield aligned(k, 0)

    for item in restore_faces(film(), FakeRestorer(batch_size=8)):
        assert taken[-1] == item.frame.tick


def test_a_lonely_face_does_not_hold_up_the_film():
    """After one face and then none, frames must not pile up behind the batch that never fills."""
    taken = []

    def film():
        for k in range(300):
            taken.append(k)
            yield aligned(k, int(k == 0))

    restorer = FakeRestorer(batch_size=4)
    for item in restore_faces(film(), restorer):
        assert taken[-1] - item.frame.tick <= 20
    assert restorer.batches == [1]
