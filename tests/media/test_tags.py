"""Names, languages and flags of every kind of track, against every container."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from tests.support.films import rewrite
from tests.support.synthetic import Clip, Sound
from vidrestore.media.containers import language_for
from vidrestore.media.passthrough import format_tags
from vidrestore.media.probe import probe
from vidrestore.settings import EncodeSettings, TrackChoice

FLAGS = av.stream.Disposition
SOUNDS = (
    Sound("aac", language="ger", title="Original", disposition=int(FLAGS.default)),
    Sound("flac", 48000, "mono", language="eng", title="Director", disposition=int(FLAGS.comment)),
    Sound("pcm_s16le", 48000, language="fra", disposition=int(FLAGS.forced)),
    Sound("ac3", 48000, language="jpn", disposition=int(FLAGS.hearing_impaired)),
)
SUFFIXES = [".mp4", ".mov", ".mkv"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tracks_of_sound_keep_order_names_and_flags(clip, tmp_path, suffix):
    source = clip("four.mkv", Clip(num_frames=10, sounds=SOUNDS))
    rewrite(source, tmp_path / f"out{suffix}")
    codecs = {
        ".mp4": ["aac", "flac", "aac", "ac3"],
        ".mov": ["aac", "aac", "pcm_s16le", "ac3"],
        ".mkv": ["aac", "flac", "pcm_s16le", "ac3"],
    }
    tracks = probe(tmp_path / f"out{suffix}").audio
    assert [t.codec for t in tracks] == codecs[suffix]
    assert [t.language for t in tracks] == ["ger", "eng", "fra", "jpn"]
    assert [t.title for t in tracks] == ["Original", "Director", None, None]
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        flags = [s.disposition for s in container.streams.audio]
    assert [bool(f & FLAGS.default) for f in flags] == [True, False, False, False]
    if suffix != ".mov":
        assert flags[1] & FLAGS.comment
        assert flags[3] & FLAGS.hearing_impaired
    if suffix == ".mkv":
        assert flags[2] & FLAGS.forced


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_languages_survive_a_tour_of_containers(clip, tmp_path, suffix):
    codes = ("deu", "fre", "dut", "ces", "ell", "chi", "rus", "spa", "swe")
    sounds = tuple(Sound(seconds=0.1, language=code) for code in codes)
    source = clip("tower.mkv", Clip(num_frames=3, language="ell", sounds=sounds))
    target = tmp_path / f"out{suffix}"
    rewrite(source, target)
    found = [track.language for track in probe(target).audio]
    if suffix == ".mov":  # it knows one of two codes, and FFmpeg reads its Swedish as "sve"
        assert found == ["ger", "fra", "dut", "ces", "gre", "chi", "rus", "spa", "sve"]
        rewrite(target, tmp_path / "again.mkv")
        assert probe(tmp_path / "again.mkv").audio[-1].language == "swe"
        assert probe(target).video.language == "gre"
    else:
        assert found == list(codes)
        assert probe(target).video.language == "ell"


def test_mov_has_one_code_for_a_language():
    assert language_for("mov", "deu") == "ger"
    assert language_for("mp4", "deu") == "deu"
    assert language_for("mov", "ita") == "ita"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_quicktime_gives_to_tracks(clip, tmp_path, suffix):
    source = tmp_path / "source.mov"
    plain = clip("plain.mov", Clip(num_frames=3, sounds=(Sound(),)))
    with av.open(str(plain)) as container, av.open(str(source), "w") as out:
        streams = []
        for stream in container.streams:
            streams.append(out.add_stream_from_template(stream, opaque=True))
            streams[-1].metadata["handler_name"] = f"Handler {stream.index}"
        for packet in container.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    rewrite(source, tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        names = [{k.lower(): v for k, v in s.metadata.items()} for s in container.streams]
    assert [n["handler_name"] for n in names] == ["Handler 0", "Handler 1"]


TAGS = {
    "title": "Christmas",
    "make": "Apple",
    "model": "iPhone",
    "location": "+48.1000+011.5000/",
    "creation_time": "2009-05-03T10:11:12.000000Z",
    "com.apple.quicktime.make": "Apple",
    "com.apple.quicktime.creationdate": "2009-05-03T12:11:12+0200",
    "com.apple.quicktime.location.ISO6709": "+48.1000+011.5000/",
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("source_suffix", [".mov", ".mkv"])
def test_what_a_phone_writes_about_its_film_is_kept(clip, tmp_path, source_suffix, suffix):
    options = {} if source_suffix == ".mkv" else {"movflags": "use_metadata_tags"}
    recipe = Clip(num_frames=3, tags=TAGS, container_options=options)
    source = clip(f"phone{source_suffix}", recipe)
    target = tmp_path / f"out{suffix}"
    rewrite(source, target)
    found = {name.lower(): value for name, value in probe(target).tags.items()}
    for name, value in TAGS.items():
        assert found[name.lower()] == value
    rewrite(target, tmp_path / "again.mov")
    again = {name.lower(): value for name, value in probe(tmp_path / "again.mov").tags.items()}
    assert {name: again[name.lower()] for name in TAGS} == TAGS


def test_names_of_quicktime_are_found_again_after_matroska():
    tags = {
        "COM.APPLE.QUICKTIME.MAKE": "Apple",
        "Encoder": "x",
        "location": "a",
        "location-eng": "a",
    }
    assert format_tags(tags) == {"com.apple.quicktime.make": "Apple", "location": "a"}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("track", ["audio", "subtitles", "attachments"])
def test_none_drops_a_kind_of_track_and_keeps_the_others(clip, tmp_path, track, suffix):
    recipe = Clip(num_frames=10, sounds=(Sound(),), cover=True, subtitles=((0.1, 0.3, "hello"),))
    source = clip("all.mp4", recipe)
    settings = EncodeSettings(preset="ultrafast", overwrite=True, **{track: TrackChoice.NONE})
    writer = rewrite(source, tmp_path / f"out{suffix}", settings)
    info = probe(tmp_path / f"out{suffix}")
    kinds = {"audio"} if info.audio else set()
    kinds |= {other.kind for other in info.others}
    dropped = {"audio": "audio", "subtitles": "subtitle", "attachments": "cover"}[track]
    expected = {"audio", "subtitle"} | ({"cover"} if suffix != ".mov" else set())
    assert kinds == expected - {dropped}
    (stream,) = (s for s in writer.streams if s["kind"] == dropped)
    assert stream["reason"] == f"left out on demand (--{track} none)"
    assert dropped not in " ".join(writer.notes)


def test_attached_pictures_keep_their_names(tmp_path, clip):
    image = cover_image(clip("cover.mp4", Clip(num_frames=3, cover=True)))
    source = tmp_path / "covers.mkv"
    with av.open(str(source), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        out.add_attachment("cover_land.jpg", "image/jpeg", image)
        out.add_attachment("small_cover.jpg", "image/jpeg", image)
        frame = av.VideoFrame(160, 96, "yuv420p")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux(video.encode(frame))
        out.mux(video.encode(None))
    rewrite(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        names = [s.metadata.get("filename") for s in container.streams.video[1:]]
    assert names == ["cover_land.jpg", "small_cover.jpg"]


def cover_image(path) -> bytes:
    with av.open(str(path)) as container:
        art = [s for s in container.streams.video if s.disposition & FLAGS.attached_pic]
        return next(bytes(p) for p in container.demux(art) if p.size)


@pytest.mark.parametrize("channels", ["7.1", "hexadecagonal"])
def test_more_channels_than_players_know_become_six(tmp_path, channels):
    source = tmp_path / "loud.nut"
    with av.open(str(source), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=48000, layout=channels)
        out.start_encoding()
        for number in range(5):
            frame = av.VideoFrame(160, 96, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        noise = av.AudioFrame(format="s16", layout=channels, samples=9600)
        for plane in noise.planes:
            plane.update(bytes(plane.buffer_size))
        noise.sample_rate, noise.pts, noise.time_base = 48000, 0, Fraction(1, 48000)
        out.mux(sound.encode(noise))
        out.mux(sound.encode(None))
    writer = rewrite(source, tmp_path / "out.mp4")
    (track,) = probe(tmp_path / "out.mp4").audio
    assert (track.codec, track.channels) == ("aac", 6)
    count = {"7.1": 8}.get(channels, 16)
    assert f"is encoded to AAC with 6 of its {count} channels" in writer.notes[0]
