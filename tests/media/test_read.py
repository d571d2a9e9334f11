from __future__ import annotations

import gc
import subprocess
import sys
from fractions import Fraction
from itertools import islice, pairwise

import numpy as np
import pytest

from tests.support.synthetic import Clip, Sound, corrupt, drawn_number, make_clip, truncate
from vidrestore.errors import MediaError, MediaOpenError, RangeError
from vidrestore.media.clock import PictureClock
from vidrestore.media.read import VideoReader

B_FRAMES = {"preset": "medium", "crf": "10", "x264-params": "keyint=12:scenecut=0:bframes=3"}
OPEN_GOPS = {**B_FRAMES, "x264-params": "open-gop=1:keyint=12:scenecut=0:bframes=3"}
VARYING = [Fraction(n, 25) + Fraction(n * n % 7, 200) for n in range(90)]

FILMS = {
    "h264.mp4": Clip(num_frames=90, options=B_FRAMES),
    "h264.mkv": Clip(num_frames=90, options=OPEN_GOPS, start=Fraction(3)),
    "open.mp4": Clip(num_frames=90, options=OPEN_GOPS),
    "open.ts": Clip(num_frames=90, options=OPEN_GOPS, start=Fraction(10), sounds=(Sound("mp2"),)),
    "vfr.mp4": Clip(num_frames=90, options=B_FRAMES, times=VARYING),
    "bframes.avi": Clip(num_frames=90, options=B_FRAMES),
    "divx.avi": Clip(num_frames=90, codec="mpeg4", options={"bf": "2"}),
    "mpeg2.mpg": Clip(
        num_frames=90, codec="mpeg2video", options={"bf": "2"}, sounds=(Sound("mp2"),)
    ),
    "asp.ts": Clip(num_frames=90, codec="mpeg4", options={"bf": "2", "g": "15"}),
    "raw.h264": Clip(num_frames=90, options=B_FRAMES),
    "dv.avi": Clip(
        num_frames=12, codec="dvvideo", options={}, width=720, height=480,
        pixel_format="yuv411p", rate=Fraction(30000, 1001),
    ),
    "frag.mp4": Clip(
        num_frames=60, options=B_FRAMES,
        container_options={"movflags": "frag_keyframe+empty_moov"},
    ),
    "windows.wmv": Clip(num_frames=60, codec="wmv2", options={}, sounds=(Sound("wmav2"),)),
}  # fmt: skip


def numbers(frames) -> list[int]:
    return [drawn_number(frame.planes[0]) for frame in frames]


def facts(frame) -> tuple:
    planes = tuple(plane.tobytes() for plane in frame.planes)
    return (frame.pts, frame.tick, frame.seconds, frame.duration, frame.layout, planes)


@pytest.mark.parametrize("name", FILMS)
def test_all_frames_come_once_and_in_order(clip, name):
    with VideoReader(clip(name, FILMS[name])) as reader:
        frames = list(reader.frames())
    assert numbers(frames) == list(range(FILMS[name].num_frames))
    times = [frame.pts for frame in frames]
    assert all(a < b for a, b in pairwise(times))
    assert (reader.damage.bad_packets, reader.damage.corrupt_frames) == (0, 0)
    assert not reader.damage.is_truncated


@pytest.mark.parametrize("name", FILMS)
def test_frames_from_a_moment_are_those_of_the_whole_film(clip, name):
    with VideoReader(clip(name, FILMS[name])) as reader:
        whole = list(reader.frames())
        for number in range(5, len(whole), 17):
            moment = whole[number].pts * whole[number].time_base - reader.info.origin
            for start, first in ((moment, number), (moment + Fraction(1, 1000), number + 1)):
                found = list(islice(reader.frames(start), 4))
                expected = whole[first : first + 4]
                assert [facts(f) for f in found] == [facts(f) for f in expected], (number, start)


@pytest.mark.parametrize("name", FILMS)
def test_the_time_of_a_numbered_frame(clip, name):
    with VideoReader(clip(name, FILMS[name])) as reader:
        whole = [f.pts * f.time_base - reader.info.origin for f in reader.frames()]
        assert [reader.time_of_frame(n) for n in range(len(whole))] == whole
        with pytest.raises(RangeError, match=f"has {len(whole)} frames"):
            reader.time_of_frame(len(whole))


