import dataclasses

import numpy as np

from tests.support.fakes import FakeDetector, FakeEmbedder, frame_at, landmarks_at, observation
from vidrestore.contracts import FaceObservation
from vidrestore.settings import DetectSettings
from vidrestore.stages.detect import detect_faces

FACE = observation(landmarks_at(30, 24, 12))


def detect(frames, detector=None, **settings):
    detector = detector or FakeDetector(lambda image: (FACE,))
    return list(detect_faces(iter(frames), detector, DetectSettings(**settings))), detector


def test_every_third_frame_is_searched_and_all_come_out_in_order():
    items, _ = detect([frame_at(k) for k in range(10)])
    assert [i.frame.tick for i in items] == list(range(10))
    assert [i.was_searched for i in items] == [k % 3 == 0 for k in range(10)]
    assert [len(i.observations) for i in items] == [k % 3 == 0 for k in range(10)]


def test_the_same_frames_are_searched_wherever_decoding_began():
    whole, _ = detect([frame_at(k) for k in range(40)])
    part, _ = detect([frame_at(k) for k in range(17, 40)])
    searched = {i.frame.tick for i in whole if i.was_searched}
    assert {i.frame.tick for i in part[1:] if i.was_searched} == {t for t in searched if t > 17}


def test_dropped_frames_do_not_skip_a_search():
    items, _ = detect([frame_at(k) for k in (0, 1, 2, 4, 5, 7, 8)])
    assert [i.frame.tick for i in items if i.was_searched] == [0, 4, 7]


def test_the_first_frame_of_a_shot_is_searched():
    items, _ = detect([frame_at(k, luma=40 if k < 5 else 200) for k in range(9)])
    assert [i.frame.tick for i in items if i.is_cut] == [0, 5]
    assert [i.frame.tick for i in items if i.was_searched] == [0, 3, 5, 6]


def test_after_missing_pictures_a_shot_begins():
    items, _ = detect([frame_at(k) for k in (0, 1, 2, 3, 30, 31)])
    assert [i.frame.tick for i in items if i.is_cut] == [0, 30]


def test_pictures_before_a_pause_say_nothing_of_those_behind_it():
    def cuts(frames):
        return [item.is_cut for item in detect(frames)[0]]

    dark, bright = 40, 200
    # alone, B to C is a cut; a jump just before the pause must not hide it
    behind = [frame_at(50 + k, luma) for k, luma in enumerate([dark] + [bright] * 5)]
    before = [frame_at(k, luma) for k, luma in enumerate([bright, dark, dark])]
    assert cuts(before + behind)[3:] == cuts(behind)
    # and what comes back behind a pause makes no flash of what was before it
    shot = [frame_at(k, luma) for k, luma in enumerate([dark] * 5 + [bright])]
    assert cuts(shot + [frame_at(50 + k, dark) for k in range(3)])[:6] == cuts(shot)


def test_searches_are_gathered_into_batches():
    detector = FakeDetector(lambda image: (FACE,), batch_size=4)
    items, _ = detect([frame_at(k) for k in range(30)], detector)
    # watched at 0, 12 and 24, and in so small a picture that this is a search
    assert detector.calls == [1, 1, 3, 1, 3, 1]
    assert [i.frame.tick for i in items] == list(range(30))
    assert all(len(i.observations) == i.was_searched for i in items)


def test_a_batch_never_mixes_picture_sizes():
    detector = FakeDetector(lambda image: (FACE,), batch_size=8)
    frames = [frame_at(k, width=64 if k < 10 else 96) for k in range(20)]
    items, _ = detect(frames, detector)  # the fake refuses mixed shapes
    assert len(items) == 20
    assert sum(detector.calls) == sum(i.was_searched for i in items)


def test_weak_and_tiny_faces_are_left_out():
    weak = observation(landmarks_at(30, 24, 12), score=0.3)
    tiny = observation(landmarks_at(30, 24, 2))
    items, _ = detect([frame_at(0)], FakeDetector(lambda image: (FACE, weak, tiny)))
    assert len(items[0].observations) == 1
    assert items[0].observations[0].score == FACE.score


def test_a_box_whose_landmarks_lie_in_a_heap_is_no_face():
    heap = FaceObservation(FACE.box_xyxy, landmarks_at(30, 24, 3), 0.9)
    items, _ = detect([frame_at(0)], FakeDetector(lambda image: (FACE, heap)))
    assert items[0].observations[0].score == FACE.score
    assert len(items[0].observations) == 1


def test_observations_are_given_in_display_pixels():
    frame = frame_at(0, width=2000, height=1500)
    shown = []

    def find(image):
        shown.append(image.shape)
        return (observation(landmarks_at(100, 75, 12)),)

    items, _ = detect([frame], FakeDetector(find), max_side=1000)
    assert shown == [(750, 1000, 3)]
    np.testing.assert_allclose(
        items[0].observations[0].landmarks.mean(axis=0), [200.5, 150.5], atol=1e-3
    )


