from __future__ import annotations

from fractions import Fraction

import av
import pytest

from tests.support.films import QUICK, rewrite
from tests.support.synthetic import picture
from vidrestore.media.clock import Window
from vidrestore.media.probe import probe
from vidrestore.media.subtitles import ConvertedSubtitles

HEADER = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, \
Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, \
Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def clock(seconds: float, mark: str = ",") -> str:
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    return f"00:{minutes:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def written(titles, kind: str) -> str:
    if kind == "srt":
        return "\n".join(
            f"{n}\n{clock(a)} --> {clock(b)}\n{text}\n" for n, (a, b, text) in enumerate(titles, 1)
        )
    if kind == "vtt":
        return "WEBVTT\n\n" + "\n".join(
            f"{clock(a, '.')} --> {clock(b, '.')}\n{text}\n" for a, b, text in titles
        )
    return HEADER + "".join(
        f"Dialogue: 0,0:{clock(a, '.')[3:-1]},0:{clock(b, '.')[3:-1]},Default,,0,0,0,,{text}\n"
        for a, b, text in titles
    )


def film(tmp_path, titles, kind="srt", name="film.mkv", num_frames=100):
    """A film with one track of such titles, copied into it."""
    (tmp_path / f"titles.{kind}").write_text(written(titles, kind))
    path = tmp_path / name
    with av.open(str(tmp_path / f"titles.{kind}")) as source, av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        track = out.add_stream_from_template(source.streams.subtitles[0])
        track.metadata.update({"language": "ger", "title": "Untertitel"})
        track.disposition = av.stream.Disposition.forced | av.stream.Disposition.default
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(number, 160, 96), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for packet in source.demux():
            if packet.size:
                packet.stream = track
                out.mux(packet)
    return path


def shown(path) -> list[tuple[int, int, str]]:
    """Begin and end in milliseconds and the words of each title that is not empty."""
    found = []
    with av.open(str(path)) as container:
        name = container.streams.subtitles[0].codec_context.name
        for packet in container.demux(subtitles=0):
            words = bytes(packet)
            if name == "mov_text":
                words = words[2 : 2 + int.from_bytes(words[:2], "big")]
            if words:
                begin = round(packet.pts * packet.time_base * 1000)
                end = round((packet.pts + packet.duration) * packet.time_base * 1000)
                found.append((begin, end, words.decode()))
    return found


TITLES = [(0.04, 0.5, "one"), (0.501, 1.333, "two, and three"), (2.0, 3.999, "four")]


