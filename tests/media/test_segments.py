"""Segments hold what the encoder gave out; the film made of them is one film."""

from __future__ import annotations

import dataclasses
import json
import os
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.support.films import QUICK, film_planes, film_times, payloads
from tests.support.synthetic import Clip, Sound, drawn_number
from vidrestore.errors import OutputError, SettingsError
from vidrestore.media import write
from vidrestore.media.containers import CONTAINERS
from vidrestore.media.read import VideoReader
from vidrestore.media.segments import Segment, reorder_depth, segment_times
from vidrestore.media.work_folder import WorkFolder, fingerprint, scratch_path, work_path
from vidrestore.media.write import VideoWriter
from vidrestore.settings import EncodeSettings, VideoCodec

MP4, MOV, MKV = (CONTAINERS[suffix] for suffix in (".mp4", ".mov", ".mkv"))
GOPS = {"preset": "ultrafast", "g": "25", "bf": "2"}


@pytest.fixture
def short_segments(monkeypatch):
    monkeypatch.setattr(write, "SHORTEST_SECONDS", 1)
    monkeypatch.setattr(write, "LONGEST_SECONDS", 2)


def rewritten(source: Path, target: Path, settings: EncodeSettings = QUICK) -> VideoWriter:
    with VideoReader(source) as reader, VideoWriter(target, reader.info, settings) as writer:
        for frame in reader.frames():
            writer.write(frame)
    return writer


def num_segments(writer: VideoWriter) -> int:
    return int(writer.streams[0]["num_segments"])


@pytest.mark.parametrize(
    ("suffix", "codec"), [(c.suffix, v) for c in (MP4, MOV, MKV) for v in sorted(c.codecs)]
)
def test_a_film_of_segments_has_the_times_and_sound_of_its_source(
    clip, tmp_path, short_segments, suffix, codec
):
    preset = {VideoCodec.FFV1: None, VideoCodec.AV1: "12"}.get(codec, "ultrafast")
    source = clip("gops.mp4", Clip(num_frames=110, options=GOPS, sounds=(Sound(),)))
    target = tmp_path / f"out{suffix}"
    writer = rewritten(source, target, EncodeSettings(codec=codec, preset=preset))
    assert num_segments(writer) == 5
    tolerance = 0 if suffix != ".mkv" else Fraction(1, 1000)
    for before, after in zip(film_times(source), film_times(target), strict=True):
        assert abs(before - after) <= tolerance
    numbers = [drawn_number(planes[0]) for planes in film_planes(target)]
    assert numbers == list(range(110))
    hidden = 1 if suffix == ".mkv" else 0  # no edit list hides what lies before time 0
    assert [track[hidden:] for track in payloads(source)] == payloads(target)


def test_pictures_of_all_kinds_of_pace_keep_their_time(clip, tmp_path, short_segments):
    steps = [Fraction(1, 25), Fraction(1, 30), Fraction(1, 7), Fraction(3, 5), Fraction(1, 90)]
    times = [sum(steps[k % 5] for k in range(n)) for n in range(60)]
    source = clip("pace.mp4", Clip(num_frames=60, times=times, time_base=Fraction(1, 90000)))
    writer = rewritten(source, tmp_path / "out.mp4")
    assert num_segments(writer) > 3
    assert film_times(source) == film_times(tmp_path / "out.mp4")


def test_decoding_times_increase_and_are_never_late(clip, tmp_path, short_segments):
    source = clip("gops.mp4", Clip(num_frames=110, options=GOPS, sounds=(Sound(),)))
    rewritten(source, tmp_path / "out.mp4", EncodeSettings(preset="medium"))
    with av.open(str(tmp_path / "out.mp4")) as film:
        packets = [p for p in film.demux(video=0) if p.size]
    times = [p.dts for p in packets]
    assert times == sorted(set(times))
    assert all(p.dts <= p.pts for p in packets)
    shown = [p.pts for p in packets]
    assert shown != sorted(shown)  # or nothing was reordered


def test_sound_lies_beside_its_pictures_in_the_file(clip, tmp_path, short_segments):
    source = clip("gops.mp4", Clip(num_frames=110, options=GOPS, sounds=(Sound(),)))
    rewritten(source, tmp_path / "out.mkv")
    latest = {"video": 0.0, "audio": 0.0}
    with av.open(str(tmp_path / "out.mkv")) as film:
        for packet in film.demux():
            if packet.size:
                latest[packet.stream.type] = float(packet.dts * packet.time_base)
                assert abs(latest["video"] - latest["audio"]) < 1.2


