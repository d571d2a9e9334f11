"""What the report's page shows is gathered in bounded memory, and survives an interruption."""

import base64
import dataclasses
import json

import cv2
import numpy as np
import pytest

from tests.support.fakes import frame_at, landmarks_at
from vidrestore.contracts import AlignedFace, BlendedFrame, FaceTrack, PaintedRegion, RestoredFace
from vidrestore.report import FrameRecorder, RunHistory, moments
from vidrestore.report.history import _difference
from vidrestore.report.stretches import Stretches

SIZE = 32


class Clock:
    def __init__(self, step):
        self.seconds, self.step = 100.0, step

    def __call__(self):
        self.seconds += self.step
        return self.seconds


def crop_of(luma):
    return np.full((SIZE, SIZE, 3), luma, np.uint8)


def face(before=100, after=100, track_id=1, strength=1.0, x=20.0, held_back=None, turned=False):
    points = landmarks_at(x, 20, 10)
    if turned:
        points[2] = points[0]  # the nose over an eye
    track = FaceTrack(track_id, points, points, 0.9, strength)
    before = crop_of(before) if np.isscalar(before) else before
    after = crop_of(after) if np.isscalar(after) else after
    aligned = AlignedFace(track, before, np.eye(2, 3))
    return RestoredFace(aligned, after, strength, held_back)


def blended(tick, *faces, is_cut=False, luma=90, restored_luma=None):
    original = frame_at(tick, luma)
    frame = original if restored_luma is None else frame_at(tick, restored_luma)
    regions = tuple(PaintedRegion(1, 2, 30, 40) for _ in faces)
    return BlendedFrame(frame, original, faces, regions, is_cut)


def recorded(items, history=None, states=()):
    recorder = FrameRecorder(False, states, history or RunHistory(now=Clock(0.01)))
    for item in items:
        recorder.add(item)
    return recorder


def picture(text):
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)


def chequered(luma, depth):
    rows, columns = np.indices((SIZE, SIZE))
    signs = np.where((rows + columns) % 2, depth, -depth)
    return np.repeat((luma + signs)[..., None], 3, axis=2).astype(np.uint8)


def test_stretches_double_and_lose_nothing():
    course = Stretches(1.0, 10, lambda a, b: a + b)
    for second in range(1000):
        course.add(second, 1)
    items = course.items()
    assert course.seconds == 128
    assert [start for start, _ in items] == [128 * k for k in range(8)]
    assert sum(value for _, value in items) == 1000


def test_changes_are_enough_to_go_on_with():
    rng = np.random.default_rng(1)
    whole, first = (Stretches(1.0, 16, lambda a, b: a + b) for _ in range(2))
    told = []
    for second in np.cumsum(rng.exponential(1.5, 400)):
        whole.add(second, 1)
        first.add(second, 1)
        if rng.random() < 0.1:
            told.append((first.seconds, first.changes()))
    told.append((first.seconds, first.changes()))
    again = Stretches(1.0, 16, lambda a, b: a + b)
    for seconds, changes in json.loads(json.dumps(told)):
        again.take_up(seconds, changes)
    assert again.items() == whole.items()
    assert first.changes() == []


def test_flicker_is_the_mean_difference_of_successive_crops_before_and_after():
    lumas = [100, 110, 100, 110]
    items = [
        blended(k, face(before=chequered(luma, 0), after=chequered(luma, 40 * (k % 2))))
        for k, luma in enumerate(lumas)
    ]
    recorder = recorded(items)
    (track,) = recorder.tracks()
    assert track.flicker_before == pytest.approx(10)
    # the chequers come and go: 40 ± 10, on one half each
    assert track.flicker_after == pytest.approx(40)
    ((seconds, raw, smoothed, before, after),) = recorder.history.to_plain()["steadiness"]
    assert (seconds, raw, smoothed) == (0, 0, 0)
    assert (before, after) == (10, 40)


def test_what_the_blend_takes_back_is_no_flicker():
    """The restored face gets the mean of the film's, so its own brightness is never seen."""
    items = [blended(k, face(before=100, after=100 + 30 * (k % 2))) for k in range(6)]
    assert recorded(items).tracks()[0].flicker_after == 0


@pytest.mark.parametrize(("own", "whole"), [(0.0, 1.0), (1.0, 0.0), (0.5, 0.5)])
def test_flicker_after_is_that_of_the_face_as_it_is_shown(own, whole):
    items = [blended(k, face(100, chequered(100, 40 * (k % 2)), strength=own)) for k in range(6)]
    track = recorded(items, RunHistory(whole, Clock(0.01))).tracks()[0]
    assert track.flicker_after == pytest.approx(40 * own * whole)


def test_no_flicker_is_measured_across_a_cut_or_a_gap():
    items = [
        blended(0, face(before=50)),
        blended(1, face(before=200), is_cut=True),
        blended(2),
        blended(3, face(before=50)),
    ]
    recorder = recorded(items)
    assert recorder.tracks()[0].flicker_before is None
    assert recorder.history.to_plain()["steadiness"] == [[0, 0, 0, None, None]]


def test_moments_are_spread_over_the_track_and_show_film_and_result():
    items = [blended(k, face(), luma=60, restored_luma=180) for k in range(500)]
    (track,) = recorded(items).tracks()
    assert len(track.moments) == moments.MOMENTS_PER_TRACK
    seconds = [moment["seconds"] for moment in track.moments]
    assert seconds[0] == 0
    assert seconds[-1] > 15
    assert min(np.diff(seconds)) > 2
    for moment in track.moments:
        before, after = picture(moment["before"]), picture(moment["after"])
        assert before.shape == after.shape == (moments.PICTURE_SIZE,) * 2 + (3,)
        assert after.mean() > before.mean() + 100
        assert (moment["strength"], moment["held_back"]) == (1, None)
    json.dumps(track.moments)


