from __future__ import annotations

from fractions import Fraction
from itertools import islice, pairwise

import av
import numpy as np
import pytest

from tests.support.interlaced import NTSC, Luma, Tape, moments, psnr, pull_down, weave, write_tape
from vidrestore.media.deinterlace import Deinterlacer, FieldPlan, plan_fields
from vidrestore.media.fields import FieldKind, FieldReport
from vidrestore.media.probe import VideoTrack
from vidrestore.media.read import VideoReader
from vidrestore.settings import Deinterlace, ReadSettings

EACH = ReadSettings(fields=True)
ON = ReadSettings(deinterlace=Deinterlace.ON)
OFF = ReadSettings(deinterlace=Deinterlace.OFF)
MPEG2 = {"g": "12", "bf": "2"}
VARYING = [Fraction(n, 25) + Fraction(n * n % 7, 300) for n in range(40)]

TAPES = {
    "top.mpg": ("top", Tape("mpeg2video", "top", options=MPEG2, quantiser=3)),
    "bottom.mpg": ("bottom", Tape("mpeg2video", "bottom", options=MPEG2, quantiser=3)),
    "top.mp4": ("top", Tape(flag="top", options={"x264-params": "tff=1:keyint=12:bframes=2"})),
    "bottom.ts": ("bottom", Tape(flag="bottom", options={"x264-params": "bff=1:keyint=12"})),
    "grab.mkv": ("bottom", Tape(options={"x264-params": "keyint=12:open-gop=1:bframes=2"})),
    "varying.mkv": ("top", Tape(options={"x264-params": "keyint=12"}, times=VARYING)),
    "varying.mp4": ("bottom", Tape(options={"x264-params": "keyint=12"}, times=VARYING)),
    "tape.dv": ("bottom", Tape("dvvideo", "bottom", container="dv")),
    "tape.avi": ("bottom", Tape("dvvideo", "bottom")),
}  # fmt: skip


@pytest.fixture(scope="module")
def truth() -> list[Luma]:
    return moments(80, 128)


@pytest.fixture(scope="module")
def tape(tmp_path_factory, truth):
    """``tape(name)``: the path of one of TAPES and the moments behind it."""
    folder = tmp_path_factory.mktemp("tapes")
    made = {}

    def make(name):
        if name not in made:
            order, recipe = TAPES[name]
            seen = moments(24, 720, 576) if recipe.codec == "dvvideo" else truth
            made[name] = (write_tape(folder / name, weave(seen, order), recipe), seen)
        return made[name]

    return make


def facts(frame) -> tuple:
    planes = tuple(plane.tobytes() for plane in frame.planes)
    numbers = (frame.pts, frame.tick, frame.seconds, frame.duration)
    return (*numbers, frame.is_key, frame.is_corrupt, frame.layout, frame.geometry, planes)


def read(path, settings=None):
    with VideoReader(path, settings) as reader:
        return list(reader.frames()), reader


def likeness(frames, seen) -> float:
    return float(np.median([psnr(f.planes[0], m) for f, m in zip(frames, seen, strict=True)]))


@pytest.mark.parametrize("name", TAPES)
def test_the_pictures_become_those_that_the_camera_saw(tape, name):
    path, seen = tape(name)
    woven = likeness(read(path, OFF)[0], seen[::2])
    frames, reader = read(path)
    assert reader.fields.kind is FieldKind.INTERLACED
    assert likeness(frames, seen[::2]) > woven + 9
    both, _ = read(path, EACH)
    assert likeness(both, seen) > woven + 9


@pytest.mark.parametrize("name", TAPES)
def test_one_frame_for_each_picture_at_the_same_time(tape, name):
    path, _ = tape(name)
    stored, before = read(path, OFF)
    frames, after = read(path)
    assert after.info == before.info
    assert [(f.pts, f.duration, f.tick, f.is_key) for f in frames] == [
        (f.pts, f.duration, f.tick, f.is_key) for f in stored
    ]
    assert sum(f.is_key for f in frames) > 1


