from __future__ import annotations

from fractions import Fraction
from itertools import islice, pairwise

import av
import pytest

from tests.support.films import beeps, film_times, rewrite
from tests.support.synthetic import Clip, Sound, drawn_number, make_clip
from vidrestore.media.opening import film_stream, open_source
from vidrestore.media.probe import probe
from vidrestore.media.read import VideoReader
from vidrestore.media.timeline import Timeline, can_start_anew, scan

B_FRAMES = {"preset": "medium", "crf": "10", "x264-params": "keyint=12:scenecut=0:bframes=3"}
MPEG2 = {"bf": "2", "g": "12"}


def part(suffix: str, num_frames: int, start: int = 0, **changes) -> Clip:
    codec, options = ("mpeg2video", MPEG2) if suffix == ".mpg" else ("libx264", B_FRAMES)
    recipe = {"sounds": (Sound("mp2"),), **changes}
    return Clip(
        num_frames=num_frames, start=Fraction(start), codec=codec, options=options, **recipe
    )


@pytest.fixture
def joined(clip, tmp_path):
    """``joined(suffix, parts)``: recordings one behind the other in one file."""

    def join(suffix: str, *parts: Clip):
        path = tmp_path / f"joined{suffix}"
        path.write_bytes(b"".join(clip(f"part{suffix}", p).read_bytes() for p in parts))
        return path

    return join


def found(path) -> Timeline:
    with open_source(path) as container:
        return scan(container, film_stream(container).index)


def moments(frames) -> list[Fraction]:
    return [frame.pts * frame.time_base for frame in frames]


# the muxer of program streams starts near zero, whatever it is told
@pytest.mark.parametrize(
    ("suffix", "second_start"), [(".ts", 0), (".ts", 3), (".ts", 50_000), (".mpg", 0), (".mpg", 3)]
)
def test_sound_and_pictures_get_the_same_offset(joined, suffix, second_start):
    path = joined(suffix, part(suffix, 60, 20), part(suffix, 40, second_start))
    line = found(path)
    assert line.num_joints == 1
    assert line.num_pictures == 100
    assert {joint.offset for joints in line.joints.values() for joint in joints} == {
        line.joints[0][0].offset
    }
    assert line.joints[0][0].packet == 60
    assert len(line.joints) == 2


def test_a_film_in_one_piece_has_no_joints(clip):
    line = found(clip("part.ts", part(".ts", 60, 20)))
    assert (line.num_joints, line.joints, line.num_pictures) == (0, {}, 60)
    assert abs(line.end - Fraction("22.4") - Fraction(0)) < Fraction(1, 10)


def test_many_recordings(joined):
    line = found(joined(".ts", *[part(".ts", 30, 5)] * 7))
    assert line.num_joints == 6
    assert [joint.packet for joint in line.joints[0]] == [30 * n for n in range(1, 7)]
    offsets = [joint.offset for joint in line.joints[0]]
    assert len({b - a for a, b in pairwise(offsets)}) == 1


def test_the_next_recording_begins_where_the_longest_track_ended(joined):
    long_sound = part(".ts", 25, 5, sounds=(Sound("mp2", seconds=3.0),))
    with VideoReader(joined(".ts", long_sound, part(".ts", 25, 5))) as reader:
        times = moments(reader.frames())
    assert abs(times[25] - times[0] - 3) < 0.05


def test_a_track_that_is_missing_at_first_keeps_its_distance(joined):
    late = part(".ts", 50, 5, sounds=(Sound("mp2", start=Fraction(1)),))
    path = joined(".ts", part(".ts", 50, 5), late)
    line = found(path)
    assert line.joints[0][0].offset == line.joints[1][0].offset


def test_a_gap_of_a_few_seconds_is_no_joint(joined):
    assert found(joined(".ts", part(".ts", 30, 5), part(".ts", 30, 10))).num_joints == 0