def test_a_face_that_looks_into_the_camera_and_is_shown_makes_the_better_picture():
    items = [blended(0, face(turned=True)), blended(1, face(strength=0.0)), blended(2, face())]
    items.append(blended(3, face(strength=0.9, held_back="already sharp")))
    (moment,) = recorded(items).tracks()[0].moments
    assert moment["seconds"] == 2 / 25


def test_a_face_in_an_enlarged_film_is_cut_out_at_its_own_place():
    item = blended(0, face())
    large = frame_at(0, 60, width=128, height=96)
    large.planes[0][:64, :64] = 200  # the crop is the first 32 pixels of the film
    (moment,) = recorded([dataclasses.replace(item, frame=large)]).tracks()[0].moments
    assert picture(moment["after"])[4:-4, 4:-4, 1].min() > 200


def test_only_the_longest_tracks_keep_pictures_and_memory_is_bounded():
    lengths = {number: 1 + number * 7 % 13 for number in range(1, 131)}
    history = RunHistory(now=Clock(0.01))
    recorder = FrameRecorder(False, history=history)
    tick = most = 0
    for number, length in lengths.items():
        for _ in range(length):
            recorder.add(blended(tick, face(track_id=number)))
            tick += 1
        tick += 100  # long enough to be over
        most = max(most, len(history._gallery._series))
    shown = {track.id: track.num_frames for track in recorder.tracks() if track.moments}
    assert len(shown) == moments.MOST_TRACKS
    assert min(shown.values()) >= sorted(t.num_frames for t in recorder.tracks())[-41]
    assert most <= 2 * moments.MOST_TRACKS


def test_pictures_never_make_the_report_larger_than_allowed(monkeypatch):
    items = []
    for number, length in ((1, 10), (2, 60), (3, 30)):
        items += [blended(len(items) + k, face(track_id=number)) for k in range(length)]
    recorder = recorded(items)

    def characters():
        return {
            track.id: sum(len(m["before"]) + len(m["after"]) for m in track.moments)
            for track in recorder.tracks()
            if track.moments
        }

    free = characters()
    assert list(free) == [1, 2, 3]
    monkeypatch.setattr(moments, "MOST_CHARACTERS", free[2] + free[3])
    assert list(characters()) == [2, 3]  # the longest
    monkeypatch.setattr(moments, "MOST_CHARACTERS", free[2] + free[3] - 1)
    assert list(characters()) == [2]


def test_speed_and_memory_are_sampled_once_a_second_and_go_on_after_an_interruption():
    first = recorded([blended(k) for k in range(50)], RunHistory(now=Clock(0.25)))
    rows = first.history.to_plain()["speed"]
    assert [row[0] for row in rows] == list(range(13))
    assert [row[1] for row in rows] == [1 + 4 * k for k in range(13)]
    assert all(row[2] is None or row[2] > 1e6 for row in rows)
    state = json.loads(json.dumps(first.state()))
    second = recorded([blended(50 + k) for k in range(8)], RunHistory(now=Clock(0.5)), [state])
    times = [row[0] for row in second.history.to_plain()["speed"]]
    assert times == sorted(times)
    assert times[-1] == 15
    assert second.history.to_plain()["speed"][-1][1] == 57


def test_a_run_that_goes_on_shows_what_an_undisturbed_one_shows():
    rng = np.random.default_rng(5)
    items = []
    for k in range(300):
        one = face(int(rng.integers(90, 110)), int(rng.integers(90, 110)), strength=rng.random())
        items.append(blended(k, one, is_cut=k in (120, 200)))
    whole = recorded(items)
    states, history = [], None
    for start, stop in ((0, 90), (90, 220), (220, 300)):
        part = recorded(items[start:stop], RunHistory(now=Clock(0.01)), states)
        states.append(json.loads(json.dumps(part.state())))
        history = part
    (one,), (other,) = whole.tracks(), history.tracks()
    assert one.moments == other.moments
    rows, other_rows = (r.history.to_plain()["steadiness"] for r in (whole, history))
    assert [row[:3] for row in rows] == [row[:3] for row in other_rows]
    # at each joint one pair of crops is not there to be compared
    assert other.flicker_before == pytest.approx(one.flicker_before, rel=0.05)


def test_without_a_history_none_is_in_the_report():
    recorder = FrameRecorder(False)
    recorder.add(blended(0, face()))
    recorder.add(blended(1, face()))
    assert recorder.tracks()[0].moments is None
    assert recorder.tracks()[0].flicker_before is None
    assert recorder.state()["history"] is None


def test_a_history_can_begin_where_an_earlier_run_kept_none():
    first = FrameRecorder(False)
    first.add(blended(0, face()))
    second = recorded([blended(1, face())], states=[json.loads(json.dumps(first.state()))])
    assert len(second.tracks()[0].moments) == 1


def test_damaged_places_are_bounded_and_go_on():
    first = FrameRecorder(False)
    first.add_damage([(1.0, "damaged picture")])
    told = json.loads(json.dumps(first.state()))
    assert first.state()["damage"] == []
    second = FrameRecorder(False, [told])
    second.add_damage((float(k), "pictures lost") for k in range(5000))
    assert len(second.damage) == 1000
    assert second.damage[:2] == [(1.0, "damaged picture"), (0.0, "pictures lost")]


def test_the_difference_is_in_steps_of_eight_bit():
    assert _difference(np.full((4, 4), 9, np.uint8), np.full((4, 4), 14, np.uint8)) == 5