def test_segments_end_at_key_frames_or_when_they_get_long(clip, tmp_path, short_segments):
    often = clip("often.mp4", Clip(num_frames=100, options={"preset": "ultrafast", "g": "30"}))
    never = clip("never.mp4", Clip(num_frames=100, options={"preset": "ultrafast", "g": "999"}))
    assert segment_sizes(often, tmp_path / "a.mp4") == [30, 30, 30, 10]
    assert segment_sizes(never, tmp_path / "b.mp4") == [50, 50]


def segment_sizes(source: Path, target: Path) -> list[int]:
    sizes: list[int] = []
    with VideoReader(source) as reader, VideoWriter(target, reader.info, QUICK) as writer:
        for frame in reader.frames():
            writer.write(frame)
            found = sorted(p for p in scratch_path(target).glob("*.json") if p.stem.isdigit())
            sizes = [json.loads(p.read_text())["segment"]["num_frames"] for p in found]
    return [*sizes, 100 - sum(sizes)]


def test_a_single_picture_is_a_film(clip, tmp_path):
    source = clip("one.mp4", Clip(num_frames=1))
    rewritten(source, tmp_path / "out.mp4")
    assert film_times(tmp_path / "out.mp4") == [0]


def test_a_segment_of_two_pictures_of_h265_is_whole(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "SHORTEST_SECONDS", 0.07)
    monkeypatch.setattr(write, "LONGEST_SECONDS", 0.07)
    source = clip("ten.mp4", Clip(num_frames=10))
    settings = EncodeSettings(codec=VideoCodec.H265, preset="ultrafast")
    writer = rewritten(source, tmp_path / "out.mp4", settings)
    assert num_segments(writer) == 5
    assert film_times(tmp_path / "out.mp4") == film_times(source)


def test_a_lost_picture_is_an_error(clip, tmp_path, monkeypatch):
    finish = write.SegmentEncoder.finish

    def lossy(self):
        begin, coded, length, header = finish(self)
        return begin, coded[:-1], length, header

    monkeypatch.setattr(write.SegmentEncoder, "finish", lossy)
    source = clip("plain.mp4", Clip())
    with pytest.raises(OutputError, match="was given 25 pictures and gave out 24"):
        rewritten(source, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_coder_that_has_changed_meanwhile_is_noticed(clip, tmp_path, monkeypatch):
    source = clip("plain.mp4", Clip())
    finish = write.SegmentEncoder.finish
    monkeypatch.setattr(
        write.SegmentEncoder, "finish", lambda self: (*finish(self)[:3], "another header")
    )
    with pytest.raises(OutputError, match="were coded in another way"):
        rewritten(source, tmp_path / "out.mp4")


def test_a_track_that_is_refused_is_refused_before_the_first_picture(clip, tmp_path, monkeypatch):
    source = clip("sound.mp4", Clip(sounds=(Sound(),)))

    def refuse(*args):
        raise OutputError("the container refuses the aac track")

    monkeypatch.setattr("vidrestore.media.join.Passthrough", refuse)
    with (
        pytest.raises(OutputError, match="refuses the aac track"),
        VideoReader(source) as reader,
        VideoWriter(tmp_path / "out.mp4", reader.info, QUICK) as writer,
    ):
        writer.write(next(reader.frames()))


def test_a_segment_travels_through_json(clip, tmp_path, short_segments):
    source = clip("gops.mp4", Clip(num_frames=110, options=GOPS, sounds=(Sound(),)))
    target = tmp_path / "out.mp4"
    with VideoReader(source) as reader, VideoWriter(target, reader.info, QUICK) as writer:
        writer.take_up({"job": 1}, resume=True)
        for frame in reader.frames():
            writer.write(frame)
        first, second = (
            Segment.from_json(
                json.loads((work_path(target) / f"0000{k}.json").read_text())["segment"]
            )
            for k in range(2)
        )
        assert Segment.from_json(json.loads(json.dumps(first.to_json()))) == first
        assert (first.num_frames, first.begin, first.next_seconds) == (25, 0, 1)
        assert second.begin == first.last + first.last_duration
        times = segment_times(work_path(target) / second.file_name, second)
        assert min(times) == second.begin
        assert max(times) == second.last


@pytest.mark.parametrize(
    ("coded", "depth"), [([], 0), ([0, 1, 2], 0), ([0, 2, 1, 4, 3], 1), ([0, 4, 2, 1, 3], 2)]
)
def test_reorder_depth(coded, depth):
    assert reorder_depth(coded) == depth


def held(tmp_path: Path) -> WorkFolder:
    return WorkFolder(work_path(tmp_path / "out.mp4"), tmp_path / "out.mp4")


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    first = held(tmp_path)
    with pytest.raises(OutputError, match=r"another run is writing .*out\.mp4"):
        held(tmp_path)
    first.release()
    held(tmp_path).remove()
    assert list(tmp_path.iterdir()) == []


def test_all_differences_between_jobs_are_named(tmp_path):
    folder = held(tmp_path)
    folder.start_over({"a": {"b": 1, "c": [1, 2]}, "d": "x"})
    assert folder.take_up({"a": {"b": 1, "c": [1, 2]}, "d": "x"}) == []
    assert folder.take_up({"d": "y"}) == []  # nothing was finished that could be lost
    (folder.path / "00000.json").write_text("{}")
    with pytest.raises(SettingsError) as refusal:
        folder.take_up({"a": {"b": 2, "c": [1, 3]}, "e": None, "d": "x"})
    assert "(a.b was 1, is 2; a.c was [1, 2], is [1, 3])" in str(refusal.value)
    folder.remove()


@pytest.mark.parametrize("name", ["holiday.jpg", "00000.avi", "my notes.txt", "sub/picture.png"])
def test_a_folder_with_other_peoples_files_is_not_touched(tmp_path, name):
    path = work_path(tmp_path / "out.mp4") / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="is in the way: it holds"):
        held(tmp_path)
    assert path.read_bytes() == b"precious"
    assert [p.name for p in work_path(tmp_path / "out.mp4").iterdir()] == [name.split("/")[0]]


