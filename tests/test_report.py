import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.support.fakes import frame_at, landmarks_at
from vidrestore.contracts import (
    AlignedFace,
    BlendedFrame,
    FaceTrack,
    FrameGeometry,
    PaintedRegion,
    RestoredFace,
)
from vidrestore.report import FrameRecorder, describe_times, plain
from vidrestore.runtime.timing import StageTimes


def blended(tick, *tracks, geometry=None):
    crop = np.zeros((8, 8, 3), np.uint8)
    frame = frame_at(tick, geometry=geometry)
    faces = tuple(
        RestoredFace(AlignedFace(t, crop, np.eye(2, 3)), crop, t.strength) for t in tracks
    )
    regions = tuple(PaintedRegion(1, 2, 30, 40) for _ in tracks)
    return BlendedFrame(frame, frame, faces, regions, is_cut=tick in (0, 5))


def track(x, track_id=1, measured=True, strength=1.0, noise=0.0):
    landmarks = landmarks_at(x, 20, 10)
    raw = landmarks + np.float32(noise)
    return FaceTrack(track_id, landmarks, raw if measured else None, 0.9, strength)


def test_frames_faces_and_cuts_are_counted():
    recorder = FrameRecorder(with_landmarks=False)
    for tick in range(8):
        recorder.add(blended(tick, *([track(20)] if tick >= 3 else [])))
    assert recorder.counts() == {"written": 8, "with_faces": 5, "painted": 5, "faces": 5}
    assert recorder.cuts == [5 / 25]
    (summary,) = recorder.tracks()
    assert (summary.id, summary.num_frames, summary.num_detections) == (1, 5, 5)
    assert (summary.start_seconds, summary.end_seconds) == (3 / 25, 7 / 25)
    assert summary.frames is None


def test_jitter_is_measured_before_and_after_smoothing():
    recorder = FrameRecorder(with_landmarks=False)
    for tick in range(10):
        recorder.add(blended(tick, track(20, noise=(-1) ** tick)))
    (summary,) = recorder.tracks()
    # the raw landmarks alternate by 1 px in x and y: second difference 4, times sqrt(2), at the
    # scale where the eyes (here 11.7 px apart) are 128 px apart
    assert summary.jitter_raw_px == pytest.approx(4 * np.sqrt(2) * 128 / 11.7, rel=1e-3)
    assert summary.jitter_smoothed_px == 0


def test_the_largest_step_of_strength_is_kept():
    recorder = FrameRecorder(with_landmarks=False)
    for tick, strength in enumerate([0.2, 0.4, 1.0, 0.9]):
        recorder.add(blended(tick, track(20, strength=strength)))
    assert recorder.tracks()[0].largest_strength_step == pytest.approx(0.6)
    assert recorder.tracks()[0].mean_strength == pytest.approx(0.625)


def test_what_held_a_face_back_is_counted_and_survives_an_interruption():
    first = FrameRecorder(with_landmarks=False)
    item = blended(0, track(20, strength=0.5))
    held = dataclasses.replace(item.faces[0], held_back="already sharp")
    first.add(dataclasses.replace(item, faces=(held,)))
    state = json.loads(json.dumps(first.state()))
    second = FrameRecorder(with_landmarks=False, states=[state])
    second.add(dataclasses.replace(blended(1), faces=(held,), regions=(None,)))
    second.add(blended(2, track(20)))
    assert second.tracks()[0].held_back == {"already sharp": 2}


def test_landmarks_are_in_pixels_of_the_upright_frame():
    """Pixel aspect is taken out again: the numbers are samples, only turned."""
    recorder = FrameRecorder(with_landmarks=True)
    geometry = FrameGeometry(64, 48, pixel_aspect=Fraction(2))
    recorder.add(blended(0, track(40), geometry=geometry))
    recorder.add(blended(1, track(40, measured=False, strength=0.5), geometry=geometry))
    first, second = recorder.tracks()[0].frames
    x = np.mean([p[0] for p in first["smoothed"]])
    assert x == pytest.approx((40 + 0.5) / 2 - 0.5, abs=1e-2)
    assert first["raw"] == first["smoothed"]
    assert second["raw"] is None
    assert (first["strength"], second["strength"]) == (1, 0.5)
    assert (first["time"], second["time"]) == (0, 1 / 25)
    assert first["painted"] == [1, 2, 30, 40]


def test_the_slowest_stage_and_the_speed_are_told():
    times = (StageTimes("decode", 1.0, 0.0, 50), StageTimes("encode", 4.0, 1.0, 50))
    told = describe_times(times, 5.0, 0.5, 50)
    assert told["slowest_stage"] == "encode"
    assert told["frames_per_second"] == 10
    assert told["startup_seconds"] == 0.5


def test_everything_becomes_plain_json():
    tree = {"a": Fraction(1, 4), "b": Path("x"), "c": (np.float32(2), float("nan")), "d": {1: None}}
    assert json.loads(json.dumps(plain(tree))) == {
        "a": 0.25,
        "b": "x",
        "c": [2.0, None],
        "d": {"1": None},
    }
