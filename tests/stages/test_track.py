import dataclasses

import numpy as np
import pytest

from tests.support.fakes import FakeEmbedder, frame_at, landmarks_at, observation
from vidrestore.contracts import DetectedFrame
from vidrestore.core.face_choice import FaceChooser
from vidrestore.settings import DetectSettings, FaceChoice, TrackSettings
from vidrestore.stages.track import track_faces, warmup_ticks


def noisy_film(first, last, every=3, cuts=(70,)):
    """A wandering face as seen by a noisy detector; a tick always gives the same detection."""
    for tick in range(first, last):
        is_cut = tick == first or tick in cuts
        searched = is_cut or tick % every == 0
        rng = np.random.default_rng(tick)
        x, angle = 200 + 60 * np.sin(tick / 15), 0.1 * np.sin(tick / 9)
        path = landmarks_at(x, 120 + tick / 4, 25, angle)
        seen = observation((path + rng.normal(0, 0.6, (5, 2))).astype(np.float32))
        is_missed = rng.random() < 0.1 and not is_cut
        yield DetectedFrame(
            frame=frame_at(tick),
            was_searched=searched,
            observations=(seen,) if searched and not is_missed else (),
            is_cut=is_cut,
        )


def follow(frames, choice=FaceChoice.ALL, lookahead=12):
    chooser = FaceChooser(choice)
    settings = TrackSettings(lookahead=lookahead)
    return [chooser.choose(i) for i in track_faces(iter(frames), DetectSettings(), settings)]


@pytest.mark.parametrize("lookahead", [0, 1, 5, 12, 40])
def test_every_frame_comes_out_once_in_order(lookahead):
    items = follow(noisy_film(0, 100), lookahead=lookahead)
    assert [i.frame.tick for i in items] == list(range(100))
    assert sum(len(i.tracks) for i in items) >= 90


@pytest.mark.parametrize("start", [90, 100, 113])
def test_a_range_with_warmup_is_described_exactly_as_in_the_whole_film(start):
    before, after = warmup_ticks(DetectSettings(), TrackSettings())
    whole = {i.frame.tick: i for i in follow(noisy_film(0, 260))}
    stop = start + 30
    part = {i.frame.tick: i for i in follow(noisy_film(max(0, start - before), stop + after))}
    for tick in range(start, stop):
        assert len(part[tick].tracks) == len(whole[tick].tracks) == 1
        np.testing.assert_array_equal(
            part[tick].tracks[0].landmarks, whole[tick].tracks[0].landmarks
        )
        assert part[tick].tracks[0].strength == whole[tick].tracks[0].strength


@pytest.mark.parametrize("luma", [90, 91])
def test_in_a_repeated_picture_nothing_has_moved(luma):
    film = list(noisy_film(0, 100))
    film[50] = dataclasses.replace(film[50], frame=repeated(film[49].frame, 50, luma))
    there = {item.frame.tick: item.tracks[0].landmarks for item in follow(film)}
    is_repeated = luma == 90
    assert np.array_equal(there[49], there[50]) is is_repeated
    assert not np.array_equal(there[48], there[49])


def test_a_picture_that_stays_is_described_anew_in_each_block():
    first = frame_at(0)
    film = [dataclasses.replace(k, frame=repeated(first, k.frame.tick)) for k in noisy_film(0, 60)]
    there = np.stack([item.tracks[0].landmarks for item in follow(film)])
    moved = np.abs(np.diff(there, axis=0)).max(axis=(1, 2)) > 0
    assert set(np.flatnonzero(moved) + 1) == {12, 24, 36, 48}


def repeated(frame, tick, luma=90):
    """The same picture once more, or one that differs from it in a single sample."""
    plane = frame.planes[0].copy()
    plane[-1, -1] = luma
    return dataclasses.replace(
        frame_at(tick), planes=(plane, *(p.copy() for p in frame.planes[1:]))
    )


def test_few_frames_are_held_back():
    taken = []

    def film():
        for item in noisy_film(0, 500):
            taken.append(item.frame.tick)
            yield item

    for item in track_faces(film(), DetectSettings(), TrackSettings()):
        assert taken[-1] - item.frame.tick <= 24


