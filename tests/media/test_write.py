from __future__ import annotations

import dataclasses
import time
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from tests.support.films import QUICK, film_planes, film_times, rewrite
from tests.support.synthetic import Clip, Sound, drawn_number
from vidrestore.errors import OutputError
from vidrestore.media.encoders import fine_time_base
from vidrestore.media.pixels import picture_of
from vidrestore.media.probe import ColourTags, probe
from vidrestore.media.read import VideoReader
from vidrestore.media.write import VideoWriter
from vidrestore.settings import EncodeSettings, VideoCodec

B_FRAMES = {"preset": "medium", "crf": "10"}
VARYING = [Fraction(n, 25) + Fraction(n * n % 7, 200) for n in range(30)]
LOSSLESS = EncodeSettings(crf=0, preset="ultrafast")
FILMS = {
    "plain.mp4": Clip(sounds=(Sound(),)),
    "bframes.mp4": Clip(options=B_FRAMES),
    "vfr.mp4": Clip(num_frames=30, times=VARYING),
    "late.ts": Clip(start=Fraction(10), sounds=(Sound("mp2"),)),
    "late.mkv": Clip(start=Fraction(3)),
    "ntsc.mp4": Clip(rate=Fraction(30000, 1001), time_base=Fraction(1001, 30000)),
    "old.avi": Clip(codec="mjpeg", pixel_format="yuvj420p", options={}),
    "old.mpg": Clip(codec="mpeg2video", options={}, interlaced=True),
    "raw.h264": Clip(options=B_FRAMES),
}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("name", FILMS)
def test_every_picture_keeps_its_time(clip, tmp_path, name, suffix):
    source, target = clip(name, FILMS[name]), tmp_path / f"out{suffix}"
    rewrite(source, target)
    before, after = film_times(source), film_times(target)
    with VideoReader(target) as reader:
        assert [drawn_number(f.planes[0]) for f in reader.frames()] == list(range(len(before)))
    # a clock of 90 kHz or finer; Matroska rounds to milliseconds
    tolerance = Fraction(1, 2000) if suffix == ".mkv" else Fraction(1, 180_000)
    assert len(after) == len(before)
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) <= tolerance


@pytest.mark.parametrize("name", ["plain.mp4", "vfr.mp4", "ntsc.mp4"])
def test_times_are_exact_where_the_clocks_allow_it(clip, tmp_path, name):
    source = clip(name, FILMS[name])
    rewrite(source, tmp_path / "out.mp4")
    assert film_times(tmp_path / "out.mp4") == film_times(source)


