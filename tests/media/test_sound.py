from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import av
import pytest

from tests.support.films import QUICK, beeps, film_times, payloads, rewrite
from tests.support.synthetic import Clip, Sound, corrupt, drawn_number, make_clip
from vidrestore.media import passthrough
from vidrestore.media.clock import Window
from vidrestore.media.containers import CONTAINERS
from vidrestore.media.probe import probe
from vidrestore.media.read import VideoReader
from vidrestore.media.tracks import CopiedTrack

GOPS = {"preset": "veryfast", "crf": "10", "x264-params": "keyint=25"}
ENCODERS = {"mp3": "libmp3lame", "opus": "libopus", "amr_nb": "libopencore_amrnb"}
MADE_HERE = ("aac", "ac3", "flac", "mp2", "mp3", "opus", "pcm_s16le", "pcm_s24le", "pcm_u8")
MADE_HERE += ("pcm_mulaw", "amr_nb", "wavpack")


def sound_of(codec: str) -> Sound:
    if codec == "amr_nb":
        return Sound(ENCODERS[codec], 8000, "mono")
    return Sound(ENCODERS.get(codec, codec), 48000)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("codec", MADE_HERE)
def test_sound_the_container_holds_is_copied_bit_for_bit(clip, tmp_path, codec, suffix):
    # NUT holds any codec, and has neither edit lists nor lengths of packets
    source = clip("source.nut", Clip(num_frames=6, sounds=(sound_of(codec),)))
    target = tmp_path / f"out{suffix}"
    writer = rewrite(source, target)
    is_held = codec in CONTAINERS[suffix].audio
    assert writer.streams[1]["action"] == ("copied" if is_held else "encoded to AAC")
    if is_held:
        # containers cut PCM into packets as they like
        assert b"".join(payloads(target)[0]) == b"".join(payloads(source)[0])
        if not codec.startswith("pcm"):
            assert payloads(target) == payloads(source)
    else:
        assert probe(target).audio[0].codec == "aac"
        assert f"{suffix} cannot hold {codec}" in writer.notes[0]


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_every_packet_of_an_mp4_is_copied_also_the_one_before_the_start(clip, tmp_path, suffix):
    source = clip("source.mp4", Clip(sounds=(Sound(),)))
    rewrite(source, tmp_path / f"out{suffix}")
    assert payloads(tmp_path / f"out{suffix}") == payloads(source)


def test_matroska_leaves_out_what_no_edit_list_hides(clip, tmp_path):
    source = clip("source.mp4", Clip(sounds=(Sound(),)))
    rewrite(source, tmp_path / "out.mkv")
    assert payloads(tmp_path / "out.mkv")[0] == payloads(source)[0][1:]
    assert film_times(tmp_path / "out.mkv")[0] == 0


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("a.mp4", Sound("aac")),
        ("a.mkv", Sound("libopus", 48000)),
        ("a.ts", Sound("aac", start=Fraction(1, 2))),
        ("a.mpg", Sound("mp2")),
        ("a.avi", Sound("pcm_s16le")),
        ("a.mov", Sound("pcm_s24le", 48000, start=Fraction(1, 4))),
        ("a.wmv", Sound("wmav2")),
    ],
)
def test_sound_and_picture_stay_together(clip, tmp_path, name, sound, suffix):
    codec = {"a.mpg": "mpeg2video", "a.wmv": "wmv2"}.get(name, "libx264")
    options = GOPS if codec == "libx264" else {}
    source = clip(name, Clip(num_frames=55, codec=codec, options=options, sounds=(sound,)))
    target = tmp_path / f"out{suffix}"
    rewrite(source, target)
    assert apart(target) == pytest.approx(apart(source), abs=0.0015)