def test_a_link_to_a_folder_elsewhere_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "00000.nut").write_bytes(b"precious")
    work_path(tmp_path / "out.mp4").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is in the way"):
        held(tmp_path)
    assert (tmp_path / "elsewhere" / "00000.nut").read_bytes() == b"precious"


@pytest.mark.parametrize("harm", ["mangled", "gone"])
def test_finished_work_that_no_longer_says_of_what_is_kept(tmp_path, harm):
    folder = held(tmp_path)
    folder.start_over({"job": 1})
    (folder.path / "00000.nut").write_bytes(b"hours of work")
    if harm == "mangled":
        (folder.path / "job.json").write_text('{"job"')
    else:
        (folder.path / "job.json").unlink()
    with pytest.raises(OutputError, match=r"job\.json is damaged: start over with --fresh"):
        folder.take_up({"job": 1})
    assert (folder.path / "00000.nut").read_bytes() == b"hours of work"
    folder.release()


def test_a_job_that_cannot_be_read_just_now_is_an_error(tmp_path, monkeypatch):
    folder = held(tmp_path)
    folder.start_over({"job": 1})

    def broken(*args, **kwargs):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_text", broken)
    with pytest.raises(OSError, match="Input/output error"):
        folder.take_up({"job": 1})
    folder.release()


def test_h265_names_no_machine_in_its_header(clip, tmp_path):
    """Or a run could not be gone on with on a machine with other cores."""
    source = clip("plain.mp4", Clip(num_frames=3))
    rewritten(source, tmp_path / "out.mkv", EncodeSettings(codec=VideoCodec.H265))
    with av.open(str(tmp_path / "out.mkv")) as film:
        assert b"cpuid" not in bytes(film.streams.video[0].codec_context.extradata)


def test_an_output_that_appears_meanwhile_is_not_replaced(clip, tmp_path):
    source, target = clip("plain.mp4", Clip()), tmp_path / "out.mp4"
    careful = EncodeSettings(preset="ultrafast")

    def intrude() -> None:
        with (
            VideoReader(source) as reader,
            VideoWriter(target, reader.info, careful) as writer,
        ):
            for frame in reader.frames():
                writer.write(frame)
            target.write_bytes(b"precious")

    with pytest.raises(OutputError, match="has appeared meanwhile"):
        intrude()
    assert target.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [target]


def test_fingerprints_tell_films_apart(tmp_path):
    film = tmp_path / "film"
    film.write_bytes(os.urandom(3_000_000))
    before = fingerprint(film)
    os.utime(film, (1, 1))
    assert fingerprint(film) == before
    with film.open("ab") as file:
        file.write(b"x")
    assert fingerprint(film) != before
    film.write_bytes(b"")
    assert fingerprint(film)["num_bytes"] == 0


def test_foreign_pictures_are_named_once_each(clip, tmp_path):
    source = clip("plain.mp4", Clip())
    with (
        VideoReader(source) as reader,
        VideoWriter(tmp_path / "out.mp4", reader.info, QUICK) as writer,
    ):
        for k, frame in enumerate(reader.frames()):
            if 5 <= k < 15:
                planes = tuple(p[: p.shape[0] // 2] for p in frame.planes)
                geometry = dataclasses.replace(frame.geometry, height=48)
                frame = dataclasses.replace(frame, planes=planes, geometry=geometry)
            writer.write(frame)
    (note,) = [n for n in writer.notes if "converted" in n]
    assert note.startswith("from 0.20 s on, pictures of 160x48 yuv420p")