def test_the_film_is_as_long_as_the_source(clip, tmp_path):
    source = clip("vfr.mp4", FILMS["vfr.mp4"])
    rewrite(source, tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").duration_seconds == probe(source).duration_seconds


@pytest.mark.parametrize(
    ("pixel_format", "codec", "suffix"),
    [
        ("yuv420p", VideoCodec.H264, ".mp4"),
        ("yuvj420p", VideoCodec.H264, ".mp4"),
        ("yuv422p", VideoCodec.H264, ".mov"),
        ("yuv444p", VideoCodec.H264, ".mkv"),
        ("yuv420p10le", VideoCodec.FFV1, ".mkv"),
        ("yuv420p", VideoCodec.FFV1, ".mkv"),
    ],
)
def test_untouched_pictures_are_coded_without_a_change(clip, tmp_path, pixel_format, codec, suffix):
    source = clip("source.mkv", Clip(num_frames=6, pixel_format=pixel_format))
    target = tmp_path / f"out{suffix}"
    settings = EncodeSettings(codec=codec) if codec is VideoCodec.FFV1 else LOSSLESS
    rewrite(source, target, settings)
    for before, after in zip(film_planes(source), film_planes(target), strict=True):
        for a, b in zip(before, after, strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_colours_shape_turn_and_language_are_kept(clip, tmp_path, suffix):
    recipe = Clip(
        num_frames=3,
        colour=(5, 5, 6, 1),
        pixel_aspect=Fraction(16, 15),
        rotation=-90,
        language="ger",
    )
    source = probe(clip("source.mp4", recipe)).video
    rewrite(clip("source.mp4", recipe), tmp_path / f"out{suffix}")
    video = probe(tmp_path / f"out{suffix}").video
    assert video.colour == source.colour == ColourTags(5, 5, 6, 1, chroma_location=0)
    assert video.pixel_aspect == Fraction(16, 15)
    assert video.turn == source.turn == (0, 1, -1, 0)
    assert video.language == "ger"
    assert video.disposition == source.disposition


@pytest.mark.parametrize(
    ("codec", "pixel_format"), [("libx264", "yuvj420p"), ("ffv1", "gray"), ("mjpeg", "yuvj422p")]
)
def test_full_range_stays_full_range(clip, tmp_path, codec, pixel_format):
    options = {"preset": "ultrafast"} if codec == "libx264" else {}
    recipe = Clip(num_frames=3, codec=codec, options=options, pixel_format=pixel_format)
    rewrite(clip("full.mkv", recipe), tmp_path / "out.mp4", LOSSLESS)
    assert probe(tmp_path / "out.mp4").video.colour.range == 2
    before, after = film_planes(clip("full.mkv", recipe)), film_planes(tmp_path / "out.mp4")
    assert np.array_equal(before[1][0], after[1][0])


def test_pictures_converted_from_rgb_are_tagged(clip, tmp_path):
    source = clip("rgb.mov", Clip(num_frames=3, codec="qtrle", options={}, pixel_format="rgb24"))
    writer = rewrite(source, tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").video.colour == ColourTags(6, 2, 2, 1)
    assert "stored as rgb24" in writer.notes[0]


@pytest.mark.parametrize(
    ("codec", "suffix", "name"),
    [
        (VideoCodec.H264, ".mp4", "h264"),
        (VideoCodec.H265, ".mp4", "hevc"),
        (VideoCodec.H265, ".mkv", "hevc"),
        (VideoCodec.AV1, ".mp4", "av1"),
        (VideoCodec.AV1, ".mkv", "av1"),
        (VideoCodec.FFV1, ".mkv", "ffv1"),
    ],
)
@pytest.mark.parametrize("num_frames", [1, 2, 12])
def test_every_codec_writes_films_of_any_length(clip, tmp_path, codec, suffix, name, num_frames):
    source = clip("source.mp4", Clip(num_frames=num_frames))
    target = tmp_path / f"out{suffix}"
    rewrite(source, target, EncodeSettings(codec=codec))
    assert probe(target).video.codec == name
    with VideoReader(target) as reader:
        frames = list(reader.frames())
    assert [drawn_number(f.planes[0]) for f in frames] == list(range(num_frames))


def test_encoders_are_silent(clip, tmp_path, capfd):
    for codec in (VideoCodec.H264, VideoCodec.H265, VideoCodec.AV1):
        rewrite(clip("s.mp4", Clip(num_frames=2)), tmp_path / f"{codec}.mp4", EncodeSettings(codec))
    assert capfd.readouterr() == ("", "")


def test_hevc_in_mp4_carries_the_tag_apple_asks_for(clip, tmp_path):
    settings = EncodeSettings(codec=VideoCodec.H265, preset="ultrafast")
    rewrite(clip("s.mp4", Clip(num_frames=2)), tmp_path / "out.mp4", settings)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_the_index_stands_first_so_that_browsers_play_at_once(clip, tmp_path):
    rewrite(clip("s.mp4", Clip(num_frames=2)), tmp_path / "out.mp4")
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_the_source_does_not_decide_which_pictures_are_key_frames(clip, tmp_path):
    intra = Clip(num_frames=20, codec="mjpeg", pixel_format="yuvj420p", options={})
    rewrite(clip("intra.avi", intra), tmp_path / "out.mp4", EncodeSettings(preset="medium"))
    with av.open(str(tmp_path / "out.mp4")) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    assert sum(p.is_keyframe for p in packets) == 1


@pytest.mark.parametrize(
    ("codec", "pixel_format", "size"),
    [
        (VideoCodec.H264, "yuv420p", (162, 98)),
        (VideoCodec.H264, "yuv422p", (162, 97)),
        (VideoCodec.H264, "yuv444p", (161, 97)),
        (VideoCodec.AV1, "yuv444p", (162, 98)),
        (VideoCodec.FFV1, "yuv420p", (161, 97)),
    ],
)
def test_odd_sizes_are_rounded_up_by_repeating_the_edge(clip, tmp_path, codec, pixel_format, size):
    recipe = Clip(
        width=161, height=97, codec="ffv1", options={}, num_frames=3, pixel_format=pixel_format
    )
    source, target = clip("odd.mkv", recipe), tmp_path / "out.mkv"
    writer = rewrite(source, target, EncodeSettings(codec=codec))
    video = probe(target).video
    assert (video.width, video.height) == size
    assert any("even sizes only" in note for note in writer.notes) == (size != (161, 97))
    if codec is not VideoCodec.AV1:
        before, after = film_planes(source)[0][0], film_planes(target)[0][0]
        assert np.abs(after[:97, :161].astype(int) - before).mean() < 2
        assert np.abs(after[:, -1].astype(int) - after[:, 160]).mean() < 4


def test_formats_the_encoder_does_not_take_are_converted_and_noted(clip, tmp_path):
    source = clip("s.mkv", Clip(num_frames=3, codec="ffv1", options={}, pixel_format="yuv422p12le"))
    writer = rewrite(source, tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").video.pixel_format == "yuv422p10le"
    assert "H.264 takes no yuv422p12le" in writer.notes[0]
    before, after = film_planes(source)[0][0] / 4095, film_planes(tmp_path / "out.mp4")[0][0] / 1023
    assert np.abs(before - after).mean() < 0.01


def test_deep_colour_is_kept_and_its_players_are_named(clip, tmp_path):
    source = clip("ten.mp4", Clip(num_frames=3, pixel_format="yuv420p10le"))
    writer = rewrite(source, tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").video.pixel_format == "yuv420p10le"
    assert any("--codec h265" in note for note in writer.notes)


@pytest.mark.parametrize(
    ("codec", "suffix", "survives"),
    [
        (VideoCodec.H264, ".mkv", True),
        (VideoCodec.AV1, ".mp4", True),
        (VideoCodec.AV1, ".mkv", False),
        (VideoCodec.FFV1, ".mkv", False),
    ],
)
def test_what_is_said_of_the_pixel_shape_is_true(clip, tmp_path, codec, suffix, survives):
    source = clip("sar.mp4", Clip(num_frames=2, pixel_aspect=Fraction(16, 15)))
    writer = rewrite(source, tmp_path / f"out{suffix}", EncodeSettings(codec=codec))
    kept = probe(tmp_path / f"out{suffix}").video.pixel_aspect == Fraction(16, 15)
    assert kept == survives
    assert any("not square" in note for note in writer.notes) != survives


def test_notes_are_there_before_the_work_begins(clip, tmp_path):
    recipe = Clip(codec="mpeg2video", options={}, pixel_format="yuv422p", sounds=(Sound("mp2"),))
    source = clip("studio.mpg", recipe)
    writer = VideoWriter(tmp_path / "out.mp4", probe(source), QUICK)
    assert [note.split(":")[0] for note in writer.notes] == [
        "the film stays yuv422p, and few players show H.264 in yuv422p"
    ]
    assert [s["action"] for s in writer.streams] == ["encoded", "copied"]
    assert list(tmp_path.iterdir()) == []


def test_streams_are_described_for_the_report(clip, tmp_path):
    source = clip("plain.mp4", FILMS["plain.mp4"])
    writer = rewrite(source, tmp_path / "out.mp4")
    video, sound = writer.streams
    assert (video["codec"], video["encoder"], video["action"]) == ("h264", "libx264", "encoded")
    assert (video["width"], video["height"], video["pixel_format"]) == (160, 96, "yuv420p")
    assert video["options"] == {"crf": "18", "preset": "ultrafast"}
    assert (sound["index"], sound["codec"], sound["action"]) == (1, "aac", "copied")
    assert writer.num_frames == 25


def test_a_wider_first_frame_makes_a_wider_film(clip, tmp_path):
    source, target = clip("side.mp4", Clip(num_frames=3, rotation=90)), tmp_path / "out.mp4"
    with VideoReader(source) as reader, VideoWriter(target, reader.info, QUICK) as writer:
        for frame in reader.frames():
            planes = tuple(np.concatenate([p, p], axis=1) for p in frame.planes)
            geometry = dataclasses.replace(frame.geometry, width=320)
            writer.write(dataclasses.replace(frame, planes=planes, geometry=geometry))
    assert probe(target).video.width == 320
    assert probe(target).video.turn == (0, -1, 1, 0)
    assert writer.streams[0]["width"] == 320
    assert not any("converted" in note for note in writer.notes)


def test_pictures_that_change_on_the_way_are_converted_and_noted_once(clip, tmp_path):
    with (
        VideoReader(clip("a.mp4", Clip(num_frames=4))) as first,
        VideoReader(clip("b.mp4", Clip(width=192, height=128, num_frames=4))) as second,
        VideoReader(clip("c.mp4", Clip(num_frames=4, pixel_format="yuvj420p"))) as third,
        VideoWriter(tmp_path / "out.mp4", first.info, QUICK) as writer,
    ):
        for k, frame in enumerate(f for r in (first, second, third) for f in r.frames()):
            writer.write(dataclasses.replace(frame, pts=k * 3600, seconds=k / 25))
    with VideoReader(tmp_path / "out.mp4") as reader:
        frames = list(reader.frames())
    assert {(f.geometry.width, f.geometry.height) for f in frames} == {(160, 96)}
    assert [drawn_number(f.planes[0]) for f in frames] == [0, 1, 2, 3] * 3
    assert [note for note in writer.notes if "0.16 s" in note and "192x128" in note]
    assert len(writer.notes) == 2
    # full range was brought to the film's limited range
    levels = [int(f.planes[0][2:20, 2:18].mean()) for f in (frames[0], frames[8])]
    assert abs(levels[0] - levels[1]) <= 2


@pytest.mark.parametrize(
    "time_base",
    [
        Fraction(1, 12800),
        Fraction(1001, 30000),
        Fraction(1, 600),
        Fraction(1, 1000),
        Fraction(1, 1),
    ],
)
def test_the_clock_of_the_output_holds_every_time_of_the_source(time_base):
    fine = fine_time_base(time_base)
    assert fine.numerator == 1
    assert fine <= Fraction(1, 90_000)
    assert (time_base / fine).denominator == 1


def test_frames_that_share_a_tick_are_kept_apart(clip, tmp_path):
    source = clip("plain.mp4", FILMS["plain.mp4"])
    with (
        VideoReader(source) as reader,
        VideoWriter(tmp_path / "out.mp4", reader.info, QUICK) as writer,
    ):
        for frame in reader.frames():
            writer.write(dataclasses.replace(frame, pts=frame.pts // 7200 * 7200))
    assert all(a < b for a, b in pairwise(film_times(tmp_path / "out.mp4")))


def test_copying_a_frame_for_the_encoder_is_quick(clip):
    source = clip("big.mkv", Clip(width=720, height=576, num_frames=2, codec="ffv1", options={}))
    with VideoReader(source) as reader:
        frame = next(reader.frames())
    took = []
    for _ in range(50):
        begun = time.perf_counter()
        picture_of(frame)
        took.append(time.perf_counter() - begun)
    assert sorted(took)[5] < 0.001  # 0.05 ms on a quiet core


def test_nothing_to_write_is_an_error_and_leaves_nothing(clip, tmp_path):
    source = clip("plain.mp4", FILMS["plain.mp4"])
    writer = VideoWriter(tmp_path / "out.mp4", probe(source), QUICK)
    with pytest.raises(OutputError, match="nothing to write"), writer:
        pass
    assert list(tmp_path.iterdir()) == []
