"""Further films in the container are copied, in step with the one that is restored."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from tests.support.films import QUICK, rewrite
from tests.support.synthetic import drawn_number, picture
from vidrestore.media.clock import Window
from vidrestore.media.containers import CONTAINERS
from vidrestore.media.probe import probe
from vidrestore.media.tracks import CopiedPictures

ENCODERS = {
    "h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp8": "libvpx", "vp9": "libvpx-vp9",
    "msmpeg4v3": "msmpeg4",
}  # fmt: skip
FORMATS = {"mjpeg": "yuvj420p", "cinepak": "rgb24", "svq1": "yuv410p"}
MADE_HERE = (
    "h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "ffv1",
    "h263", "msmpeg4v3", "svq1",
)  # fmt: skip
OPTIONS = {
    "libx264": {"preset": "veryfast", "bf": "2", "g": "10"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:keyint=10"},
    "libsvtav1": {"preset": "12"},
}


def two_films(path, second="h264", num_frames=30, size=(176, 144), start=0.0):
    """The first film counts up from 0, the second from 100."""
    with av.open(str(path), "w") as out:
        streams = []
        for codec in ("h264", second):
            name = ENCODERS.get(codec, codec)
            video = out.add_stream(name, rate=25, options=OPTIONS.get(name, {}))
            video.width, video.height = size
            video.pix_fmt = FORMATS.get(codec, "yuv420p")
            video.codec_context.time_base = Fraction(1, 25)
            streams.append(video)
        streams[1].metadata.update({"language": "ger", "title": "Garten", "handler_name": "Cam"})
        streams[1].disposition = 0
        if second == "h264":
            streams[1].codec_context.sample_aspect_ratio = Fraction(16, 15)
            streams[1].set_display_rotation(90)
        for number in range(num_frames):
            for place, stream in enumerate(streams):
                frame = av.VideoFrame.from_ndarray(picture(number + 100 * place, *size), "rgb24")
                frame.pts = number + round(start * 25) * place
                frame.time_base = Fraction(1, 25)
                out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode(None))
    return path


def second_film(path) -> tuple[list[tuple[float, int]], list[bytes]]:
    """Time and number of each picture of the second film, and its packets."""
    with av.open(str(path)) as container:
        stream = container.streams.video[1]
        packets = [bytes(p) for p in container.demux(stream) if p.size]
    with av.open(str(path)) as container:
        shown = [
            (round(float(f.pts * f.time_base), 3), drawn_number(f.to_ndarray(format="gray")))
            for f in container.decode(video=1)
        ]
    return shown, packets


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("codec", MADE_HERE)
def test_a_film_the_container_holds_is_copied(tmp_path, monkeypatch, codec, suffix):
    monkeypatch.setenv("SVT_LOG", "1")
    source_suffix = ".mkv" if codec in CONTAINERS[".mkv"].video else ".mov"
    source = two_films(tmp_path / f"two{source_suffix}", codec, num_frames=12)
    target = tmp_path / f"out{suffix}"
    writer = rewrite(source, target)
    if codec not in CONTAINERS[suffix].video:
        assert writer.streams[1]["action"] == "dropped"
        assert f"video track 1 ({codec}) is left out: {suffix} cannot hold it" in writer.notes[-1]
        assert "; an output named ." in writer.notes[-1]
        return
    assert writer.streams[1]["action"] == "copied"
    assert writer.notes == []
    before, after = second_film(source), second_film(target)
    origin = float(probe(source).origin)
    assert after[0] == [(round(time - origin, 3), number) for time, number in before[0]]
    assert after[1] == before[1]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_its_shape_turn_flags_and_names_are_kept(tmp_path, suffix):
    source = two_films(tmp_path / "two.mov")
    target = tmp_path / f"out{suffix}"
    rewrite(source, target)
    before, after = second_film(source), second_film(target)
    assert after[1] == before[1]
    assert after[0] == before[0]
    with av.open(str(target)) as container:
        first, second = container.streams.video
        assert second.codec_context.sample_aspect_ratio == Fraction(16, 15)
        assert second.disposition == 0
        assert first.disposition & av.stream.Disposition.default
        tags = {name.lower(): value for name, value in second.metadata.items()}
        assert (tags["language"], tags["handler_name"]) == ("ger", "Cam")
        assert tags.get("title", tags.get("name")) == "Garten"
        assert next(container.decode(video=1)).rotation == 90


def test_hevc_is_named_as_apple_wants_it(tmp_path):
    source = two_films(tmp_path / "two.mkv", "hevc", num_frames=3)
    rewrite(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[1].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize("source_suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_range_hides_what_lies_before_it(tmp_path, source_suffix, suffix):
    source = two_films(tmp_path / f"two{source_suffix}", num_frames=60)
    target = tmp_path / f"out{suffix}"
    writer = rewrite(source, target, start=Fraction(62, 100), end=Fraction(2))
    assert writer.notes == []
    shown, _ = second_film(target)
    # the picture that is on screen when the range begins is shown from its start
    wanted = [0.0] + [(n - 15.5) / 25 for n in range(16, 50)]
    inside = [s for s in shown if s[0] < 1.36]
    assert [n for _, n in inside] == list(range(115, 150))
    assert [t for t, _ in inside] == pytest.approx(wanted, abs=0.002)
    assert shown[-1][0] < 1.5


def test_in_matroska_a_range_begins_with_a_key_frame(tmp_path):
    source = two_films(tmp_path / "two.mkv", num_frames=60)
    writer = rewrite(source, tmp_path / "out.mkv", start=Fraction(62, 100), end=Fraction(2))
    shown, _ = second_film(tmp_path / "out.mkv")
    assert [n for _, n in shown][:30] == list(range(120, 150))
    assert shown[0][0] == pytest.approx(0.18, abs=0.001)
    assert writer.notes == [
        "the pictures of track 1 begin 0.18 s into the range: copied pictures can only begin with "
        "a key frame"
    ]


def test_a_film_that_begins_later_stays_late(tmp_path):
    source = two_films(tmp_path / "two.mkv", start=0.4)
    writer = rewrite(source, tmp_path / "out.mp4")
    assert writer.notes == []
    assert second_film(tmp_path / "out.mp4")[0] == second_film(source)[0]
    rewrite(source, tmp_path / "part.mkv", start=Fraction(1, 5))
    assert second_film(tmp_path / "part.mkv")[0][0] == (0.2, 100)


def test_what_an_edit_list_hides_stays_hidden(tmp_path):
    source = two_films(tmp_path / "two.mkv", num_frames=60)
    rewrite(source, tmp_path / "cut.mp4", start=Fraction(62, 100), end=Fraction(2))
    rewrite(tmp_path / "cut.mp4", tmp_path / "again.mp4")
    assert second_film(tmp_path / "again.mp4") == second_film(tmp_path / "cut.mp4")


def test_both_films_lie_side_by_side(tmp_path):
    source = two_films(tmp_path / "two.mkv", num_frames=150)
    rewrite(source, tmp_path / "out.mkv", QUICK)
    latest, furthest = {0: 0.0, 1: 0.0}, 0.0
    with av.open(str(tmp_path / "out.mkv")) as container:
        for packet in container.demux():
            if packet.dts is not None:
                latest[packet.stream.index] = float(packet.dts * packet.time_base)
                furthest = max(furthest, abs(latest[0] - latest[1]))
    assert furthest < 0.3


def test_what_a_camera_writes_beside_its_film_is_kept(tmp_path):
    source = tmp_path / "camera.mp4"
    places = [f"place {n}".encode() * 5 for n in range(4)]
    with av.open(str(source), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        data = out.add_data_stream("bin_data")
        data.time_base = Fraction(1, 1000)
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(picture(number, 160, 96), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for number, place in enumerate(places):
            packet = av.Packet(place)
            packet.stream, packet.time_base = data, Fraction(1, 1000)
            packet.pts = packet.dts = number * 500
            packet.duration = 500
            out.mux(packet)
    writer = rewrite(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        packets = [p for p in container.demux(container.streams[1]) if p.size]
        assert [bytes(p) for p in packets] == places
        assert [p.pts * p.time_base for p in packets] == [0, 0.5, 1, 1.5]
    assert writer.notes == []
    writer = rewrite(source, tmp_path / "out.mkv")
    assert writer.notes == [
        "data track 1 (bin_data) is left out: .mkv cannot hold it; "
        "an output named .mp4 or .mov keeps it"
    ]
    foreign = tmp_path / "foreign.mp4"
    foreign.write_bytes(source.read_bytes().replace(b"gpmd", b"mebx"))
    for suffix in (".mp4", ".mov"):
        writer = rewrite(foreign, tmp_path / f"foreign_out{suffix}")
        assert writer.notes == [f"data track 1 is left out: {suffix} cannot hold it"]
        assert probe(tmp_path / f"foreign_out{suffix}").others == ()


def test_pictures_are_what_they_were(tmp_path):
    source = two_films(tmp_path / "two.mp4", num_frames=10)
    rewrite(source, tmp_path / "out.mp4")
    planes = []
    for path in (source, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            planes.append([f.to_ndarray() for f in container.decode(video=1)])
    assert all(np.array_equal(a, b) for a, b in zip(*planes, strict=True))


def copied(source, target, length=None) -> list[tuple[float, float]]:
    """Copy the second film alone; return when its packets are shown and decoded."""
    window = Window(Fraction(0), has_start=False, length=length, hides_start=True)
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        track = CopiedPictures(out, container.streams.video[1], window)
        out.start_encoding()
        for packet in container.demux(video=1):
            if packet.size:
                track.take(track.when(packet))
        track.flush()
    with av.open(str(target)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    return [(float(p.pts * p.time_base), float(p.dts * p.time_base)) for p in packets]


def test_decoding_times_that_matroska_leaves_out_are_found(tmp_path):
    source = two_films(tmp_path / "two.mkv", num_frames=20)
    decoded = [dts for _, dts in copied(source, tmp_path / "out.mp4")]
    assert decoded == pytest.approx([(k - 2) / 25 for k in range(20)], abs=0.001)
    short = two_films(tmp_path / "short.mkv", num_frames=1)
    assert copied(short, tmp_path / "short.mp4") == [(0.0, 0.0)]


def test_what_is_decoded_after_the_end_is_left_out(tmp_path):
    source = two_films(tmp_path / "two.mkv", num_frames=40)
    times = copied(source, tmp_path / "out.mp4", Fraction(1))
    assert 25 <= len(times) <= 28
    assert {round(pts * 25) for pts, _ in times} >= set(range(25))