def apart(path) -> list[float]:
    """Seconds between the first picture and each beep but the first, which starts with the file."""
    with VideoReader(path) as reader:
        first = next(reader.frames())
    return [beep - float(first.pts * first.time_base) for beep in beeps(path)[1:]]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (Fraction(217, 100), Fraction(28, 10)),
        (Fraction(1, 3), None),
    ],
)
@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("r.mp4", Sound("aac")),
        ("r.mkv", Sound("flac")),
        ("r.ts", Sound("mp2")),
        ("r.avi", Sound("pcm_s16le")),
    ],
)
def test_a_range_has_its_own_pictures_and_sound(clip, tmp_path, name, sound, start, end, suffix):
    source = clip(name, Clip(num_frames=80, options=GOPS, sounds=(sound,)))
    target = tmp_path / f"out{suffix}"
    rewrite(source, target, start=start, end=end)
    with VideoReader(source) as reader:
        wanted = {
            drawn_number(f.planes[0]): f.pts * f.time_base - reader.info.origin - start
            for f in reader.frames(start)
            if end is None or f.pts * f.time_base - reader.info.origin < end
        }
    with VideoReader(target) as reader:
        found = {drawn_number(f.planes[0]): f.pts * f.time_base for f in reader.frames()}
        length = reader.info.duration_seconds
    assert list(found) == list(wanted)
    tolerance = Fraction(1, 2000) if suffix == ".mkv" else Fraction(1, 180_000)
    assert all(abs(found[n] - wanted[n]) <= tolerance for n in wanted)
    with VideoReader(source) as reader:
        origin = reader.info.origin
    inside = [
        b - float(origin + start)
        for b in beeps(source)
        if start < b - origin < (end or 100)  # a beep under way at the start is heard at once
    ]
    heard = [b for b in beeps(target) if b > 0.1]
    assert heard == pytest.approx([b for b in inside if b > 0.1], abs=0.002)
    assert length < (end or Fraction(32, 10)) - start + Fraction(1, 10)
    with av.open(str(target)) as container:
        begins = [p.pts * p.time_base for p in container.demux(audio=0) if p.size]
    assert -Fraction(1, 8) < begins[0]  # at most the packet that is under way, and AAC's own


def test_a_range_does_not_read_the_rest_of_the_film(clip, tmp_path, monkeypatch):
    source = clip("long.mkv", Clip(num_frames=200, options=GOPS, sounds=(Sound("aac"),)))
    moments = []
    time_of = passthrough.Passthrough._time_of

    def watched(self, packet):
        time = time_of(self, packet)
        moments.append(time)
        return time

    monkeypatch.setattr(passthrough, "_MARGIN", 1)
    monkeypatch.setattr(passthrough.Passthrough, "_time_of", watched)
    rewrite(source, tmp_path / "out.mkv", start=Fraction(5), end=Fraction(6))
    known = [m for m in moments if m is not None]
    assert min(known) > -3
    assert max(known) < 2.5


def test_a_range_of_a_film_that_cannot_be_seeked(clip, tmp_path):
    recipe = Clip(num_frames=60, options=GOPS)
    source = clip("raw.h264", recipe)
    rewrite(source, tmp_path / "out.mp4", start=Fraction(1), end=Fraction(2))
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert [drawn_number(f.planes[0]) for f in reader.frames()] == list(range(25, 50))


def test_holes_in_sound_that_is_coded_anew_become_silence(clip, tmp_path):
    sound = Sound("pcm_s16le", 48000, gap=(1.1, 2.7))
    source = clip("hole.nut", Clip(num_frames=100, sounds=(sound,)))
    rewrite(source, tmp_path / "out.mp4")
    assert beeps(tmp_path / "out.mp4") == pytest.approx([0, 1, 3], abs=0.002)
    with av.open(str(tmp_path / "out.mp4")) as container:
        begins = [p.pts for p in container.demux(audio=0) if p.size]
    assert {b - a for a, b in pairwise(begins)} == {1024}


def test_holes_in_copied_sound_stay_where_they_are(clip, tmp_path):
    source = clip("hole.mkv", Clip(num_frames=100, sounds=(Sound("flac", gap=(1.3, 2.7)),)))
    rewrite(source, tmp_path / "out.mp4")
    assert beeps(tmp_path / "out.mp4") == pytest.approx([0, 1, 3], abs=0.002)
    assert payloads(tmp_path / "out.mp4") == payloads(source)


