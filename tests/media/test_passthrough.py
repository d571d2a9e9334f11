from __future__ import annotations

from fractions import Fraction

import av
import pytest

from tests.support.films import payloads, rewrite
from tests.support.synthetic import Clip, Sound
from vidrestore.media.probe import probe

COMMENTARY = int(av.stream.Disposition.comment)


def test_several_tracks_keep_order_language_and_title(clip, tmp_path):
    sounds = (
        Sound("aac", language="ger", title="Ton"),
        Sound("flac", 48000, "mono", language="eng", disposition=COMMENTARY),
        Sound("pcm_s16le", language="fre"),
    )
    source = clip("tracks.mkv", Clip(num_frames=10, sounds=sounds))
    rewrite(source, tmp_path / "out.mkv")
    writer = rewrite(source, tmp_path / "out.mp4")
    info = probe(tmp_path / "out.mp4")
    assert [a.codec for a in info.audio] == ["aac", "flac", "aac"]
    assert [a.language for a in info.audio] == ["ger", "eng", "fre"]
    assert info.audio[0].title == "Ton"
    assert [s["index"] for s in writer.streams] == [0, 1, 2, 3]
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.streams.audio[1].disposition & COMMENTARY
        assert not container.streams.audio[0].disposition & COMMENTARY
    assert writer.notes == [
        "sound track 3 is encoded to AAC, because .mp4 cannot hold pcm_s16le; "
        "an output named .mkv or .mov keeps it bit for bit"
    ]


@pytest.mark.parametrize(
    ("source_suffix", "suffix"), [(".mkv", ".mkv"), (".mp4", ".mp4"), (".mp4", ".mov")]
)
def test_subtitles_are_copied(clip, tmp_path, source_suffix, suffix):
    recipe = Clip(subtitles=((0.1, 0.5, "hello"), (0.6, 0.9, "bye")))
    source = clip(f"titles{source_suffix}", recipe)
    target = tmp_path / f"out{suffix}"
    writer = rewrite(source, target)
    texts = [b"".join(track) for track in payloads(target, "subtitle")]
    assert b"hello" in texts[0]
    assert b"bye" in texts[0]
    assert shown(target) == pytest.approx(shown(source), abs=0.001)
    assert writer.notes == []


def shown(path) -> list[float]:
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(subtitles=0) if p.size > 2]
        return [float(p.pts * p.time_base) for p in packets]


def test_a_title_on_screen_when_a_range_begins_is_shown_from_its_start(clip, tmp_path):
    source = clip("titles.mkv", Clip(num_frames=60, subtitles=((0.5, 1.5, "hello"),)))
    rewrite(source, tmp_path / "out.mkv", start=Fraction(1), end=Fraction(2))
    with av.open(str(tmp_path / "out.mkv")) as container:
        (packet,) = (p for p in container.demux(subtitles=0) if p.size)
        assert (packet.pts, packet.duration) == (0, 500)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_chapters_and_tags_are_kept(clip, tmp_path, suffix):
    recipe = Clip(
        chapters=((0, 0.5, "one"), (0.5, 1, "two")),
        tags={"title": "Christmas", "comment": "at home"},
        sounds=(Sound(),),
    )
    rewrite(clip("source.mp4", recipe), tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert times_of(container.chapters()) == [("one", 0, 0.5), ("two", 0.5, 1)]
        tags = {name.lower(): value for name, value in container.metadata.items()}
    assert tags["title"] == "Christmas"
    assert tags["comment"] == "at home"


def times_of(chapters) -> list[tuple[str, float, float]]:
    return [
        (
            c["metadata"]["title"],
            float(c["start"] * c["time_base"]),
            float(c["end"] * c["time_base"]),
        )
        for c in chapters
    ]


def test_unusual_tags_are_kept_too(clip, tmp_path):
    recipe = Clip(num_frames=3, tags={"title": "T", "make": "Sony", "com.example.tape": "7"})
    rewrite(clip("source.mkv", recipe), tmp_path / "out.mp4")
    tags = {name.lower(): value for name, value in probe(tmp_path / "out.mp4").tags.items()}
    assert (tags["make"], tags["com.example.tape"], tags["title"]) == ("Sony", "7", "T")


def test_chapters_of_a_range_are_moved_and_clipped(clip, tmp_path):
    recipe = Clip(num_frames=100, chapters=((0, 1.5, "a"), (1.5, 2.5, "b"), (2.5, 4, "c")))
    source = clip("source.mkv", recipe)
    rewrite(source, tmp_path / "out.mkv", start=Fraction(1), end=Fraction(2))
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert times_of(container.chapters()) == [("a", 0, 0.5), ("b", 0.5, 1)]


def test_chapters_track_of_an_mp4_is_no_loss(clip, tmp_path):
    recipe = Clip(chapters=((0, 0.5, "one"), (0.5, 1, "two")))
    writer = rewrite(clip("chapters.mp4", recipe), tmp_path / "out.mp4")
    assert writer.notes == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_cover_art_is_kept_where_it_can_be(clip, tmp_path, suffix):
    source = clip("cover.mp4", Clip(num_frames=5, cover=True, sounds=(Sound(),)))
    writer = rewrite(source, tmp_path / f"out{suffix}")
    info = probe(tmp_path / f"out{suffix}")
    covers = [o.kind for o in info.others]
    if suffix == ".mov":
        assert covers == []
        assert "cover track" in writer.notes[0]
    else:
        assert covers == ["cover"]
        assert writer.notes == []
        assert cover_of(tmp_path / f"out{suffix}") == cover_of(source)


def cover_of(path) -> bytes:
    with av.open(str(path)) as container:
        art = [s for s in container.streams.video if s.disposition & 1024]
        return next(bytes(p) for p in container.demux(art) if p.size)


def test_attachments_are_kept_in_matroska(tmp_path):
    source = tmp_path / "font.mkv"
    with av.open(str(source), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        out.add_attachment("a.ttf", "font/ttf", b"not really a font")
        frame = av.VideoFrame(160, 96, "yuv420p")
        frame.pts = 0
        out.mux(video.encode(frame))
        out.mux(video.encode(None))
    rewrite(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        (font,) = container.streams.attachments
        assert (font.name, font.mimetype, font.data) == ("a.ttf", "font/ttf", b"not really a font")
    writer = rewrite(source, tmp_path / "out.mp4")
    assert writer.notes == [
        "attachment track 1 is left out: .mp4 cannot hold it; an output named .mkv keeps it"
    ]