@pytest.mark.parametrize("name", TAPES)
def test_each_field_becomes_a_frame_halfway_to_the_next(tape, name):
    path, _ = tape(name)
    stored, before = read(path, OFF)
    frames, after = read(path, EACH)
    assert after.info.video.nominal_rate == 2 * before.info.video.nominal_rate
    assert after.info.video.time_base == before.info.video.time_base / 2
    estimates = (after.info.video.num_frames_estimate, before.info.video.num_frames_estimate)
    assert estimates == (None, None) or estimates[0] == 2 * estimates[1]
    times = [f.pts * f.time_base for f in stored]
    first, second = frames[0::2], frames[1::2]
    assert [f.pts * f.time_base for f in first] == times
    assert [f.pts * f.time_base for f in second][:-1] == [(a + b) / 2 for a, b in pairwise(times)]
    assert times[-1] < second[-1].pts * second[-1].time_base < times[-1] + Fraction(1, 25)
    assert [f.is_key for f in first] == [f.is_key for f in stored]
    assert not any(f.is_key for f in second)
    assert all(b.pts == a.pts + a.duration for a, b in pairwise(frames))
    if name != "varying.mp4":  # whose nominal rate is not the grid its times were made from
        assert [f.tick for f in frames][::2] == [2 * f.tick for f in stored] or "varying" in name


@pytest.mark.parametrize("settings", [None, EACH], ids=["pictures", "fields"])
@pytest.mark.parametrize("name", TAPES)
def test_frames_from_a_moment_are_those_of_the_whole_film(tape, name, settings):
    path, _ = tape(name)
    with VideoReader(path, settings) as reader:
        whole = [facts(frame) for frame in reader.frames()]
        times = [f[0] * reader.info.video.time_base - reader.info.origin for f in whole]
        for number in (9, min(30, len(whole) - 3), len(whole) - 1):
            for start, first in (
                (times[number], number),
                (times[number] - Fraction(1, 5000), number),
                (times[number] + Fraction(1, 5000), number + 1),
            ):
                found = [facts(frame) for frame in islice(reader.frames(start), 2)]
                assert found == whole[first : first + 2], (number, start)


@pytest.mark.parametrize("settings", [None, EACH], ids=["pictures", "fields"])
@pytest.mark.parametrize("name", ["top.mpg", "grab.mkv", "varying.mp4", "tape.dv"])
def test_the_time_of_a_numbered_frame(tape, name, settings):
    with VideoReader(tape(name)[0], settings) as reader:
        times = [f.pts * f.time_base - reader.info.origin for f in reader.frames()]
        assert [reader.time_of_frame(n) for n in range(len(times))] == times


def test_where_pictures_are_missing_the_second_field_stays_with_its_first(tmp_path, truth):
    times = [Fraction(n, 25) + (2 if n >= 20 else 0) for n in range(40)]
    path = write_tape(tmp_path / "gap.mkv", weave(truth[:80], "top"), Tape(times=times))
    frames, _ = read(path, EACH)
    gap = [f.pts * f.time_base for f in frames[38:41]]
    assert gap == [Fraction(19, 25), Fraction(39, 50), Fraction(14, 5)]


def test_whole_pictures_are_left_alone(tmp_path, truth):
    path = write_tape(tmp_path / "whole.mp4", truth[:30])
    frames, reader = read(path)
    plain, _ = read(path, OFF)
    assert [facts(f) for f in frames] == [facts(f) for f in plain]
    assert reader.notes == []


def test_falsely_flagged_pictures_are_left_alone_and_that_is_said(tmp_path, truth):
    recipe = Tape("mpeg2video", "top", options=MPEG2, quantiser=3)
    path = write_tape(tmp_path / "film.mpg", truth[:30], recipe)
    frames, reader = read(path)
    assert [facts(f) for f in frames] == [facts(f) for f in read(path, OFF)[0]]
    assert reader.notes == [
        "the film is flagged as interlaced, but its pictures are whole: left alone"
    ]


def test_telecine_is_left_as_it_is_and_said(tmp_path):
    path = write_tape(
        tmp_path / "film.mkv", pull_down(moments(32, 128, 480)), Tape(rate=NTSC, flag="top")
    )
    frames, reader = read(path, EACH)
    assert reader.fields.kind is FieldKind.TELECINED
    assert [facts(f) for f in frames] == [facts(f) for f in read(path, OFF)[0]]
    assert "left as it is: it is telecined" in reader.notes[0]
    assert reader.notes[1].startswith("--fields has no effect: it is telecined")


