"""Films as they come from dying disks, torn tapes and cameras whose battery went flat."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import pytest

from tests.conftest import skip_or_fail
from tests.support.films import beeps, film_times, payloads, rewrite
from tests.support.synthetic import Clip, Sound, drawn_number, make_clip
from vidrestore.errors import MediaError, MediaOpenError
from vidrestore.media.probe import probe
from vidrestore.media.read import VideoReader

GOPS = "keyint=12:scenecut=0:bframes=3"
CLOSED = {"preset": "medium", "crf": "18", "x264-params": f"{GOPS}:open-gop=0"}
OPEN = {"preset": "medium", "crf": "18", "x264-params": f"{GOPS}:open-gop=1"}
REFRESH = {"preset": "medium", "crf": "18", "x264-params": "keyint=12:intra-refresh=1:bframes=0"}
HEVC = {"preset": "ultrafast", "x265-params": "keyint=12:min-keyint=12:log-level=none:pools=1"}
HEVC_OPEN = {**HEVC, "x265-params": HEVC["x265-params"] + ":open-gop=1"}
MPEG2 = {"bf": "2", "g": "12"}
MPEG2_CLOSED = {**MPEG2, "flags": "+cgop", "sc_threshold": "1000000000"}
MP2, MP3 = (Sound("mp2"),), (Sound("libmp3lame"),)

FILMS = {
    "closed.mp4": Clip(num_frames=70, options=CLOSED, sounds=(Sound(),)),
    "open.mp4": Clip(num_frames=70, options=OPEN, sounds=(Sound(),)),
    "refresh.mp4": Clip(num_frames=70, options=REFRESH),
    "closed.mov": Clip(num_frames=70, options=CLOSED),
    "open.mov": Clip(num_frames=70, options=OPEN),
    "closed.mkv": Clip(num_frames=70, options=CLOSED, sounds=(Sound(),)),
    "open.mkv": Clip(num_frames=70, options=OPEN),
    "refresh.mkv": Clip(num_frames=70, options=REFRESH),
    "closed.avi": Clip(num_frames=70, options=CLOSED, sounds=MP3),
    "open.avi": Clip(num_frames=70, options=OPEN),
    "closed.ts": Clip(num_frames=70, options=CLOSED, sounds=MP2),
    "open.ts": Clip(num_frames=70, options=OPEN, sounds=MP2),
    "refresh.ts": Clip(num_frames=70, options=REFRESH),
    "closed.flv": Clip(num_frames=70, options=CLOSED),
    "open.flv": Clip(num_frames=70, options=OPEN, sounds=MP3),
    "closed.h264": Clip(num_frames=70, options=CLOSED),
    "open.h264": Clip(num_frames=70, options=OPEN),
    "hevc.mp4": Clip(num_frames=50, codec="libx265", options=HEVC),
    "hevc_open.mkv": Clip(num_frames=50, codec="libx265", options=HEVC_OPEN),
    "open.mpg": Clip(num_frames=70, codec="mpeg2video", options=MPEG2, sounds=MP2),
    "closed.mpg": Clip(num_frames=70, codec="mpeg2video", options=MPEG2_CLOSED, sounds=MP2),
    "open2.ts": Clip(num_frames=70, codec="mpeg2video", options=MPEG2),
    "open.m2v": Clip(num_frames=70, codec="mpeg2video", options=MPEG2),
    "divx.avi": Clip(num_frames=70, codec="mpeg4", options={"bf": "2", "g": "12"}),
    "windows.wmv": Clip(num_frames=60, codec="wmv2", options={}, sounds=(Sound("wmav2"),)),
    "camera.dv": Clip(num_frames=30, codec="dvvideo", options={}, width=720, height=576),
}
# FFmpeg does not flag what it could not decode in HEVC, and shows old memory in its place.
FLAGGED = [name for name in FILMS if not name.startswith("hevc")]


def facts(frame) -> tuple:
    return (
        frame.pts, frame.tick, frame.duration, frame.is_key,
        hash(b"".join(plane.tobytes() for plane in frame.planes)),
    )  # fmt: skip


def flip(path, seed: int, num_bytes: int = 6):
    """Damage single bytes of the middle of a film."""
    numbers, data = random.Random(seed), bytearray(path.read_bytes())
    for _ in range(num_bytes):
        data[numbers.randrange(int(len(data) * 0.15), int(len(data) * 0.5))] ^= 0xFF
    path.write_bytes(data)
    return path


def require_same_from_anywhere(path, step: int) -> None:
    with VideoReader(path) as reader:
        whole = list(reader.frames())
        expected = [facts(frame) for frame in whole]
        assert [facts(frame) for frame in reader.frames()] == expected
        for number in range(4, len(whole), step):
            start = whole[number].pts * whole[number].time_base - reader.info.origin
            assert [facts(frame) for frame in reader.frames(start)] == expected[number:], number


@pytest.mark.parametrize("name", FILMS)
def test_reading_from_a_moment_gives_what_reading_all_gives(clip, name):
    require_same_from_anywhere(clip(name, FILMS[name]), 13)


@pytest.mark.parametrize("name", FLAGGED)
def test_reading_from_a_moment_gives_the_same_in_damaged_films(clip, tmp_path, name):
    path = flip(shutil.copy(clip(name, FILMS[name]), tmp_path / name), 1)
    require_same_from_anywhere(path, 13)


@pytest.mark.parametrize("name", FILMS)
def test_damaged_films_are_the_same_whenever_they_are_read(clip, tmp_path, name):
    path = flip(shutil.copy(clip(name, FILMS[name]), tmp_path / name), 2, 12)
    with VideoReader(path) as first, VideoReader(path) as second:
        assert [facts(f) for f in first.frames()] == [facts(f) for f in second.frames()]
        assert first.damage == second.damage


def test_damage_before_a_range_is_not_counted_to_it(clip, tmp_path):
    path = flip(shutil.copy(clip("open.ts", FILMS["open.ts"]), tmp_path / "a.ts"), 1)
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert reader.damage.corrupt_frames == sum(f.is_corrupt for f in frames) > 0
    with VideoReader(path) as reader:
        found = list(reader.frames(Fraction(5, 2)))
        assert reader.damage.corrupt_frames == sum(f.is_corrupt for f in found) == 0
        assert reader.damage.num_pictures > len(found)


def test_lost_packets_are_counted_as_lost_pictures(clip, tmp_path):
    data = clip("closed.ts", FILMS["closed.ts"]).read_bytes()
    middle = len(data) // 2 // 188 * 188
    path = tmp_path / "lost.ts"
    path.write_bytes(data[:middle] + data[middle + 188 * 40 :])
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert len(frames) + reader.damage.lost_pictures == 70
        assert reader.damage.lost_pictures > 0
    # what is shown between the damage and the next key frame refers to what was lost
    begin = reader.info.video.start_seconds
    shown = {round((f.seconds - begin) * 25): drawn_number(f.planes[0]) for f in frames}
    assert [shown[at] for at in (*range(30), *range(48, 70))] == [*range(30), *range(48, 70)]


@pytest.mark.parametrize("name", ["closed.ts", "open.mkv", "closed.avi", "open.flv", "open.mpg"])
def test_damaged_films_are_written_in_sync(clip, tmp_path, name):
    path = flip(shutil.copy(clip(name, FILMS[name]), tmp_path / name), 3)
    rewrite(path, tmp_path / "out.mkv")
    before, after = film_times(path), film_times(tmp_path / "out.mkv")
    assert len(before) == len(after) > 50
    assert all(abs(a - b) < Fraction(1, 500) for a, b in zip(before, after, strict=True))


def test_a_film_cut_out_of_another_begins_with_its_first_whole_picture(clip, tmp_path):
    data = clip("open.ts", FILMS["open.ts"]).read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(data[len(data) // 3 // 188 * 188 :])
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        numbers = [drawn_number(f.planes[0]) for f in frames if not f.is_corrupt]
        assert numbers == list(range(numbers[0], 70))
    require_same_from_anywhere(path, 7)


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_garbage_before_the_film_is_skipped(clip, tmp_path, suffix):
    name = f"open{suffix}"
    noise = random.Random(5).randbytes(5000).replace(b"\x47", b"\x46").replace(b"\x01", b"\x02")
    path = tmp_path / name
    path.write_bytes(noise + clip(name, FILMS[name]).read_bytes())
    with VideoReader(path) as reader:
        assert [drawn_number(f.planes[0]) for f in reader.frames()][-60:] == list(range(10, 70))


def test_a_film_without_its_index_can_be_read(clip, tmp_path):
    data = clip("closed.avi", FILMS["closed.avi"]).read_bytes()
    path = tmp_path / "noindex.avi"
    path.write_bytes(data[: data.rindex(b"idx1")])
    require_same_from_anywhere(path, 13)


def test_a_matroska_without_cues_can_be_read(clip, tmp_path):
    path = shutil.copy(clip("closed.mkv", FILMS["closed.mkv"]), tmp_path / "nocues.mkv")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\x1c\x53\xbb\x6b", b"\xec\x53\xbb\x6b"))
    require_same_from_anywhere(path, 13)


@pytest.mark.parametrize("seconds", [0.5, 5.0])
def test_sound_and_pictures_of_different_length_both_come_through(tmp_path, seconds):
    sound = Sound("aac", seconds=seconds)
    path = make_clip(tmp_path / "a.mp4", Clip(num_frames=50, sounds=(sound,)))
    rewrite(path, tmp_path / "out.mp4")
    assert len(film_times(tmp_path / "out.mp4")) == 50
    assert payloads(tmp_path / "out.mp4") == payloads(path)


def test_sound_that_starts_late_stays_late(tmp_path):
    sound = Sound("aac", start=Fraction(3, 2), seconds=2)
    path = make_clip(tmp_path / "a.mp4", Clip(num_frames=100, sounds=(sound,)))
    rewrite(path, tmp_path / "out.mkv")
    heard = beeps(tmp_path / "out.mkv")
    assert [round(moment, 1) for moment in heard] == [1.5, 2.5]


def flv_tags(data: bytes, kind: int):
    """Offsets of the tags of one kind: 8 sound, 9 pictures."""
    at = 13
    while at + 11 < len(data):
        if data[at] == kind:
            yield at
        at += 15 + int.from_bytes(data[at + 1 : at + 4], "big")


@pytest.mark.parametrize("bad", [[20], [20, 21], [0 + 3], [70]])
def test_a_time_hours_ahead_is_damage(clip, tmp_path, bad):
    source = clip("open.flv", FILMS["open.flv"])
    data = bytearray(source.read_bytes())
    tags = list(flv_tags(bytes(data), 9))
    for number in bad:
        data[tags[number] + 7] = 3  # 14 hours
    path = tmp_path / "bad.flv"
    path.write_bytes(data)
    expected = film_times(source)
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert reader.damage.mended_times == len(bad)
    assert len(frames) == 70
    assert all(a.pts < b.pts for a, b in pairwise(frames))
    times = [f.pts * f.time_base - reader.info.origin for f in frames]
    assert max(times) < 4
    assert all(abs(a - b) <= Fraction(2, 25) for a, b in zip(times, expected, strict=True))
    require_same_from_anywhere(path, 11)


def test_a_jump_that_lasts_stays(tmp_path):
    times = [Fraction(n, 25) + (1800 if n > 30 else 0) for n in range(320)]
    recipe = Clip(num_frames=256, times=times[:256], options=CLOSED)
    path = make_clip(tmp_path / "pause.mkv", recipe)
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert reader.damage.mended_times == 0
    assert abs(frames[-1].seconds - float(times[255])) < 0.01


def test_a_picture_after_a_long_pause_is_no_damage(tmp_path):
    times = [*(Fraction(n, 25) for n in range(20)), Fraction(90)]
    path = make_clip(tmp_path / "end.mkv", Clip(num_frames=21, times=times))
    with VideoReader(path) as reader:
        assert abs(list(reader.frames())[-1].seconds - 90) < 0.01
        assert reader.damage.mended_times == 0


def test_slides_are_no_damage(tmp_path):
    times = [Fraction(15 * n) for n in range(8)]
    path = make_clip(tmp_path / "slides.mkv", Clip(num_frames=8, times=times, rate=Fraction(1)))
    with VideoReader(path) as reader:
        assert [round(frame.seconds) for frame in reader.frames()] == times
        assert reader.damage.mended_times == 0


@pytest.mark.parametrize("faststart", [False, True])
def test_a_cut_recording_is_refused_with_what_is_missing(tmp_path, faststart):
    options = {"movflags": "+faststart"} if faststart else {}
    path = make_clip(tmp_path / "cut.mp4", Clip(num_frames=75, container_options=options))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") + 100 if faststart else -2000])
    what = "cut off within its index" if faststart else r"index \(moov\) is missing, and it is cut"
    with pytest.raises(MediaOpenError, match=what) as error:
        probe(path)
    assert "\n" not in str(error.value)


def test_absurd_sizes_are_refused_before_memory_is_asked_for(tmp_path):
    path = make_clip(tmp_path / "raw.avi", Clip(num_frames=2, codec="rawvideo", options={}))
    data = bytearray(path.read_bytes())
    struct.pack_into("<ii", data, data.index(b"strf") + 12, 60_000, 60_000)
    path.write_bytes(data)
    with pytest.raises(MediaOpenError, match="how large its pictures are"):
        probe(path)


def test_pictures_too_wide_are_refused(tmp_path):
    recipe = Clip(num_frames=2, codec="rawvideo", options={}, width=16_392, height=16)
    with pytest.raises(MediaOpenError, match="16392x16: more than 16384 on a side"):
        probe(make_clip(tmp_path / "wide.avi", recipe))


@pytest.mark.parametrize("rate", [Fraction(1000), Fraction(90000)])
def test_absurd_rates_are_not_believed(tmp_path, rate):
    times = [Fraction(n, 25) for n in range(50)]
    path = make_clip(tmp_path / "a.mkv", Clip(num_frames=50, times=times, rate=rate))
    assert 20 <= probe(path).video.nominal_rate <= 30


def test_more_than_a_hundred_tracks(tmp_path):
    sounds = tuple(Sound("libmp3lame", seconds=0.2) for _ in range(101))
    path = make_clip(tmp_path / "many.mkv", Clip(num_frames=5, sounds=sounds))
    assert len(probe(path).audio) == 101
    with VideoReader(path) as reader:
        assert len(list(reader.frames())) == 5


FAILING_READ = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
ssize_t read(int fd, void *buffer, size_t count) {
  static ssize_t (*original)(int, void *, size_t);
  char link[64], name[512];
  if (!original) original = dlsym(RTLD_NEXT, "read");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = getenv("FAIL_AT") ? readlink(link, name, sizeof name - 1) : -1;
  if (length > 0) {
    name[length] = 0;
    off_t end = lseek(fd, 0, SEEK_CUR) + count;
    if (strstr(name, "failing.") && end > atol(getenv("FAIL_AT"))) {
      errno = EIO;
      return -1;
    }
  }
  return original(fd, buffer, count);
}
"""


