import numpy as np
import pytest

from tests.support.fakes import landmarks_at, observation
from vidrestore.core.tracking import FaceTracker
from vidrestore.core.tracks import Run


def run_tracker(paths, num_ticks, every=3, horizon=12, cuts=(), fade=5):
    """Track faces given as functions tick -> landmarks or None; describe every frame at the end."""
    tracker = FaceTracker(horizon, horizon or 12, fade, max(1, horizon))
    shots, described = [], []
    for tick in range(num_ticks):
        if tick == 0 or tick in cuts:
            shots.append((tracker.cut(), []))
        shots[-1][1].append(tick)
        if tick % every == 0 or tick in cuts:
            seen = [p(tick) for p in paths]
            tracker.search(tick, tick / 25, [observation(p) for p in seen if p is not None])
    for shot, ticks in shots:
        described += tracker.describe(shot, ticks, [t / 25 for t in ticks])
    return described


def test_one_face_keeps_one_identity_and_is_interpolated_between_searches():
    described = run_tracker([lambda t: landmarks_at(100 + 2 * t, 80, 20)], 60)
    assert {len(faces) for faces in described} == {1}
    assert {faces[0].track_id for faces in described} == {1}
    for tick, (face,) in enumerate(described):
        assert np.abs(face.landmarks - landmarks_at(100 + 2 * tick, 80, 20)).max() < 0.3
        assert (face.measured is not None) == (tick % 3 == 0)


def test_two_faces_that_pass_each_other_keep_their_identities():
    def left_to_right(t):
        return landmarks_at(60 + 4 * t, 100, 20)

    def right_to_left(t):
        return landmarks_at(340 - 4 * t, 150, 24)

    described = run_tracker([left_to_right, right_to_left], 70)
    for tick, faces in enumerate(described):
        by_id = {f.track_id: f.landmarks.mean(axis=0) for f in faces}
        assert len(by_id) == 2
        assert abs(by_id[1][0] - (60 + 4 * tick)) < 2
        assert abs(by_id[2][0] - (340 - 4 * tick)) < 2


def test_a_short_gap_is_bridged_at_full_strength():
    def blinking(t):
        return None if 20 <= t < 28 else landmarks_at(100 + t, 80, 20)

    described = run_tracker([blinking], 60)
    assert {faces[0].track_id for faces in described} == {1}
    assert all(faces[0].strength == 1 for faces in described)
    for tick in range(20, 28):
        assert np.abs(described[tick][0].landmarks - landmarks_at(100 + tick, 80, 20)).max() < 0.5