def test_fields_of_whole_pictures_have_no_effect_and_that_is_said(tmp_path, truth):
    frames, reader = read(write_tape(tmp_path / "whole.mp4", truth[:20]), EACH)
    assert len(frames) == 20
    assert reader.info.video.nominal_rate == 25
    assert reader.notes == ["--fields has no effect: its pictures are whole"]


def test_what_was_measured_and_done_is_said(tape):
    note = read(tape("bottom.mpg")[0])[1].notes
    assert note == [
        "the film is interlaced (bottom field first, measured in 100% of the pictures; flagged): "
        "deinterlaced; --deinterlace off keeps its lines"
    ]
    note = read(tape("grab.mkv")[0], EACH)[1].notes
    assert note == [
        "the film is interlaced (bottom field first, measured in 100% of the pictures; "
        "not flagged): deinterlaced, each field a picture (50 a second); "
        "--deinterlace off keeps its lines"
    ]


def test_off_looks_at_nothing(tape):
    frames, reader = read(tape("grab.mkv")[0], OFF)
    assert (reader.fields, reader.notes) == (None, [])
    assert len(frames) == 40


def test_off_says_that_the_flag_gets_lost(tape):
    assert read(tape("bottom.mpg")[0], OFF)[1].notes == [
        "the film is flagged as interlaced: its lines are kept as asked, but the flag is not"
    ]


def test_on_deinterlaces_whatever_was_measured(tmp_path, truth):
    path = write_tape(tmp_path / "whole.mp4", truth[:20])
    frames, reader = read(path, ON)
    plain, _ = read(path, OFF)
    assert reader.notes == ["its pictures are whole, as far as measured, but deinterlaced as asked"]
    assert [f.pts for f in frames] == [f.pts for f in plain]
    rows = [
        np.array_equal(f.planes[0][0::2], p.planes[0][0::2])
        for f, p in zip(frames, plain, strict=True)
    ]
    assert all(rows)  # the top field is kept where nothing says which is first
    assert not np.array_equal(frames[5].planes[0], plain[5].planes[0])


@pytest.mark.parametrize("flag", ["top", "bottom"])
def test_without_a_measure_the_flag_says_which_field_is_first(tmp_path, truth, flag):
    recipe = Tape("mpeg2video", flag, options=MPEG2, quantiser=3)
    path = write_tape(tmp_path / "whole.mpg", truth[:20], recipe)
    frames, _ = read(path, ON)
    plain, _ = read(path, OFF)
    kept = slice(0, None, 2) if flag == "top" else slice(1, None, 2)
    assert np.array_equal(frames[5].planes[0][kept], plain[5].planes[0][kept])
    assert not np.array_equal(frames[5].planes[0], plain[5].planes[0])


def test_colours_shape_and_turn_stay(tmp_path, truth):
    recipe = Tape(
        flag="top", options={"x264-params": "tff=1"}, colour=(5, 5, 6, 1),
        pixel_aspect=Fraction(16, 15), rotation=-90,
    )  # fmt: skip
    path = write_tape(tmp_path / "tags.mp4", weave(truth[:40], "top"), recipe)
    frames, reader = read(path)
    plain, _ = read(path, OFF)
    assert reader.fields.kind is FieldKind.INTERLACED
    assert [(f.layout, f.geometry) for f in frames] == [(f.layout, f.geometry) for f in plain]
    assert frames[0].geometry.pixel_aspect == Fraction(16, 15)
    assert frames[0].geometry.turn != (1, 0, 0, 1)
    assert frames[0].render_rgb(32, 72).shape == (72, 32, 3)