@pytest.fixture(scope="session")
def failing_read(tmp_path_factory):
    """A library that makes a disk fail behind a byte of files named ``failing.*``."""
    if not sys.platform.startswith("linux") or shutil.which("cc") is None:
        skip_or_fail("cc", "making a disk fail needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("read")
    (folder / "read.c").write_text(FAILING_READ)
    library = folder / "read.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "read.c", "-ldl"], check=True)
    return library


PROGRAM = """
import os, sys
from pathlib import Path
from vidrestore.errors import MediaError
from vidrestore.media.read import VideoReader
for name in sys.argv[1:]:
    path = Path(name)
    os.environ.pop("FAIL_AT", None)
    with VideoReader(path) as reader:
        os.environ["FAIL_AT"] = str(int(path.stat().st_size * 0.6))
        try:
            print(len(list(reader.frames())))
        except MediaError as error:
            print(error)
"""


def test_a_disk_that_fails_in_the_middle_ends_the_reading(clip, tmp_path, failing_read):
    paths = []
    for name in ("closed.mp4", "open.mkv", "open.ts", "open.mpg", "closed.avi", "open.flv"):
        paths.append(tmp_path / f"failing.{name}")
        shutil.copy(clip(name, FILMS[name]), paths[-1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, paths)],
        env={"LD_PRELOAD": str(failing_read), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths), done.stderr
    for line, path in zip(lines, paths, strict=True):
        assert "Input/output error" in line
        assert str(path) in line


def test_errors_of_reading_are_media_errors():
    assert issubclass(MediaOpenError, MediaError)


def steps_to_times(steps):
    return [sum(steps[:k], Fraction(0)) for k in range(len(steps) + 1)]


_EVEN = Fraction(1, 25)
_UNEVEN = [Fraction(n) for n in (5, 12, 8, 15, 5, 5, 15, 12, 8, 5)]


@pytest.mark.parametrize("suffix", [".mkv", ".flv", ".ts"])
@pytest.mark.parametrize("num_b", [0, 3])
@pytest.mark.parametrize(
    "steps",
    [
        [_EVEN] * 25 + [Fraction(12)] + [_EVEN] * 60,
        [_EVEN] * 25 + [Fraction(25)] + [_EVEN] * 60,
        _UNEVEN * 5,
        [Fraction(1)] * 50,
    ],
    ids=["pause12", "pause25", "slides", "seconds"],
)
def test_pauses_and_slides_are_no_damage(clip, suffix, num_b, steps):
    times = steps_to_times(steps)
    options = {"preset": "ultrafast", "bf": str(num_b), "x264-params": "b-adapt=0"}
    name = f"pace-{len(steps)}-{num_b}-{float(sum(steps)):.0f}{suffix}"
    recipe = Clip(num_frames=len(times), times=times, time_base=Fraction(1, 1000), options=options)
    with VideoReader(clip(name, recipe)) as reader:
        found = [frame.pts * frame.time_base for frame in reader.frames()]
        assert reader.damage.mended_times == 0
    assert len(found) == len(times)
    for expected, time in zip(times, found, strict=True):
        assert abs((time - found[0]) - expected) <= Fraction(2, 1000)


def test_a_strange_length_in_the_tags_is_no_reason_to_stop(clip, tmp_path):
    path = tmp_path / "strange.mkv"
    path.write_bytes(
        clip("tagged.mkv", Clip(num_frames=60)).read_bytes().replace(b"00:00:02.4", b"00:00:02,4")
    )
    with VideoReader(path) as reader:
        assert len(list(reader.frames())) == 60