@pytest.mark.parametrize(("name", "can"), [("a.ts", True), ("a.mpg", True), ("a.mp4", False)])
def test_only_containers_that_can_be_joined_are_scanned(clip, name, can):
    codec = "mpeg2video" if name.endswith("mpg") else "libx264"
    path = clip(name, Clip(num_frames=5, codec=codec, options={}))
    with open_source(path) as container:
        assert can_start_anew(container) is can
    assert (probe(path).timeline.num_pictures is not None) is can


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_facts_of_a_joined_film(joined, suffix):
    info = probe(joined(suffix, *[part(suffix, 50, 5)] * 3))
    assert info.video.num_frames_estimate == 150
    assert abs(info.duration_seconds - 6) < 0.2
    assert not info.timeline.can_seek


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_ranges_of_a_joined_film_are_those_of_the_whole(joined, suffix):
    with VideoReader(joined(suffix, part(suffix, 60, 30), part(suffix, 60, 2))) as reader:
        whole = list(reader.frames())
        assert [drawn_number(f.planes[0]) for f in whole] == [*range(60), *range(60)]
        assert all(a.tick < b.tick and a.seconds < b.seconds for a, b in pairwise(whole))
        for number in (30, 59, 60, 75, 110):
            start = whole[number].pts * whole[number].time_base - reader.info.origin
            part_of_it = list(islice(reader.frames(start), 5))
            assert [f.pts for f in part_of_it] == [f.pts for f in whole[number : number + 5]]
            assert [drawn_number(f.planes[0]) for f in part_of_it] == [
                (number + n) % 60 for n in range(len(part_of_it))
            ]


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
@pytest.mark.parametrize("target", ["out.mkv", "out.mp4"])
def test_beeps_stay_with_their_pictures_behind_a_joint(joined, tmp_path, suffix, target):
    first = part(suffix, 65, 30, sounds=(Sound("mp2", seconds=3.0),))  # 2.6 s of pictures
    path = joined(suffix, first, part(suffix, 65, 2), part(suffix, 35, 1))
    rewrite(path, tmp_path / target)
    times = film_times(tmp_path / target)
    with av.open(str(tmp_path / target)) as container:
        zero = min(
            s.start_time * s.time_base for s in container.streams if s.start_time is not None
        )
    assert len(times) == 165
    # each recording has a beep with its pictures 0, 25 and 50
    expected = [times[n] for n in (0, 25, 50, 65, 90, 115, 130, 155)]
    heard = [moment - float(zero) for moment in beeps(tmp_path / target)]
    assert len(heard) == len(expected)
    assert all(abs(h - e) < 0.06 for h, e in zip(heard, expected, strict=True))


def test_a_range_behind_a_joint_has_its_own_sound(joined, tmp_path):
    path = joined(".ts", part(".ts", 60, 30), part(".ts", 60, 2))
    rewrite(path, tmp_path / "out.mkv", start=Fraction(3), end=Fraction(4))
    times, heard = film_times(tmp_path / "out.mkv"), beeps(tmp_path / "out.mkv")
    assert len(times) == 25
    assert len(heard) == 1
    # the second recording's picture 25, beep 1, is about 3.4 s into the film
    assert abs(heard[0] - 0.43) < 0.08


@pytest.mark.parametrize("num_bad", [1, 2])
def test_a_few_damaged_clocks_are_no_joint(clip, tmp_path, num_bad):
    path = damaged_clock(clip("one.ts", part(".ts", 60, 20)), tmp_path / "bad.ts", num_bad)
    assert found(path).num_joints == 0


def damaged_clock(source, target, num_bad: int, first: int = 20, stream_id: int = 0xE0):
    """Set a high bit in the presentation times of some packets of MPEG-TS."""
    data = bytearray(source.read_bytes())
    at, seen = -1, 0
    while (at := data.find(b"\x00\x00\x01" + bytes([stream_id]), at + 1)) >= 0:
        if data[at + 7] & 0x80:
            if first <= seen < first + num_bad:
                data[at + 9] ^= 0x08  # bit 32: 13 hours
                if data[at + 7] & 0x40:
                    data[at + 14] ^= 0x08
            seen += 1
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("num_bad", [1, 2])
def test_damaged_clocks_do_not_move_the_film(clip, tmp_path, num_bad):
    source = clip("one.ts", part(".ts", 60, 20))
    path = damaged_clock(source, tmp_path / "bad.ts", num_bad)
    with VideoReader(source) as good, VideoReader(path) as bad:
        expected, frames = moments(good.frames()), list(bad.frames())
        assert bad.damage.mended_times == num_bad
        assert abs(bad.info.duration_seconds - good.info.duration_seconds) < 0.05
    assert all(a.pts < b.pts for a, b in pairwise(frames))
    assert len(frames) == 60
    found_at = moments(frames)
    wrong = [n for n in range(60) if abs(found_at[n] - expected[n]) > Fraction(1, 1000)]
    assert len(wrong) <= num_bad + 2
    assert all(abs(a - b) < 0.2 for a, b in zip(found_at, expected, strict=True))


def test_scanning_is_bounded(tmp_path):
    path = make_clip(tmp_path / "a.ts", part(".ts", 20, 5))
    path.write_bytes(path.read_bytes() * 40)
    line = found(path)
    assert line.num_joints == 39
    assert sum(len(joints) for joints in line.joints.values()) == 39 * 2
