"""Different ways to the same frames: a range, one thread, two runs."""

import dataclasses

import numpy as np
import pytest

from tests.e2e.conftest import SAMPLE
from tests.support.witness import planes_of, video_times
from vidrestore import (
    EncodeSettings,
    Moment,
    RestoreSettings,
    TimeSpan,
    VideoCodec,
    preview_video,
    restore_video,
)

LOSSLESS = RestoreSettings(encode=EncodeSettings(codec=VideoCodec.FFV1))


@pytest.fixture(scope="module")
def whole(restored_sample):
    """Planes of the whole sample restored, by time in milliseconds."""
    film, report = restored_sample
    assert report["frames"]["painted"] > 0
    return dict(zip(milliseconds(film), planes_of(film), strict=True))


def milliseconds(path):
    return [round(t * 1000) for t in video_times(path)]


def assert_same_planes(a, b):
    for plane_a, plane_b in zip(a, b, strict=True):
        np.testing.assert_array_equal(plane_a, plane_b)


def spanning(start, end):
    return dataclasses.replace(LOSSLESS, span=TimeSpan(Moment.parse(start), Moment.parse(end)))


@pytest.mark.parametrize(("start", "end"), [("1.2", "2.4"), ("@80", "@95")])
def test_a_range_gives_the_frames_of_the_full_run(whole, tmp_path, start, end):
    settings = spanning(start, end)
    part = tmp_path / "part.mkv"
    restore_video(SAMPLE, part, settings)
    first = round(1200 if start == "1.2" else sorted(whole)[80])
    frames = dict(zip(milliseconds(part), planes_of(part), strict=True))
    count = 30 if start == "1.2" else 15
    assert len(frames) == count
    for time, planes in frames.items():
        assert_same_planes(planes, whole[time + first])


def test_a_preview_shows_the_frames_of_the_full_run_beside_the_source(whole, tmp_path):
    path = tmp_path / "preview.mkv"
    made = preview_video(SAMPLE, path, spanning("1.2", "2.0"))
    source = dict(zip(milliseconds(SAMPLE), planes_of(SAMPLE), strict=True))
    frames = dict(zip(milliseconds(path), planes_of(path), strict=True))
    assert len(frames) == 20
    for time, planes in frames.items():
        left = [p[:, : p.shape[1] // 2] for p in planes]
        right = [p[:, p.shape[1] // 2 :] for p in planes]
        assert_same_planes(left, source[time + 1200])
        assert_same_planes(right, whole[time + 1200])
    assert made.seconds_for_film is not None
    assert made.seconds_for_film > 0


def test_one_thread_gives_the_same_frames(whole, tmp_path):
    path = tmp_path / "one.mkv"
    restore_video(SAMPLE, path, dataclasses.replace(spanning("1.2", "2.4"), overlap=False))
    for time, planes in zip(milliseconds(path), planes_of(path), strict=True):
        assert_same_planes(planes, whole[time + 1200])


def test_strength_zero_changes_no_sample(tmp_path):
    path = tmp_path / "zero.mkv"
    settings = dataclasses.replace(
        spanning("0", "1"), blend=dataclasses.replace(LOSSLESS.blend, strength=0.0)
    )
    report = restore_video(SAMPLE, path, settings)
    assert report.tracks  # the faces were found all the same
    for before, after in zip(planes_of(SAMPLE), planes_of(path), strict=False):
        assert_same_planes(before, after)