def test_decoding_begins_near_the_moment_and_not_at_the_start(clip, monkeypatch):
    decoded = []
    time_of = PictureClock.time_of
    monkeypatch.setattr(
        PictureClock, "time_of", lambda self, p: decoded.append(1) or time_of(self, p)
    )
    with VideoReader(clip("h264.mp4", FILMS["h264.mp4"])) as reader:
        next(reader.frames(Fraction(3)))
    assert len(decoded) <= 26  # from the second key frame before it, of one every 12


def test_a_moment_beyond_the_end_gives_nothing(clip):
    with VideoReader(clip("h264.mp4", FILMS["h264.mp4"])) as reader:
        assert list(reader.frames(Fraction(100))) == []


def test_times_are_exact_and_counted_from_the_start_of_the_film(clip):
    with VideoReader(clip("vfr.mp4", FILMS["vfr.mp4"])) as reader:
        times = [f.pts * f.time_base - reader.info.origin for f in reader.frames()]
        seconds = [f.seconds for f in reader.frames()]
        ticks = [f.tick for f in reader.frames()]
    assert times == VARYING
    assert seconds == [float(t) for t in VARYING]
    rate = reader.info.video.nominal_rate
    assert ticks == [round(t * rate) for t in VARYING]


def test_each_frame_lasts_until_the_next(clip):
    with VideoReader(clip("vfr.mp4", FILMS["vfr.mp4"])) as reader:
        frames = list(reader.frames())
    lengths = [b - a for a, b in pairwise(VARYING)]
    assert [f.duration * f.time_base for f in frames] == [*lengths, Fraction(1, 25)]


def test_frames_outlive_the_reader(clip):
    with VideoReader(clip("h264.mp4", FILMS["h264.mp4"])) as reader:
        frames = list(islice(reader.frames(), 40))
    copies = [frame.planes[0].copy() for frame in frames]
    del reader
    gc.collect()
    assert numbers(frames) == list(range(40))
    assert all(np.array_equal(f.planes[0], c) for f, c in zip(frames, copies, strict=True))
    assert drawn_number(frames[7].render_rgb(160, 96)) == 7


def test_frames_are_read_only(clip):
    with VideoReader(clip("h264.mp4", FILMS["h264.mp4"])) as reader:
        frame = next(reader.frames())
    assert not any(plane.flags.writeable for plane in frame.planes)


def test_geometry_carries_turn_and_pixel_shape(clip):
    recipe = Clip(num_frames=2, rotation=-90, pixel_aspect=Fraction(16, 15))
    with VideoReader(clip("turned.mov", recipe)) as reader:
        geometry = next(reader.frames()).geometry
    assert (geometry.width, geometry.height) == (160, 96)
    assert geometry.turn == (0, 1, -1, 0)
    assert geometry.pixel_aspect == Fraction(16, 15)


@pytest.mark.parametrize("name", ["odd.mkv"])
def test_odd_sizes(clip, name):
    recipe = Clip(width=161, height=97, codec="ffv1", options={}, num_frames=3)
    with VideoReader(clip(name, recipe)) as reader:
        frames = list(reader.frames())
    assert numbers(frames) == [0, 1, 2]
    assert [plane.shape for plane in frames[0].planes] == [(97, 161), (49, 81), (49, 81)]


def test_ten_bit_and_full_range(clip):
    with VideoReader(clip("ten.mp4", Clip(num_frames=2, pixel_format="yuv420p10le"))) as reader:
        ten = next(reader.frames())
    with VideoReader(clip("full.mp4", Clip(num_frames=2, pixel_format="yuvj420p"))) as reader:
        full = next(reader.frames())
    assert (ten.layout.name, ten.layout.bits, ten.planes[0].dtype) == ("yuv420p10le", 10, np.uint16)
    assert (full.layout.name, full.layout.is_full_range) == ("yuv420p", True)


def test_a_truncated_film_is_read_to_its_end_and_reported(tmp_path):
    recipe = Clip(num_frames=75, container_options={"movflags": "+faststart"})
    path = truncate(make_clip(tmp_path / "cut.mp4", recipe), 0.5)
    with VideoReader(path) as reader:
        frames = list(reader.frames())
    assert 10 < len(frames) < 60
    assert numbers(frames) == list(range(len(frames)))
    assert reader.damage.is_truncated


