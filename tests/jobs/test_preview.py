import dataclasses
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.fakes import frame_at
from tests.support.synthetic import Clip, make_clip
from vidrestore.contracts import FrameGeometry
from vidrestore.core.views import orient
from vidrestore.jobs.preview import default_range, estimate_seconds, side_by_side
from vidrestore.media.probe import probe
from vidrestore.runtime.timing import StageTimes
from vidrestore.settings import Moment, TimeSpan

TURNS = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)]
TURNS += [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


def halves(turn):
    geometry = FrameGeometry(64, 48, turn=turn)
    pair = side_by_side(frame_at(0, 30, geometry=geometry), frame_at(0, 200, geometry=geometry))
    return pair, orient(np.dstack([pair.planes[0]] * 3), turn)[..., 0]


@pytest.mark.parametrize("turn", TURNS)
def test_the_original_is_on_the_left_as_the_film_is_shown(turn):
    pair, shown = halves(turn)
    middle = shown.shape[1] // 2
    assert (shown[:, :middle] == 30).all()
    assert (shown[:, middle:] == 200).all()
    assert (pair.geometry.height, pair.geometry.width) == pair.planes[0].shape
    assert pair.planes[1].shape == tuple(n // 2 for n in pair.planes[0].shape)


def test_an_odd_last_column_is_left_out_where_chroma_would_not_meet():
    frame = frame_at(0, geometry=FrameGeometry(63, 47))
    pair = side_by_side(frame, frame)
    assert pair.planes[0].shape == (47, 124)
    assert pair.planes[1].shape == (24, 62)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        (TimeSpan(), 8, 14),
        (TimeSpan(Moment.parse("3")), 3, 9),
        (TimeSpan(end=Moment.parse("4")), 0, 4),
        (TimeSpan(end=Moment.parse("20")), 14, 20),
    ],
)
def test_a_missing_range_is_completed(tmp_path, asked, start, end):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=240, rate=Fraction(10)))
    made = default_range(probe(film), asked)
    assert (made.start.seconds, made.end.seconds) == (start, end)


def test_a_range_from_a_frame_number_is_as_long(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=240, rate=Fraction(10)))
    assert default_range(probe(film), TimeSpan(Moment(frame=30))).end.frame == 90


def test_a_range_to_a_frame_number_is_as_long(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=240, rate=Fraction(10)))
    assert default_range(probe(film), TimeSpan(end=Moment(frame=100))).start.frame == 40
    assert default_range(probe(film), TimeSpan(end=Moment(frame=20))).start.frame == 0


def test_the_estimate_counts_each_stage_by_its_own_frames():
    """Decoding saw 100 frames, the rest 50, and the encoder drew pictures twice as wide."""
    times = (
        StageTimes("decode", 1.0, 0.0, 100),
        StageTimes("restore", 4.0, 0.0, 50),
        StageTimes("encode", 5.0, 0.0, 50),
    )
    result = SimpleNamespace(
        times=times,
        wall_seconds=5.0,  # two stages ran at a time
        num_frames_in_film=1000,
        report=SimpleNamespace(timings={"startup_seconds": 2.0}),
    )
    work_of_film = 1000 * (1 / 100 + 4 / 50 + 5 / 50 / 2)
    assert estimate_seconds(result) == pytest.approx(2 + work_of_film * 5 / 10)


def test_there_is_no_estimate_for_a_film_of_unknown_length():
    result = SimpleNamespace(times=(), wall_seconds=1.0, num_frames_in_film=None)
    assert estimate_seconds(result) is None


def test_frames_keep_their_time():
    frame = dataclasses.replace(frame_at(7), duration=3)
    pair = side_by_side(frame, frame)
    assert (pair.pts, pair.duration, pair.tick) == (7, 3, 7)
