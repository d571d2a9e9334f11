import dataclasses
from fractions import Fraction
from types import SimpleNamespace

import pytest

from tests.support.synthetic import Clip, make_clip
from vidrestore.jobs.estimating import Density, PartCost, cost_of, estimate
from vidrestore.media.probe import probe
from vidrestore.media.trial import StoredBytes
from vidrestore.runtime.timing import StageTimes

PART = PartCost(
    startup_seconds=2.0,
    wall_seconds=5.0,
    cpu_seconds=10.0,
    frame_seconds=0.01,
    search_seconds=0.04,
    faces_seconds=0.2,
    density=Density(faces_per_frame=2.0, share_with_faces=1.0),
    num_frames=50,
    picture_bytes=1000.0,
    stored=None,
    other_bytes=100.0,
)


@pytest.fixture
def info(tmp_path):
    """A film of 10 s."""
    return probe(make_clip(tmp_path / "in.mp4", Clip(num_frames=100, rate=Fraction(10))))


def test_each_stage_counts_by_the_frames_that_it_took_in():
    """Of 100 frames decoded 80 led up to the part; the comparison is left out."""
    times = (
        StageTimes("decode", 1.0, 0.0, 100),
        StageTimes("detect", 0.5, 0.0, 80),
        StageTimes("align", 1.0, 0.0, 50, num_faces=25, num_with_faces=20),
        StageTimes("restore", 3.0, 0.0, 50),
        StageTimes("steady", 3.0, 0.0, 20),
        StageTimes("encode", 1.5, 0.0, 20),
    )
    report = SimpleNamespace(timings={"startup_seconds": 2.0}, frames={"written": 20})
    result = SimpleNamespace(times=times, wall_seconds=4.0, report=report)
    trial = SimpleNamespace(seconds=0.8, num_frames=20, bytes_for_frame=lambda: 7.0)
    cost = cost_of(result, 5.0, trial, None, 3.0)
    half = 5.0 / 10.0  # a second in a stage was half a second of a processor
    assert cost.frame_seconds == pytest.approx(half * (1 / 100 + 0.8 / 20))
    assert cost.search_seconds == pytest.approx(half * 0.5 / 100)
    assert cost.faces_seconds == pytest.approx(half * (1 / 80 + 3 / 50 + 3 / 50))
    assert (cost.wall_seconds, cost.cpu_seconds) == (4, 5)
    assert cost.density == Density(faces_per_frame=0.5, share_with_faces=0.4)
    assert (cost.picture_bytes, cost.other_bytes, cost.num_frames) == (7, 3, 20)


def test_starting_counts_once_and_as_many_cores_work_as_in_the_parts(info):
    made = estimate([PART, PART, PART], info, 1000, None, "why")
    assert made.seconds == pytest.approx(2 + 1000 * (0.01 + 0.04 + 0.2) / 2)
    assert made.basis == "why"
    lone = dataclasses.replace(PART, wall_seconds=10.0)
    assert estimate([lone], info, 1000, None, "").seconds == pytest.approx(2 + 1000 * 0.25)


def test_the_faces_of_the_film_count_where_they_are_known(info):
    few = estimate([PART], info, 1000, Density(0.5, 0.4), "")
    assert few.seconds == pytest.approx(2 + 1000 * (0.01 + 0.04 * 0.4 + 0.2 * 0.5 / 2) / 2)
    crowd = dataclasses.replace(PART, faces_seconds=0.4, density=Density(6.0, 1.0))
    both = estimate([PART, crowd], info, 1000, Density(1.0, 1.0), "")
    assert both.seconds == pytest.approx(2 + 1000 * (0.01 + 0.04 + 0.3 / 4) / 2)
    faceless = dataclasses.replace(PART, faces_seconds=0.0, density=Density(0.0, 0.0))
    assert estimate([faceless], info, 1000, Density(0.5, 0.5), "").seconds == pytest.approx(
        2 + 1000 * (0.01 + 0.04) / 2
    )


def test_there_is_no_estimate_for_a_film_of_unknown_length(info):
    assert estimate([PART], info, None, None, "") is None
    endless = dataclasses.replace(info, duration_seconds=None)
    assert estimate([PART], endless, 1000, None, "").num_bytes is None


def test_the_size_is_that_of_pictures_and_sound(info):
    assert estimate([PART], info, 100, None, "").num_bytes == 100 * 1000 + 10 * 100


def test_pictures_that_took_the_source_more_take_the_output_more(info):
    rate = info.path.stat().st_size / 10
    busy = StoredBytes(pictures=round(rate * 2 * 4), others=0, seconds=Fraction(2))
    made = estimate([dataclasses.replace(PART, stored=busy)], info, 100, None, "")
    assert made.num_bytes == pytest.approx(100 * 1000 / 4 + 10 * 100, rel=0.01)