def test_damage_is_still_flagged_once_for_each_picture(tmp_path, truth):
    recipe = Tape(options={"x264-params": "keyint=12"})
    path = write_tape(tmp_path / "hurt.mkv", weave(truth, "top"), recipe)
    data = bytearray(path.read_bytes())
    for at in range(len(data) * 5 // 10, len(data) * 6 // 10, 301):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    plain, _ = read(path, OFF)
    frames, _ = read(path, ON)
    both, _ = read(path, ReadSettings(deinterlace=Deinterlace.ON, fields=True))
    assert any(f.is_corrupt for f in plain)
    assert [f.is_corrupt for f in frames] == [f.is_corrupt for f in plain]
    assert [f.is_corrupt for f in both[::2]] == [f.is_corrupt for f in both[1::2]]
    assert [f.is_corrupt for f in both[::2]] == [f.is_corrupt for f in plain]


# Pictures pushed by hand: formats and changes that no encoder here can make


def shown(pictures, plan, usual=1):
    deinterlacer = Deinterlacer(plan, Fraction(1, 25), usual)
    found = []
    for time, picture in enumerate(pictures):
        found += deinterlacer.push(time * usual, picture)
    return [*found, *deinterlacer.finish()]


def picture(luma: Luma, name: str) -> av.VideoFrame:
    gray = av.VideoFrame.from_ndarray(np.ascontiguousarray(luma), "gray")
    made = gray.reformat(format=name, src_color_range=2, dst_color_range=2)
    made.color_range, made.colorspace = 2, 5
    return made


PACKED = ["nv12", "yuyv422", "uyvy422", "p010le", "rgb24", "bgr0", "rgb48le"]
PLANAR = ["yuv420p", "yuv411p", "yuv410p", "yuv422p10le", "yuv444p", "yuvj420p", "gray", "gray16le"]


@pytest.mark.parametrize("name", [*PLANAR, *PACKED, "gray10le", "ya8", "yuv422p10be"])
def test_every_pixel_format_is_taken(truth, name):
    woven = [picture(luma, name) for luma in weave(truth[:12], "top")]
    plain = [p.reformat(format="gray").to_ndarray().astype(int) for p in woven]
    found = shown(woven, FieldPlan("top", both=False))
    assert [s.time for s in found] == list(range(6))
    for before, after in zip(plain, found, strict=True):
        assert (after.picture.width, after.picture.height) == (128, 576)
        assert (after.picture.color_range, after.picture.colorspace) == (2, 5)
        luma = after.picture.reformat(format="gray").to_ndarray().astype(int)
        assert abs(luma[0::2] - before[0::2]).max() <= 2  # the kept field
        assert abs(luma[1::2] - before[1::2]).max() > 20
    if name in PLANAR:
        assert found[0].picture.format.name == name
    if name.startswith(("gray", "ya")):
        assert found[0].picture.format.name.startswith("gray")


@pytest.mark.parametrize("both", [False, True])
def test_shape_format_and_tags_may_change_on_the_way(truth, both):
    woven = weave(truth[:30], "bottom")
    first = [picture(luma, "yuv420p") for luma in woven[:4]]
    smaller = [picture(luma[:480, :96], "yuv420p") for luma in woven[4:8]]
    other = [picture(luma[:480, :96], "yuv422p10le") for luma in woven[8:11]]
    tagged = [picture(luma[:480, :96], "yuv422p10le") for luma in woven[11:]]
    for p in tagged:
        p.colorspace = 1
    found = shown([*first, *smaller, *other, *tagged], FieldPlan("bottom", both), 10)
    each = 2 if both else 1
    kinds = [
        (s.picture.width, s.picture.height, s.picture.format.name, s.picture.colorspace)
        for s in found
    ]
    assert kinds == [
        *[(128, 576, "yuv420p", 5)] * 4 * each,
        *[(96, 480, "yuv420p", 5)] * 4 * each,
        *[(96, 480, "yuv422p10le", 5)] * 3 * each,
        *[(96, 480, "yuv422p10le", 1)] * 4 * each,
    ]
    assert [s.time for s in found] == list(range(0, 300 if both else 150, 10))


def test_the_smallest_films_come_through(truth):
    woven = picture(weave(truth[:2], "top")[0], "yuv420p")
    (alone,) = shown([woven], FieldPlan(None, both=False))
    assert alone.time == 0
    assert [s.time for s in shown([woven], FieldPlan(None, both=True), 40)] == [0, 40]
    assert shown([], FieldPlan(None, both=True)) == []


def test_a_still_flagged_film_says_why_it_is_deinterlaced():
    report = FieldReport(FieldKind.INTERLACED, None, flagged_share=1.0, num_pictures=200)
    video = VideoTrack(0, "dvvideo", 720, 576, "yuv420p", 8, Fraction(25), None, Fraction(1, 25))
    _, notes = plan_fields(ReadSettings(), report, video)
    assert notes == [
        "the film is interlaced (flagged; too little moves in it to measure): deinterlaced; "
        "--deinterlace off keeps its lines"
    ]