@pytest.mark.parametrize("kind", ["srt", "vtt"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_titles_keep_their_words_and_times_to_the_millisecond(tmp_path, kind, suffix):
    source = film(tmp_path, TITLES, kind)
    writer = rewrite(source, tmp_path / f"out{suffix}")
    expected = [(round(a * 1000), round(b * 1000), text) for a, b, text in TITLES]
    assert shown(tmp_path / f"out{suffix}") == expected
    (track,) = probe(tmp_path / f"out{suffix}").others
    assert (track.codec, track.language) == ("mov_text", "ger")
    assert writer.streams[1]["action"] == "converted"
    assert writer.streams[1]["index"] == 1
    codec = {"srt": "subrip", "vtt": "webvtt"}[kind]
    note = (
        f"subtitle track 1 ({codec}) is converted to mov_text, because {suffix} cannot hold it; "
        "an output named .mkv keeps it as it is"
    )
    if suffix == ".mov":
        note += (
            "; subtitle track 1 is marked as forced, which .mov does not keep; "
            "an output named .mp4 or .mkv does"
        )
    assert writer.notes == [note]


def test_titles_of_an_mp4_become_subrip_and_back(tmp_path):
    source = film(tmp_path, TITLES, "srt")
    rewrite(source, tmp_path / "a.mp4")
    rewrite(tmp_path / "a.mp4", tmp_path / "b.mkv")
    assert shown(tmp_path / "b.mkv") == shown(source)
    (track,) = probe(tmp_path / "b.mkv").others
    assert (track.codec, track.language) == ("subrip", "ger")


def test_flags_of_a_converted_track_stay(tmp_path):
    rewrite(film(tmp_path, TITLES), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        (track,) = container.streams.subtitles
        assert track.disposition & av.stream.Disposition.default


def test_italics_stay_and_drawings_go(tmp_path):
    titles = [
        (0.1, 0.5, r"{\i1}slanted{\i0} and {\c&H0000FF&}red{\r} {\pos(10,20)}here\Nsecond\hline"),
        (1.0, 1.5, r"{\p1}m 0 0 l 100 0 100 100{\p0}after"),
        (2.0, 2.5, r"{\an7\p2}m 0 0 l 100 0"),
        (3.0, 3.5, r"{\b1}{\b0}"),
    ]
    source = film(tmp_path, titles, "ass")
    rewrite(source, tmp_path / "out.mp4")
    assert shown(tmp_path / "out.mp4") == [
        (100, 500, "slanted and red here\nsecond\u00a0line"),
        (1000, 1500, "after"),
    ]
    rewrite(tmp_path / "out.mp4", tmp_path / "out.mkv")
    assert shown(tmp_path / "out.mkv")[0][2] == "<i>slanted</i> and red here\nsecond\u00a0line"


def test_titles_that_overlap_share_the_screen_of_an_mp4(tmp_path):
    titles = [(0.5, 2.0, "long"), (1.0, 1.5, "short"), (2.0, 2.5, "next")]
    rewrite(film(tmp_path, titles), tmp_path / "out.mp4")
    assert shown(tmp_path / "out.mp4") == [
        (500, 1000, "long"),
        (1000, 1500, "long\nshort"),
        (1500, 2000, "long"),
        (2000, 2500, "next"),
    ]


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_range_clips_its_titles(tmp_path, suffix):
    titles = [(0.2, 0.8, "gone"), (0.5, 1.5, "under way"), (2.5, 3.5, "cut off"), (3.2, 3.9, "no")]
    target = tmp_path / f"out{suffix}"
    rewrite(film(tmp_path, titles), target, start=Fraction(1), end=Fraction(3))
    assert shown(target) == [(0, 500, "under way"), (1500, 2000, "cut off")]


def test_titles_are_written_in_step_with_the_pictures(tmp_path):
    source = film(tmp_path, TITLES)
    with av.open(str(source)) as container, av.open(str(tmp_path / "out.mp4"), "w") as out:
        window = Window(shift=Fraction(0), has_start=False, length=None, hides_start=True)
        track = ConvertedSubtitles(out, container.streams.subtitles[0], "mov_text", window)
        out.start_encoding()
        packets = [p for p in container.demux(subtitles=0) if p.size]
        track.take(track.when(packets[0]))
        track.advance(Fraction(499, 1000))
        assert len(track._titles) == 1
        track.advance(Fraction(501, 1000))
        assert track._titles == []


@pytest.mark.parametrize(("words", "suffix"), [("mov_text", ".mp4"), ("subrip", ".mkv")])
def test_a_title_without_length_stays_until_the_next(tmp_path, words, suffix):
    source = film(tmp_path, [(0.5, 0.9, "one"), (1.5, 2.0, "two"), (3.0, 4.0, "three")])
    window = Window(shift=Fraction(0), has_start=False, length=None, hides_start=True)
    target = tmp_path / f"out{suffix}"
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        track = ConvertedSubtitles(out, container.streams.subtitles[0], words, window)
        out.start_encoding()
        for packet in container.demux(subtitles=0):
            if packet.size:
                packet.duration = packet.duration if b"two" in bytes(packet) else 0
                track.take(track.when(packet))
        track.flush()
    assert shown(target) == [(500, 1500, "one"), (1500, 2000, "two"), (3000, 8000, "three")]


def test_words_that_are_no_utf8_do_not_stop_the_film(tmp_path):
    source = film(tmp_path, [(0.5, 0.9, "caf\u00e9 one"), (1.5, 2.0, "two")])
    path = tmp_path / "latin.mkv"
    path.write_bytes(source.read_bytes().replace("caf\u00e9 ".encode(), b"caf\xe9  "))
    writer = rewrite(path, tmp_path / "out.mp4", QUICK)
    assert shown(tmp_path / "out.mp4")[-1] == (1500, 2000, "two")
    assert "1 damaged packets of track 1 were left out" in writer.notes


def test_in_matroska_a_range_clips_its_titles_too(tmp_path):
    titles = [(0.2, 0.8, "gone"), (0.5, 1.5, "under way"), (2.5, 3.5, "cut off")]
    rewrite(film(tmp_path, titles), tmp_path / "a.mp4")
    rewrite(tmp_path / "a.mp4", tmp_path / "out.mkv", start=Fraction(1), end=Fraction(3))
    assert shown(tmp_path / "out.mkv") == [(0, 500, "under way"), (1500, 2000, "cut off")]