def test_sound_coded_anew_is_as_long_as_it_was(clip, tmp_path):
    source = clip("whole.mov", Clip(num_frames=10, sounds=(Sound("pcm_s16le", seconds=0.99),)))
    rewrite(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert 0.99 <= samples / 44100 < 0.99 + 3 * 1024 / 44100


def test_copied_packets_that_overlap_are_kept_in_order(clip, tmp_path):
    source = clip("source.mkv", Clip(sounds=(Sound("flac"),)))
    window = Window(shift=Fraction(0), has_start=False, length=None, hides_start=True)
    with av.open(str(source)) as container, av.open(str(tmp_path / "out.mp4"), "w") as out:
        track = CopiedTrack(out, container.streams.audio[0], window)
        out.start_encoding()
        for number, packet in enumerate(container.demux(audio=0)):
            if packet.size:
                if number > 4:  # a splice: 0.3 s are there twice
                    packet.pts, packet.dts = packet.pts - 300, packet.dts - 300
                track.take(track.when(packet))
    assert payloads(tmp_path / "out.mp4") == payloads(source)
    with av.open(str(tmp_path / "out.mp4")) as container:
        begins = [p.pts for p in container.demux(audio=0) if p.size]
    assert all(a < b for a, b in pairwise(begins))


def test_a_seek_that_lands_late_loses_no_sound(clip, tmp_path, monkeypatch):
    source = clip("r.mkv", Clip(num_frames=80, options=GOPS, sounds=(Sound("flac"),)))
    rewrite(source, tmp_path / "right.mkv", start=Fraction(1), end=Fraction(3))
    monkeypatch.setattr(passthrough, "_SEEK_BACK", (Fraction(-1), Fraction(1, 2)))
    rewrite(source, tmp_path / "out.mkv", start=Fraction(1), end=Fraction(3))
    assert payloads(tmp_path / "out.mkv") == payloads(tmp_path / "right.mkv")


def test_sound_longer_than_the_pictures_is_kept_to_its_end(clip, tmp_path):
    source = clip("long.mp4", Clip(num_frames=10, sounds=(Sound(seconds=3.0),)))
    rewrite(source, tmp_path / "out.mp4")
    assert payloads(tmp_path / "out.mp4") == payloads(source)


def test_damaged_sound_does_not_stop_the_film(tmp_path):
    recipe = Clip(num_frames=75, options=GOPS, sounds=(Sound("aac"),))
    source = corrupt(make_clip(tmp_path / "hurt.ts", recipe), 0.3, 0.7, every=211)
    rewrite(source, tmp_path / "out.mp4")
    rewrite(source, tmp_path / "out.mkv")
    assert probe(tmp_path / "out.mp4").audio[0].codec == "aac"


def test_aac_from_a_broadcast_is_copied(clip, tmp_path):
    source = clip("air.ts", Clip(num_frames=30, sounds=(Sound("aac"),)))
    writer = rewrite(source, tmp_path / "out.mp4")
    assert writer.streams[1]["action"] == "copied"
    # the headers of MPEG-TS (7 bytes each) are no part of the sound
    assert payloads(tmp_path / "out.mp4")[0] == [p[7:] for p in payloads(source)[0]]


def test_sound_is_interleaved_with_the_pictures(clip, tmp_path):
    source = clip("long.mkv", Clip(num_frames=200, options=GOPS, sounds=(Sound("aac"),)))
    rewrite(source, tmp_path / "out.mkv", QUICK)
    furthest, heard, seen = 0.0, 0.0, 0.0
    with av.open(str(tmp_path / "out.mkv")) as container:
        for packet in container.demux():
            if packet.dts is not None:
                moment = float(packet.dts * packet.time_base)
                heard = moment if packet.stream.type == "audio" else heard
                seen = moment if packet.stream.type == "video" else seen
                furthest = max(furthest, abs(heard - seen))
    assert furthest < 0.2


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(("name", "codec"), [("joined.mpg", "mp2"), ("joined.ts", "aac")])
def test_sound_goes_on_where_recordings_were_joined(clip, tmp_path, name, codec, suffix):
    video, options = ("mpeg2video", {}) if name.endswith("mpg") else ("libx264", GOPS)
    recipe = Clip(num_frames=40, codec=video, options=options, sounds=(Sound(codec),))
    path = tmp_path / name
    path.write_bytes(clip(name, recipe).read_bytes() * 2)
    target = tmp_path / f"out{suffix}"
    rewrite(path, target)
    # the second part begins at 1.6 s
    expected = [0, 1, 1.6, 2.6]
    assert apart(target) == pytest.approx(expected[1:], abs=0.05)
    assert film_times(target)[-1] == pytest.approx(3.16, abs=0.05)
