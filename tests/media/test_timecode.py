from __future__ import annotations

from fractions import Fraction

import av
import pytest

from tests.support.films import rewrite
from tests.support.synthetic import picture
from vidrestore.media.probe import probe
from vidrestore.media.timecode import timecode_after

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("timecode", "count", "rate", "expected"),
    [
        ("00:00:00:00", 25, 25, "00:00:01:00"),
        ("10:20:30:24", 1, 25, "10:20:31:00"),
        ("23:59:59:24", 1, 25, "00:00:00:00"),
        ("00:00:00:00", 1798, NTSC, "00:00:59:28"),
        ("00:00:00;00", 1800, NTSC, "00:01:00;02"),
        ("00:00:59;29", 1, NTSC, "00:01:00;02"),
        ("00:09:59;29", 1, NTSC, "00:10:00;00"),
        ("00:00:00;00", 17982, NTSC, "00:10:00;00"),
        ("00:00:00;00", 107892, NTSC, "01:00:00;00"),
        ("00:00:59;59", 1, 2 * NTSC, "00:01:00;04"),
        ("not one", 5, 25, "not one"),
    ],
)
def test_numbers_go_on_as_on_the_tape(timecode, count, rate, expected):
    assert timecode_after(timecode, count, Fraction(rate)) == expected


def test_every_number_of_an_hour_comes_once():
    numbers = [timecode_after("00:58:00;02", k, NTSC) for k in range(3 * 1800)]
    assert len(set(numbers)) == len(numbers)
    assert sorted(numbers) == numbers
    assert not [n for n in numbers if n[6:] in ("00;00", "00;01") and n[4] != "0"]


def tape(path, timecode, rate):
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        video.metadata["timecode"] = timecode
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(picture(number, 160, 96), "rgb24")
            frame.pts, frame.time_base = number, 1 / Fraction(rate)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(("timecode", "rate"), [("01:00:00;10", NTSC), ("09:59:59:24", 25)])
def test_the_time_code_is_carried_on(tmp_path, timecode, rate, suffix):
    source = tape(tmp_path / "tape.mov", timecode, rate)
    target = tmp_path / f"out{suffix}"
    writer = rewrite(source, target)
    assert writer.notes == []
    assert probe(target).video.timecode == timecode
    kinds = [(o.kind, o.codec) for o in probe(target).others]
    assert kinds == ([] if suffix == ".mkv" else [("data", "timecode")])
    assert rewrite(target, tmp_path / "again.mov").notes == []
    assert probe(tmp_path / "again.mov").video.timecode == timecode


def test_a_range_begins_with_its_own_number(tmp_path):
    source = tape(tmp_path / "tape.mov", "00:00:59;20", NTSC)
    rewrite(source, tmp_path / "out.mov", start=Fraction(1001, 3000), end=Fraction(1))
    assert probe(tmp_path / "out.mov").video.timecode == "00:01:00;02"