def test_frames_are_passed_on_as_they_are():
    frame = dataclasses.replace(frame_at(0), is_corrupt=True)
    items, _ = detect([frame])
    assert items[0].frame is frame


def test_chips_are_cut_where_somebody_wants_them():
    frame = frame_at(0, luma=180)
    frame.planes[0][:, 40:] = 60  # right of the face
    found = FakeDetector(lambda image: (FACE,))
    (item,) = detect_faces(iter([frame]), found, DetectSettings(), FakeEmbedder())
    chip = item.observations[0].chip
    assert chip.shape == (16, 16, 3)
    # the face of size 12 at x = 30 is 3 pixels large in the chip, its centre at 8
    edge = 8 + (39.5 - 30) * 3 / 12
    levels = chip[8, :, 0].astype(int)
    assert levels[: int(edge) - 1].min() > 150
    assert levels[int(edge) + 2 :].max() < 80
    (plain,) = detect_faces(iter([frame_at(0)]), found, DetectSettings())
    assert plain.observations[0].chip is None


def wide_frames(count):
    """Frames of 640×480, which are watched in 320×240."""
    return [frame_at(k, width=640, height=480) for k in range(count)]


def seen_at(*ticks, score=0.98):
    """A detector that sees a face at some ticks, and writes down at which sides it looked."""
    looks = []

    def find(image):
        tick = int(image[0, 0, 0])
        looks.append((tick, image.shape[1]))
        return (observation(landmarks_at(30, 24, 12), score=score),) if tick in ticks else ()

    return FakeDetector(find), looks


def numbered(frames):
    """The same frames, each in the brightness of its tick."""

    def painted(frame):
        return dataclasses.replace(
            frame, render_rgb=lambda w, h: np.full((h, w, 3), frame.tick, np.uint8)
        )

    return [painted(frame) for frame in frames]


def test_where_nobody_is_the_film_is_only_watched_coarsely_now_and_then():
    detector, looks = seen_at()
    items, _ = detect(numbered(wide_frames(60)), detector)
    assert looks == [(tick, 320) for tick in (0, 12, 24, 36, 48)]
    # what was watched was searched, and nobody found
    assert [i.frame.tick for i in items if i.was_searched] == [0, 12, 24, 36, 48]
    assert len(items) == 60


def test_the_neighbourhood_of_a_sight_is_searched_as_ever():
    detector, looks = seen_at(*range(24, 28))
    items, _ = detect(numbered(wide_frames(60)), detector)
    # both stretches that end or begin at 24, and the frames where they began and end
    assert [tick for tick, side in looks if side == 640] == list(range(12, 37, 3))
    assert [i.frame.tick for i in items if i.observations] == [24, 27]
    assert [i.frame.tick for i in items if i.was_searched] == [0, *range(12, 37, 3), 48]


def test_a_doubtful_sight_is_looked_at_but_not_believed():
    detector, looks = seen_at(24, score=0.35)
    items, _ = detect(numbered(wide_frames(60)), detector)
    assert [tick for tick, side in looks if side == 640] == list(range(12, 37, 3))
    assert not any(i.observations for i in items)
    weaker, looks = seen_at(24, score=0.25)
    detect(numbered(wide_frames(60)), weaker)
    assert not [tick for tick, side in looks if side == 640]


def test_what_is_searched_depends_on_nothing_further_away_than_two_looks():
    detector, _ = seen_at(24, 25, 60, 90, 91, 92)
    frames = numbered(wide_frames(130))
    whole = {i.frame.tick: i.was_searched for i in detect(frames, detector)[0]}
    reach = 2 * DetectSettings().watch_every
    for start, stop in ((5, 100), (13, 75), (29, 118), (40, 66)):
        part = {i.frame.tick: i.was_searched for i in detect(frames[start:stop], detector)[0]}
        inside = range(start + reach, stop - reach)
        assert {t: part[t] for t in inside} == {t: whole[t] for t in inside}


def test_a_sight_says_nothing_of_the_shot_before_nor_of_the_next():
    dark, bright = wide_frames(30), [frame_at(k, 200, 640, 480) for k in range(30, 60)]
    detector, looks = seen_at(30, 31, 32)
    items, _ = detect(numbered(dark + bright), detector)
    assert [i.frame.tick for i in items if i.is_cut] == [0, 30]
    assert [tick for tick, side in looks if side == 640] == [30, 33, 36]


def test_ticks_between_looks_are_a_multiple_of_those_between_searches():
    assert [DetectSettings(every=n).watch_every for n in (1, 3, 5, 12, 30)] == [12, 12, 10, 12, 30]
