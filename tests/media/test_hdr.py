"""Depth and brightness: ten bits stay ten bits, and what is said about the screen is said again."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import pytest

from tests.support.films import rewrite
from tests.support.synthetic import Clip
from vidrestore.errors import OutputError
from vidrestore.media.containers import CONTAINERS
from vidrestore.media.encoders import choose_encoder
from vidrestore.media.hdr import HLG, PQ, HdrMetadata, MasteringDisplay
from vidrestore.media.plan import plan_pictures
from vidrestore.media.probe import ColourTags, probe
from vidrestore.settings import EncodeSettings, VideoCodec

SCREEN = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
BT2020 = 9
QUICKEST = {VideoCodec.H264: "ultrafast", VideoCodec.H265: "ultrafast", VideoCodec.AV1: "12"}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("SVT_LOG", "1")


def settings(codec: VideoCodec) -> EncodeSettings:
    return EncodeSettings(codec=codec, preset=QUICKEST.get(codec), overwrite=True)


def hdr_clip(told: str = "", transfer: int = PQ, pixel_format: str = "yuv420p10le") -> Clip:
    parameters = ":".join(["log-level=none", *([told] if told else [])])
    return Clip(
        num_frames=3,
        codec="libx265",
        pixel_format=pixel_format,
        options={"preset": "ultrafast", "x265-params": parameters},
        colour=(BT2020, BT2020, transfer, 1),
    )


HDR10 = hdr_clip(f"master-display={SCREEN}:max-cll=1000,400")


def test_the_screen_is_read(clip):
    hdr = probe(clip("hdr.mp4", HDR10)).video.hdr
    assert hdr == HdrMetadata(
        MasteringDisplay(
            red=(Fraction(68, 100), Fraction(32, 100)),
            green=(Fraction(265, 1000), Fraction(69, 100)),
            blue=(Fraction(15, 100), Fraction(6, 100)),
            white=(Fraction(3127, 10000), Fraction(329, 1000)),
            darkest=Fraction(5, 1000),
            brightest=Fraction(1000),
        ),
        content_light=(1000, 400),
    )


def test_ordinary_films_say_nothing_of_it(clip):
    assert probe(clip("plain.mp4", Clip(num_frames=2))).video.hdr is None


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [(c, s) for c in (VideoCodec.H264, VideoCodec.H265) for s in (".mp4", ".mov", ".mkv")]
    + [(VideoCodec.AV1, ".mp4"), (VideoCodec.AV1, ".mkv")],
)
def test_hdr10_is_passed_on_with_all_it_says(clip, tmp_path, codec, suffix):
    source = clip("hdr.mp4", HDR10)
    target = tmp_path / f"out{suffix}"
    rewrite(source, target, settings(codec))
    before, after = probe(source).video, probe(target).video
    assert replace(after.colour, chroma_location=0) == before.colour
    assert before.colour == ColourTags(BT2020, BT2020, PQ, 1, 0)
    assert after.pixel_format == "yuv420p10le"
    assert before.hdr is not None
    assert after.hdr is not None
    assert after.hdr.content_light == (1000, 400)
    if codec is not VideoCodec.AV1:
        assert after.hdr == before.hdr
        return
    screens = (before.hdr.mastering, after.hdr.mastering)  # AV1 rounds to other fractions
    for name in ("red", "green", "blue", "white"):
        pairs = [[float(v) for v in getattr(screen, name)] for screen in screens]
        assert pairs[1] == pytest.approx(pairs[0], abs=1e-4)
    assert float(screens[1].brightest) == pytest.approx(1000, abs=0.01)
    assert float(screens[1].darkest) == pytest.approx(0.005, abs=1e-4)


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [(VideoCodec.H264, ".mp4"), (VideoCodec.H265, ".mov"), (VideoCodec.FFV1, ".mkv")],
)
def test_hlg_is_passed_on_with_its_tags(clip, tmp_path, codec, suffix):
    source = clip("hlg.mp4", hdr_clip(transfer=HLG))
    rewrite(source, tmp_path / f"out{suffix}", settings(codec))
    colour = probe(tmp_path / f"out{suffix}").video.colour
    assert (colour.matrix, colour.primaries, colour.transfer) == (BT2020, BT2020, HLG)
    assert probe(tmp_path / f"out{suffix}").video.bits == 10


def test_ffv1_leaves_the_screen_out_and_says_so(clip, tmp_path):
    writer = rewrite(clip("hdr.mp4", HDR10), tmp_path / "out.mkv", settings(VideoCodec.FFV1))
    assert writer.notes == ["left out: the HDR10 metadata, for which FFV1 has no place"]


def test_what_changes_with_the_scene_is_left_out_and_said(clip):
    video = probe(clip("hdr.mp4", HDR10)).video
    assert video.hdr is not None
    video = replace(video, hdr=replace(video.hdr, dynamic=("Dolby Vision", "HDR10+")))
    container = CONTAINERS[".mp4"]
    encoder = choose_encoder(settings(VideoCodec.H265), container)
    assert plan_pictures(video, encoder, container) == [
        "left out: the Dolby Vision metadata that changes with the scene",
        "left out: the HDR10+ metadata that changes with the scene",
    ]


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_is_refused_where_it_would_be_flattened(clip, transfer):
    video = probe(clip("hdr.mp4", hdr_clip(transfer=transfer))).video
    container = CONTAINERS[".mp4"]
    encoder = choose_encoder(settings(VideoCodec.H264), container)
    narrow = replace(encoder, formats=frozenset({"yuv420p", "yuv444p"}))
    with pytest.raises(OutputError) as caught:
        plan_pictures(video, narrow, container)
    assert str(caught.value) == (
        "the film is HDR with 10 bits, and this H.264 encoder has only 8: "
        "use --codec h264 or --codec h265 or --codec av1 or --codec ffv1"
    )
    ordinary = replace(video, colour=ColourTags())
    assert "are written as yuv420p" in plan_pictures(ordinary, narrow, container)[0]


def note_of(coded: str, advice: str) -> str:
    return f"takes no {coded}: the pictures are written as {advice}"


@pytest.mark.parametrize(
    ("pixel_format", "codec", "suffix", "coded", "note"),
    [
        ("yuv420p", VideoCodec.H264, ".mp4", "yuv420p", None),
        ("yuv420p10le", VideoCodec.H264, ".mp4", "yuv420p10le", "few players show H.264"),
        ("yuv420p10le", VideoCodec.H265, ".mp4", "yuv420p10le", None),
        ("yuv420p10le", VideoCodec.AV1, ".mp4", "yuv420p10le", None),
        ("yuv422p10le", VideoCodec.H265, ".mov", "yuv422p10le", None),
        ("yuv420p12le", VideoCodec.H265, ".mp4", "yuv420p12le", None),
        ("yuv444p12le", VideoCodec.H265, ".mp4", "yuv444p12le", None),
        ("yuv420p12le", VideoCodec.FFV1, ".mkv", "yuv420p12le", None),
        (
            "yuv420p12le", VideoCodec.H264, ".mp4", "yuv420p10le",
            "H.264 takes no yuv420p12le: the pictures are written as yuv420p10le; "
            "--codec h265 or --codec ffv1 keeps them as they are",
        ),
        (
            "yuv420p12le", VideoCodec.AV1, ".mp4", "yuv420p10le",
            "AV1 takes no yuv420p12le: the pictures are written as yuv420p10le; "
            "--codec h265 or --codec ffv1 keeps them as they are",
        ),
        (
            "yuv422p10le", VideoCodec.AV1, ".mp4", "yuv420p10le",
            "AV1 takes no yuv422p10le: the pictures are written as yuv420p10le; "
            "--codec h264 or --codec h265 or --codec ffv1 keeps them as they are",
        ),
    ],
)  # fmt: skip
def test_the_depth_that_comes_out(clip, tmp_path, pixel_format, codec, suffix, coded, note):
    source = clip(
        "deep.mkv", Clip(num_frames=2, codec="ffv1", options={}, pixel_format=pixel_format)
    )
    target = tmp_path / f"out{suffix}"
    writer = rewrite(source, target, settings(codec))
    assert probe(target).video.pixel_format == coded
    if note is None:
        assert writer.notes == []
    else:
        assert note in " ".join(writer.notes)


@pytest.mark.parametrize("codec", [VideoCodec.H264, VideoCodec.H265])
@pytest.mark.parametrize("location", range(6))
def test_colour_samples_stay_in_their_place(clip, tmp_path, codec, location):
    recipe = Clip(num_frames=2, options={"x264-params": f"chromaloc={location}"})
    writer = rewrite(clip("a.mp4", recipe), tmp_path / "out.mp4", settings(codec))
    assert probe(tmp_path / "out.mp4").video.colour.chroma_location == location
    assert writer.notes == []


def test_mjpeg_stays_centred(clip, tmp_path):
    recipe = Clip(num_frames=2, codec="mjpeg", options={}, pixel_format="yuvj420p")
    rewrite(clip("a.avi", recipe), tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").video.colour.chroma_location == 1


def test_other_chroma_has_no_place_to_tell(clip, tmp_path):
    recipe = Clip(num_frames=2, codec="mjpeg", options={}, pixel_format="yuvj422p")
    rewrite(clip("a.avi", recipe), tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").video.colour.chroma_location is None


def header_of(path) -> bytes:
    with av.open(str(path)) as container:
        return bytes(container.streams.video[0].codec_context.extradata)


def test_av1_tells_the_two_places_it_knows(clip, tmp_path):
    headers, notes = {}, {}
    for location in (0, 1, 2):
        recipe = Clip(num_frames=2, options={"x264-params": f"chromaloc={location}"})
        target = tmp_path / f"{location}.mp4"
        notes[location] = rewrite(clip("a.mp4", recipe), target, settings(VideoCodec.AV1)).notes
        headers[location] = header_of(target)
    # chroma_sample_position, av1C: the two lowest bits of the third byte
    assert [headers[n][2] & 3 for n in (0, 1, 2)] == [0, 0, 2]
    assert headers[1] == headers[0]
    assert headers[2] != headers[0]
    assert notes[0] == notes[2] == []
    assert notes[1] == [
        "AV1 cannot store where the colour samples lie (place 1 of ITU-T H.273): players may shift "
        "the colours by half a pixel"
    ]
