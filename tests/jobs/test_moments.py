from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import pytest

from tests.support.fakes import FakeDetector, landmarks_at, observation
from tests.support.synthetic import Clip, make_clip
from vidrestore.jobs import moments
from vidrestore.jobs.moments import Look, Place, look_through, telling_moments
from vidrestore.media.read import VideoReader
from vidrestore.settings import DetectSettings


def place(seconds, *widths, worst=None):
    return Place(Fraction(seconds), widths, worst, widths[-1] if widths else 0.0)


def chosen(look, duration):
    found = telling_moments(look, Fraction(duration))
    return [(m.name, float(m.start), float(m.stop)) for m in found]


def test_large_many_and_worst_are_told_apart():
    look = Look(
        (
            place(5),
            place(10, 90.0, worst=50),
            place(20, 200.0, worst=120),
            place(30, 80.0, 70.0, 60.0, worst=40),
            place(40, 30.0, worst=9),
        ),
    )
    assert chosen(look, 60) == [
        ("large", 18.75, 21.25),
        ("many", 28.75, 31.25),
        ("worst", 38.75, 41.25),
    ]
    texts = [moment.why for moment in telling_moments(look, Fraction(60))]
    assert "200 px" in texts[0]
    assert "3 at 0:30.0" in texts[1]
    assert "30 px" in texts[2]


def test_moments_do_not_overlap_the_next_best_is_taken():
    look = Look((place(10, 200.0, 190.0, worst=3), place(11, 90.0, 90.0, worst=5),
                 place(20, 80.0, 70.0, worst=6), place(30, 50.0, worst=7)))  # fmt: skip
    assert [name for name, _, _ in chosen(look, 60)] == ["large", "many", "worst"]
    assert [start for _, start, _ in chosen(look, 60)] == [8.75, 18.75, 28.75]


def test_a_short_film_has_fewer_moments_all_inside_of_it():
    look = Look((place(0, 50.0, worst=3), place(1, 60.0, worst=2), place(3, 40.0, worst=1)))
    assert chosen(look, 3) == [("large", 0.0, 2.5)]
    assert chosen(look, 2) == [("large", 0.0, 2.5)]


def test_a_clip_at_the_end_is_as_long_as_any():
    assert chosen(Look((place("59.8", 50.0),)), 60) == [("large", 57.5, 60.0)]


def test_one_face_at_a_time_is_not_many():
    look = Look((place(10, 50.0, worst=3), place(20, 60.0, worst=2), place(30, 40.0, worst=1)))
    assert [name for name, _, _ in chosen(look, 60)] == ["large", "worst"]


def test_nobody_seen_no_moment():
    assert chosen(Look((place(1), place(2))), 10) == []


def test_the_density_of_faces_is_that_of_all_places():
    look = Look((place(1), place(2, 50.0, 40.0), place(3, 50.0)))
    assert look.faces_per_frame(None) == pytest.approx(1)
    assert look.faces_per_frame(1) == pytest.approx(2 / 3)
    assert Look(()).faces_per_frame(None) == 0


def test_a_doubtful_face_counts_half():
    look = Look(
        (place(1), replace(place(2, 50.0), num_doubtful=2), replace(place(3), num_doubtful=1))
    )
    assert look.faces_per_frame(None) == pytest.approx(2.5 / 3)
    assert look.faces_per_frame(1) == pytest.approx(1.5 / 3)


def looking(film, find):
    detector = FakeDetector(find)
    with VideoReader(film) as reader:
        return look_through(reader, detector, DetectSettings()), detector


def one_face(image):
    return (observation(landmarks_at(80, 48, 12)),)


def test_the_look_is_spread_over_the_film(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=160, rate=Fraction(10)))
    look, detector = looking(film, one_face)
    assert not look.is_cut_short
    assert len(look.places) == moments.NUM_PLACES == len(detector.calls)
    times = [float(p.seconds) for p in look.places]
    assert times == sorted(times)
    assert times[0] < 0.5
    assert times[-1] > 15.4
    assert all(p.widths_px[0] > 24 and p.worst is not None for p in look.places)


def test_faces_too_small_for_a_run_do_not_count(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip())
    look, _ = looking(film, lambda image: (observation(landmarks_at(80, 48, 4)),))
    assert {(p.widths_px, p.num_doubtful) for p in look.places} == {((), 0)}


@pytest.mark.parametrize(("score", "sure", "doubtful"), [(0.61, 1, 0), (0.59, 0, 1), (0.29, 0, 0)])
def test_what_is_not_sure_is_doubtful_or_nothing(tmp_path, score, sure, doubtful):
    film = make_clip(tmp_path / "in.mp4", Clip())
    look, _ = looking(film, lambda image: (observation(landmarks_at(80, 48, 12), score=score),))
    assert {(len(p.widths_px), p.num_doubtful) for p in look.places} == {(sure, doubtful)}


def test_a_face_turned_away_is_not_the_worst(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip())
    away = landmarks_at(80, 48, 12)
    away[2] = away[1]  # the nose over one eye
    look, _ = looking(film, lambda image: (observation(away),))
    assert all(p.widths_px and p.worst is None for p in look.places)


def test_the_time_of_the_look_is_bounded(tmp_path, monkeypatch):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=160, rate=Fraction(10)))
    now = [0.0]

    def clock():
        now[0] += 4
        return now[0]

    monkeypatch.setattr(moments, "time", SimpleNamespace(monotonic=clock))
    look, _ = looking(film, one_face)
    assert len(look.places) == 8
    assert look.is_cut_short
    times = [float(p.seconds) for p in look.places]
    assert max(b - a for a, b in pairwise(times)) < 3  # still evenly spread


def test_where_nothing_can_be_seeked_one_pass_does(tmp_path, monkeypatch):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=100))
    with VideoReader(film) as reader:
        monkeypatch.setattr(type(reader.info.timeline), "can_seek", False)
        calls = []
        frames = reader.frames

        def counted(start=None):
            calls.append(start)
            return frames(start)

        monkeypatch.setattr(reader, "frames", counted)
        look = look_through(reader, FakeDetector(one_face), DetectSettings())
        with closing(frames()) as all_frames:
            last = [f.seconds for f in all_frames][-1]
    assert calls == [None]
    assert len(look.places) == 32
    assert look.places[-1].seconds > last - 0.3
