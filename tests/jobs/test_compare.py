import dataclasses

import numpy as np
import pytest

from tests.support.fakes import LAYOUT, frame_at
from vidrestore.contracts import FrameGeometry
from vidrestore.core.views import orient
from vidrestore.jobs.compare import AFTER, BEFORE, Comparer, labelled, side_by_side, split
from vidrestore.settings import Compare

TURNS = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)]
TURNS += [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]
WHITE, NEUTRAL = 235, 128


def pair(geometry, **changes):
    """A dark frame with chroma of its own, and a bright one."""
    frames = []
    for luma, chroma in ((30, 90), (200, 160)):
        frame = dataclasses.replace(frame_at(0, luma, geometry=geometry), **changes)
        planes = (frame.planes[0], *(np.full_like(p, chroma) for p in frame.planes[1:]))
        frames.append(dataclasses.replace(frame, planes=planes))
    return frames


def seen(frame, plane=0):
    """A plane as it is seen."""
    return orient(np.dstack([frame.planes[plane]] * 3), frame.geometry.turn)[..., 0]


@pytest.mark.parametrize("turn", TURNS)
def test_the_original_is_on_the_left_as_the_film_is_shown(turn):
    both = side_by_side(*pair(FrameGeometry(64, 48, turn=turn)))
    shown = seen(both)
    middle = shown.shape[1] // 2
    assert (shown[:, :middle] == 30).all()
    assert (shown[:, middle:] == 200).all()
    assert (both.geometry.height, both.geometry.width) == both.planes[0].shape
    assert both.planes[1].shape == tuple(n // 2 for n in both.planes[0].shape)


def test_an_odd_last_column_is_left_out_where_chroma_would_not_meet():
    both = side_by_side(*pair(FrameGeometry(63, 47)))
    assert both.planes[0].shape == (47, 124)
    assert both.planes[1].shape == (24, 62)


@pytest.mark.parametrize("turn", TURNS)
def test_a_split_picture_is_before_a_thin_white_line_and_after(turn):
    made = split(*pair(FrameGeometry(64, 48, turn=turn)), 0.5)
    for plane, (before, line, after) in enumerate(
        ((30, WHITE, 200), (90, NEUTRAL, 160), (90, NEUTRAL, 160))
    ):
        shown = seen(made, plane)
        (columns,) = np.nonzero((shown == line).any(axis=0))
        assert (shown[:, columns] == line).all()
        assert len(columns) == (2 if plane == 0 else 1)
        assert abs(columns.mean() / shown.shape[1] - 0.5) < 0.06
        assert (shown[:, : columns[0]] == before).all()
        assert (shown[:, columns[-1] + 1 :] == after).all()


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("size", [(63, 47), (65, 49)])
def test_at_the_ends_there_is_no_line_also_in_odd_pictures(turn, size):
    before, after = pair(FrameGeometry(*size, turn=turn))
    for share, whole in ((0.0, after), (1.0, before)):
        for made, expected in zip(split(before, after, share).planes, whole.planes, strict=True):
            np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("size", [(63, 47), (65, 49)])
def test_odd_pictures_keep_their_shape_wherever_the_line_is(size):
    before, after = pair(FrameGeometry(*size))
    for share in np.linspace(0, 1, 33):
        made = split(before, after, share)
        assert [p.shape for p in made.planes] == [p.shape for p in after.planes]
        left = int(np.sum(made.planes[0][0] == 30))
        assert abs(left - share * size[0]) <= 2


def test_without_chroma_subsampling_and_with_more_bits_the_line_is_as_white():
    layout = dataclasses.replace(
        LAYOUT, name="yuv444p10le", bits=10, chroma_shift_x=0, chroma_shift_y=0
    )
    planes = tuple(np.full((48, 64), k, np.uint16) for k in (200, 512, 512))
    frame = dataclasses.replace(frame_at(0), layout=layout, planes=planes)
    made = split(frame, frame, 0.5)
    assert made.planes[0].max() == 940
    assert (made.planes[1] == 512).all()
    full = dataclasses.replace(frame, layout=dataclasses.replace(layout, is_full_range=True))
    assert split(full, full, 0.5).planes[0].max() == 1023


def test_the_join_runs_across_and_back_in_the_course_of_the_clip():
    before, after = pair(FrameGeometry(64, 48))
    comparer = Comparer(Compare.WIPE, start_seconds=10, length_seconds=4)
    shares = []
    for seconds in (10, 11, 12, 13, 14):
        now = [dataclasses.replace(frame, seconds=seconds) for frame in (before, after)]
        shares.append(float((comparer.combine(*now).planes[0] == 30).mean()))
    assert shares == pytest.approx([1, 0.5, 0, 0.5, 1], abs=0.04)


def test_the_whole_picture_flips_every_second():
    before, after = pair(FrameGeometry(64, 48))
    comparer = Comparer(Compare.FLIP, start_seconds=10, length_seconds=4)
    shown = []
    for seconds in (10, 10.96, 11, 11.96, 12):
        now = [dataclasses.replace(frame, seconds=seconds) for frame in (before, after)]
        shown.append(int(comparer.combine(*now).planes[0][0, 0]))
    assert shown == [30, 30, 200, 200, 30]


@pytest.mark.parametrize("turn", TURNS)
def test_a_word_is_read_upright_in_the_lower_left_corner(turn):
    size = (640, 480) if turn[0] else (480, 640)
    upright = labelled(pair(FrameGeometry(640, 480))[0], BEFORE)
    frame = pair(FrameGeometry(*size, turn=turn))[0]
    made = labelled(frame, BEFORE)
    np.testing.assert_array_equal(seen(made), seen(upright))
    rows, columns = np.nonzero(seen(made) != 30)
    assert rows.min() > 480 * 0.9
    assert columns.max() < 640 * 0.2
    assert seen(made).max() > 200  # white letters
    assert (frame.planes[0] == 30).all()


@pytest.mark.parametrize("turn", TURNS)
def test_a_word_about_what_is_on_the_right_stands_on_the_right(turn):
    size = (640, 480) if turn[0] else (480, 640)
    made = labelled(pair(FrameGeometry(*size, turn=turn))[0], AFTER, since=0.5)
    rows, columns = np.nonzero(seen(made) != 30)
    assert rows.min() > 480 * 0.9
    assert 640 * 0.8 < columns.min() < columns.max() < 640
    rows, columns = np.nonzero(seen(made, 1) != 90)
    assert rows.min() > 240 * 0.9
    assert columns.min() > 320 * 0.8


def test_words_are_left_out_where_the_other_side_is_shown():
    before, after = pair(FrameGeometry(640, 480))
    narrow = split(before, after, 0.05)
    assert (narrow.planes[0][:, :32] == 30).all()
    assert narrow.planes[0][440:, 560:].min() < 200  # the other word is there
    wide = split(before, after, 0.95)
    assert (wide.planes[0][:, 612:] == 200).all()


def test_a_flipping_picture_differs_from_the_film_in_its_mark_alone():
    before, after = pair(FrameGeometry(640, 480))
    comparer = Comparer(Compare.FLIP, 0, 4)
    words = []
    for seconds, whole in ((0, before), (1, after)):
        now = [dataclasses.replace(frame, seconds=seconds) for frame in (before, after)]
        made = comparer.combine(*now).planes[0]
        rows, columns = np.nonzero(made != whole.planes[0])
        assert rows.min() > 430
        assert columns.max() < 128
        words.append(made[rows.min() :, : columns.max()])
    assert words[0].shape != words[1].shape or (words[0] != words[1]).any()


def test_a_frame_before_that_is_smaller_is_enlarged():
    before, after = pair(FrameGeometry(64, 48))[0], pair(FrameGeometry(128, 96))[1]
    for compare in Compare:
        made = Comparer(compare, 0, 1).combine(before, after)
        assert made.planes[0].shape == (96, 256 if compare is Compare.SIDE else 128)
        assert (made.planes[0][:, 0] == 30).all()


def test_a_pressed_picture_gets_its_word_too():
    """An anamorphic tape: each stored column is shown 16/15 as wide."""
    from fractions import Fraction

    geometry = FrameGeometry(720, 576, pixel_aspect=Fraction(16, 15))
    made = labelled(pair(geometry)[0], BEFORE)
    rows, columns = np.nonzero(made.planes[0] != 30)
    assert rows.min() > 576 * 0.9
    assert columns.max() < 720 * 0.2


@pytest.mark.parametrize("compare", Compare)
def test_frames_keep_their_time(compare):
    frame = dataclasses.replace(frame_at(7), duration=3)
    made = Comparer(compare, 0, 1).combine(frame, frame)
    assert (made.pts, made.duration, made.tick) == (7, 3, 7)
