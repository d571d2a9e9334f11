import numpy as np
import pytest

from tests.support.fakes import frame_at, landmarks_at
from vidrestore.contracts import FaceTrack, TrackedFrame
from vidrestore.core.face_choice import FaceChooser
from vidrestore.core.face_index import FaceIndex, KnownFace, place_of, thinned
from vidrestore.settings import FaceChoice


def known(number, *seen, **wishes):
    return KnownFace(number, np.array(seen, np.float64), **wishes)


def standing(number, x, first=0.0, last=10.0, width=40.0, **wishes):
    return known(number, (first, x, 50, width), (last, x, 50, width), **wishes)


def ids(index, seconds, *places):
    found = index.recognise(seconds, np.array(places, np.float64).reshape(-1, 3))
    return [None if face is None else face.face_id for face in found]


def test_the_width_is_twice_the_distance_of_the_eyes_of_a_frontal_face_and_stays_when_it_turns():
    frontal = landmarks_at(30, 40, 20)
    x, y, width = place_of(frontal)
    assert (x, y) == pytest.approx((30, 40), abs=1e-4)
    assert width == pytest.approx(2 * np.linalg.norm(frontal[1] - frontal[0]), rel=0.15)
    turned = (frontal - (30, 40)) * (0.7, 1) + (30, 40)
    assert place_of(turned.astype(np.float32))[2] > 0.8 * width


def test_a_face_is_found_between_its_sightings_on_the_straight_line():
    index = FaceIndex([known(4, (2, 100, 50, 40), (4, 200, 90, 80))])
    assert ids(index, 3, (150, 70, 60)) == [4]
    assert ids(index, 3, (100, 50, 40)) == [None]
    assert ids(index, 3, (200, 90, 80)) == [None]


def test_half_a_face_width_is_the_border():
    index = FaceIndex([standing(1, 100)])
    assert ids(index, 5, (119, 50, 40)) == [1]
    assert ids(index, 5, (121, 50, 40)) == [None]
    assert ids(index, 5, (100, 50, 66), (300, 50, 40)) == [None, None]  # a much larger face
    assert ids(index, 5, (100, 50, 60)) == [1]


def test_a_face_is_there_from_its_first_to_its_last_sighting_but_for_rounding():
    index = FaceIndex([standing(1, 100, first=2.346, last=3.413)])
    assert ids(index, 2.3456, (100, 50, 40)) == [1]
    assert ids(index, 3.4135, (100, 50, 40)) == [1]
    assert ids(index, 2.306, (100, 50, 40)) == [None]
    assert ids(index, 3.453, (100, 50, 40)) == [None]


def test_pairing_is_one_to_one_and_the_nearest_in_all():
    index = FaceIndex([standing(1, 100), standing(2, 118)])
    # the first place is nearer to face 2, but so is the second, by more
    assert ids(index, 5, (110, 50, 40), (117, 50, 40)) == [1, 2]
    assert ids(index, 5, (117, 50, 40), (110, 50, 40)) == [2, 1]
    assert ids(index, 5, (110, 50, 40), (117, 50, 40), (100, 50, 40)).count(None) == 1


def test_where_nobody_is_nobody_is_found():
    index = FaceIndex([standing(1, 100)])
    assert ids(index, 5) == []
    assert ids(index, 50, (100, 50, 40)) == [None]


def test_a_thinned_path_is_short_and_true():
    seconds = np.arange(300) / 25
    x = 200 + 80 * np.sin(seconds * 1.3)
    path = np.stack([seconds, x, np.full(300, 90.0), 40 + seconds], axis=1)
    few = thinned(path)
    assert len(few) < 40
    np.testing.assert_array_equal(few[[0, -1]], path[[0, -1]])
    error = np.abs(np.interp(seconds, few[:, 0], few[:, 1]) - x) / path[:, 3]
    assert 0.02 < error.max() <= 0.05
    still = np.stack([seconds, *np.full((3, 300), 50.0)], axis=1)
    assert len(thinned(still)) == 2
    assert len(thinned(path[:1])) == 1


def scene(seconds, *faces):
    """A frame with faces (x, size), all fully there."""
    tracks = tuple(
        FaceTrack(k + 7, landmarks_at(x, 50, size), None, 0.9, 1.0)
        for k, (x, size) in enumerate(faces)
    )
    return TrackedFrame(frame_at(round(seconds * 25)), tracks, False)


def shown(chooser, item):
    return {t.face_id: t.strength for t in chooser.choose(item).tracks}


WIDTH = place_of(landmarks_at(0, 0, 12))[2]
TWO = (standing(3, 100, width=WIDTH), standing(5, 200, width=WIDTH, restore=False, strength=0.5))


def test_without_known_faces_nothing_changes():
    item = scene(1, (100, 12), (200, 12))
    tracks = FaceChooser(FaceChoice.ALL).choose(item).tracks
    assert [(t.track_id, t.face_id, t.strength) for t in tracks] == [(7, None, 1), (8, None, 1)]


def test_ids_select_whatever_restore_says_and_strength_weakens():
    item = scene(1, (100, 12), (200, 12), (300, 12))
    assert shown(FaceChooser((3,), TWO), item) == {3: 1.0}
    assert shown(FaceChooser((5,), TWO), item) == {5: 0.5}
    assert shown(FaceChooser((3, 5), TWO), item) == {3: 1.0, 5: 0.5}


def test_everyone_is_all_but_those_not_to_be_restored():
    item = scene(1, (100, 12), (200, 12), (300, 12))
    assert shown(FaceChooser(FaceChoice.ALL, TWO), item) == {3: 1.0, None: 1.0}


def test_the_largest_is_that_of_those_to_be_restored():
    assert shown(FaceChooser(FaceChoice.LARGEST, TWO), scene(1, (100, 12), (200, 16))) == {3: 1.0}
    both = (TWO[0], standing(5, 200, width=16 / 12 * WIDTH, strength=0.5))
    assert shown(FaceChooser(FaceChoice.LARGEST, both), scene(1, (100, 12), (200, 16))) == {5: 0.5}


def test_frames_with_strangers_are_counted():
    chooser = FaceChooser((3,), TWO)
    for item in (scene(1, (100, 12)), scene(1, (100, 12), (300, 12), (400, 12)), scene(1)):
        chooser.choose(item)
    assert chooser.num_frames_with_strangers == 1