def test_a_face_that_leaves_fades_out_after_it_was_last_seen():
    described = run_tracker([lambda t: landmarks_at(100, 80, 20) if t <= 30 else None], 60)
    strengths = [faces[0].strength if faces else 0.0 for faces in described]
    assert strengths[:31] == [1.0] * 31
    np.testing.assert_allclose(strengths[31:36], [5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert strengths[36:] == [0.0] * 24


def test_a_face_that_comes_fades_in_but_one_that_was_there_does_not():
    described = run_tracker([lambda t: landmarks_at(100, 80, 20) if t >= 30 else None], 60)
    strengths = [faces[0].strength if faces else 0.0 for faces in described]
    assert strengths[:30] == [0.0] * 30
    np.testing.assert_allclose(strengths[30:35], [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert strengths[35:] == [1.0] * 25
    there = run_tracker([lambda t: landmarks_at(100, 80, 20)], 10)
    assert [faces[0].strength for faces in there] == [1.0] * 10


def test_no_strength_step_is_larger_than_a_quarter():
    def comes_and_goes(t):
        return landmarks_at(100, 80, 20) if 10 <= t < 25 or 60 <= t < 75 else None

    described = run_tracker([comes_and_goes], 100)
    strengths = np.array([faces[0].strength if faces else 0.0 for faces in described])
    assert strengths.max() == 1
    assert np.abs(np.diff(strengths)).max() <= 0.25


def test_a_false_alarm_seen_once_is_never_shown():
    described = run_tracker(
        [
            lambda t: landmarks_at(100, 80, 20),
            lambda t: landmarks_at(300, 200, 15) if t == 30 else None,
        ],
        60,
    )
    assert {len(faces) for faces in described} == {1}


def test_a_film_of_one_frame_shows_its_face():
    described = run_tracker([lambda t: landmarks_at(100, 80, 20)], 1)
    assert described[0][0].strength == 1


def test_nothing_mixes_across_a_cut():
    def jumps(t):
        return landmarks_at(100, 80, 20) if t < 31 else landmarks_at(130, 95, 22)

    described = run_tracker([jumps], 60, cuts=(31,))
    for tick, (face,) in enumerate(described):
        assert np.abs(face.landmarks - jumps(tick)).max() < 0.05
        assert face.strength == 1
        assert face.track_id == (1 if tick < 31 else 2)


def test_an_outlier_of_the_detector_does_not_move_the_face():
    def with_outlier(t):
        return landmarks_at(100 + (30 if t == 30 else 0), 80, 20)

    described = run_tracker([with_outlier], 60)
    for (face,) in described:
        assert np.abs(face.landmarks - landmarks_at(100, 80, 20)).max() < 0.5


@pytest.mark.parametrize("hertz", [1, 2, 4])
@pytest.mark.parametrize("reach", [5, 15])
def test_a_shaken_face_is_never_lost_from_sight(hertz, reach):
    """Searched eight times a second, a fast shake cannot be followed, but it must not run away."""

    def shaken(t):
        return landmarks_at(200 + reach * np.sin(2 * np.pi * hertz * t / 25 + 0.4), 120, 20)

    for tick, faces in enumerate(run_tracker([shaken], 75)):
        assert len(faces) >= 1
        error = min(np.abs(f.landmarks - shaken(tick)).max() for f in faces)
        assert error <= 4 * reach


def test_a_face_that_is_gone_after_lost_pictures_is_not_painted():
    tracker = FaceTracker(12, 12, 5, 12)
    shot = tracker.cut()
    ticks = [*range(31), *range(50, 80)]
    for tick in ticks:
        if tick % 3 == 0:
            seen = [observation(landmarks_at(100, 80, 20))] if tick <= 30 else []
            tracker.search(tick, tick / 25, seen)
    described = dict(
        zip(ticks, tracker.describe(shot, ticks, [t / 25 for t in ticks]), strict=True)
    )
    assert described[30][0].strength == 1
    assert all(described[tick] == () for tick in range(50, 80))


def test_a_long_lookahead_remembers_as_long():
    def hidden(t):
        return None if 60 <= t < 150 else landmarks_at(100 + t, 80, 20)

    tracker = FaceTracker(120, 120, 5, 120)
    shot = tracker.cut()
    for tick in range(0, 301, 3):
        face = hidden(tick)
        tracker.search(tick, tick / 25, [] if face is None else [observation(face)])
    ticks = list(range(120, 150))
    for tick, (face,) in zip(
        ticks, tracker.describe(shot, ticks, [t / 25 for t in ticks]), strict=True
    ):
        assert np.abs(face.landmarks - landmarks_at(100 + tick, 80, 20)).max() < 5


def test_coincident_landmarks_are_passed_over():
    described = run_tracker([lambda t: np.full((5, 2), 50, np.float32)], 10)
    assert all(faces == () for faces in described)


def test_forgetting_changes_nothing_that_is_still_to_be_said():
    def describe_all(forget):
        rng = np.random.default_rng(5)
        tracker = FaceTracker(12, 12, 5, 12)
        shot = tracker.cut()
        said = []
        for tick in range(200):
            if tick % 3 == 0:
                noisy = landmarks_at(100 + tick, 80, 20) + rng.normal(0, 0.5, (5, 2))
                tracker.search(tick, tick / 25, [observation(noisy.astype(np.float32))])
            if tick % 12 == 11 and tick >= 23:
                ticks = range(tick - 23, tick - 11)
                said += tracker.describe(shot, ticks, [t / 25 for t in ticks])
                if forget:
                    tracker.forget(tick - 11)
        assert (len(shot.tracks[0].sightings) < 25) == forget
        return np.stack([faces[0].landmarks for faces in said])

    np.testing.assert_array_equal(describe_all(forget=True), describe_all(forget=False))


@pytest.mark.parametrize("horizon", [0, 12])
def test_presence_of_a_run_never_jumps_at_its_end(horizon):
    run = Run(first=0, last=30, fades_in=False, first_miss=33)
    presence = [run.presence(t, horizon, 5) for t in range(30, 45)]
    assert presence[0] == 1
    assert presence[-1] == 0
    assert np.abs(np.diff(presence)).max() <= 0.25