def test_causal_tracking_holds_nothing_back():
    taken = []

    def film():
        for item in noisy_film(0, 50):
            taken.append(item.frame.tick)
            yield item

    settings = TrackSettings(lookahead=0)
    for item in track_faces(film(), DetectSettings(), settings):
        assert taken[-1] == item.frame.tick


def test_smoothing_beats_the_raw_landmarks():
    """On known motion: a third of the jitter, and less error."""
    clean = [
        landmarks_at(200 + 60 * np.sin(t / 15), 120 + t / 4, 25, 0.1 * np.sin(t / 9))
        for t in range(70)
    ]
    items = follow(noisy_film(0, 70, every=1))
    smooth = np.stack([i.tracks[0].landmarks for i in items])
    raw = np.stack([i.tracks[0].measured if i.tracks[0].measured is not None else c
                    for i, c in zip(items, clean, strict=True)])  # fmt: skip

    def jitter(path):
        # of the deviation from the truth: the motion itself is not jitter
        return np.sqrt((np.diff(path - np.stack(clean), 2, axis=0) ** 2).mean())

    def error(path):
        return np.abs(path - np.stack(clean)).mean()

    assert jitter(smooth) < jitter(raw) / 3
    assert error(smooth) < error(raw)


def two_faces(sizes):
    for tick, (a, b) in enumerate(sizes):
        seen = (observation(landmarks_at(100, 100, a)), observation(landmarks_at(300, 100, b)))
        yield DetectedFrame(
            frame=frame_at(tick), was_searched=True, observations=seen, is_cut=tick == 0
        )


def test_only_the_largest_face_is_kept():
    items = follow(two_faces([(20, 30)] * 40), FaceChoice.LARGEST)
    for item in items:
        (face,) = item.tracks
        assert face.landmarks.mean(axis=0)[0] == pytest.approx(300, abs=1)
        assert face.strength == 1


def test_the_choice_passes_on_without_a_jump():
    sizes = [(20 + 0.2 * t, 30 - 0.2 * t) for t in range(50)]
    items = follow(two_faces(sizes), FaceChoice.LARGEST)
    strength = np.array([
        [sum(f.strength for f in i.tracks if abs(f.landmarks.mean(axis=0)[0] - x) < 50)
         for x in (100, 300)]
        for i in items
    ])  # fmt: skip
    assert strength[0].tolist() == [0, 1]
    assert strength[-1].tolist() == [1, 0]
    assert np.abs(np.diff(strength, axis=0)).max() <= 0.25


def dancers(first, last):
    """Two people who meet again and again, and turn back each time, unseen where they touch.

    By the geometry they pass.
    """
    for tick in range(first, last):
        half = 18 + 40 * abs(np.sin(tick / 10))
        seen = tuple(
            dataclasses.replace(
                observation(landmarks_at(200 + sign * half, 100, 20)),
                chip=FakeEmbedder.chip_of(person),
            )
            for person, sign in enumerate((-1, 1))
            if half > 38
        )
        searched = tick == first or tick % 3 == 0
        yield DetectedFrame(
            frame=frame_at(tick),
            was_searched=searched,
            observations=seen if searched else (),
            is_cut=tick == first,
        )


@pytest.mark.parametrize("start", [150, 161, 170, 181])
def test_a_range_with_warmup_tells_people_apart_as_in_the_whole_film(start):
    def followed(first, last, embedder=None):
        items = track_faces(dancers(first, last), DetectSettings(), TrackSettings(), embedder)
        return {i.frame.tick: i.tracks for i in items}

    def sides(tracks_by_tick):
        shown = [t for tracks in tracks_by_tick.values() for t in tracks if t.measured is not None]
        return {(t.track_id, bool(t.measured[0, 0] < 200)) for t in shown}

    before, after = warmup_ticks(DetectSettings(), TrackSettings())
    stop = start + 40
    whole = followed(0, 260, FakeEmbedder())
    part = followed(start - before, stop + after, FakeEmbedder())
    assert sides(whole) == {(1, True), (2, False)}
    assert len(sides(followed(0, 260))) > 2
    for tick in range(start, stop):
        for mine, other in zip(part[tick], whole[tick], strict=True):
            assert mine.track_id == other.track_id
            np.testing.assert_array_equal(mine.landmarks, other.landmarks)