def test_a_truncated_matroska_is_reported(tmp_path):
    path = truncate(make_clip(tmp_path / "cut.mkv", Clip(num_frames=75)), 0.5)
    with VideoReader(path) as reader:
        assert len(list(reader.frames())) < 60
    assert reader.damage.is_truncated


def test_a_range_that_is_left_early_is_not_truncated(clip):
    with VideoReader(clip("h264.mp4", FILMS["h264.mp4"])) as reader:
        for _ in islice(reader.frames(), 5):
            pass
    assert not reader.damage.is_truncated


def test_flipped_bytes_are_counted_and_decoding_goes_on(tmp_path):
    recipe = Clip(num_frames=75, options=B_FRAMES, sounds=(Sound(),))
    path = corrupt(make_clip(tmp_path / "hurt.mkv", recipe), 0.3, 0.6, every=301)
    with VideoReader(path) as reader:
        frames = list(reader.frames())
    assert len(frames) > 40
    assert sum(f.is_corrupt for f in frames) == reader.damage.corrupt_frames
    assert reader.damage.corrupt_frames + reader.damage.bad_packets > 0
    assert all(a.pts < b.pts for a, b in pairwise(frames))


@pytest.mark.parametrize("name", ["holed.ts", "holed.mkv"])
@pytest.mark.parametrize("num_bytes", [1_000, 1_000_000])
def test_reading_goes_on_behind_a_hole(clip, tmp_path, name, num_bytes):
    data = clip(name, Clip(num_frames=75, options=B_FRAMES)).read_bytes()
    middle = len(data) // 2
    (tmp_path / name).write_bytes(data[:middle] + bytes(num_bytes) + data[middle:])
    with VideoReader(tmp_path / name) as reader:
        found = numbers(reader.frames())
    assert found[:25] == list(range(25))
    assert found[-15:] == list(range(60, 75))


def test_a_file_that_vanishes_is_a_media_error(tmp_path):
    path = make_clip(tmp_path / "gone.mp4", Clip(num_frames=2))
    reader = VideoReader(path)
    path.unlink()
    with pytest.raises(MediaError, match="no such file"):
        next(reader.frames())


def test_opening_nonsense_fails_at_once(tmp_path):
    with pytest.raises(MediaOpenError):
        VideoReader(tmp_path / "nothing.mp4")


def test_reading_on_after_closing_is_refused(clip):
    with VideoReader(clip("h264.mp4", FILMS["h264.mp4"])) as reader:
        frames = reader.frames()
        next(frames)
    with pytest.raises(ValueError, match="closed"):
        list(frames)


def test_abandoned_readers_do_not_hang_the_process(clip):
    path = clip("h264.mp4", FILMS["h264.mp4"])
    program = (
        "import sys; from pathlib import Path; from itertools import islice\n"
        "from vidrestore.media.read import VideoReader\n"
        "for k in range(5):\n"
        "    reader = VideoReader(Path(sys.argv[1]))\n"
        "    kept = list(islice(reader.frames(), 7)); frames = reader.frames(); next(frames)\n"
        "print('alive')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "alive\n", done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["joined.mpg", "joined.ts"])
def test_time_goes_on_where_recordings_were_joined(clip, tmp_path, name):
    codec, options = ("mpeg2video", {}) if name.endswith("mpg") else ("libx264", B_FRAMES)
    part = clip(name, Clip(num_frames=40, codec=codec, options=options, sounds=(Sound("mp2"),)))
    path = tmp_path / name
    path.write_bytes(part.read_bytes() * 2)
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        times = [f.pts * f.time_base - reader.info.origin for f in frames]
        assert reader.damage.clock_restarts == 1
        assert [reader.time_of_frame(n) for n in range(len(times))] == times
    assert numbers(frames) == [*range(40), *range(40)]
    gaps = [b - a for a, b in pairwise(times)]
    assert {round(float(gap), 3) for gap in gaps[:39] + gaps[40:]} == {0.04}
    assert 0.04 <= gaps[39] < 0.08  # the sound is a little longer than the pictures


def test_pictures_half_a_frame_after_the_sound_still_count_one_by_one(tmp_path):
    late = Clip(num_frames=20, start=Fraction(1, 50), sounds=(Sound(),))
    with VideoReader(make_clip(tmp_path / "late.mp4", late)) as reader:
        assert [frame.tick for frame in reader.frames()] == list(range(20))
