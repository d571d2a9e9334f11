from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from tests.support.films import rewrite
from tests.support.synthetic import Clip, Sound
from vidrestore.media.estimate import estimate_output_bytes
from vidrestore.media.probe import AudioTrack, OtherTrack, SourceInfo, VideoTrack, probe
from vidrestore.settings import EncodeSettings, TrackChoice, VideoCodec

H264 = EncodeSettings()
TAPE = VideoTrack(0, "dvvideo", 720, 576, "yuv420p", 8, Fraction(25), None, Fraction(1, 25))
HOUR = Fraction(3600)


def tape(*audio: AudioTrack, **facts) -> SourceInfo:
    return SourceInfo(Path("nowhere"), "avi", HOUR, Fraction(0), TAPE, audio, **facts)


def check(source: Path, target: Path, settings: EncodeSettings, end: Fraction | None = None):
    settings = replace(settings, overwrite=True)
    least, most = estimate_output_bytes(probe(source), settings, end)
    rewrite(source, target, settings, end=end)
    size = target.stat().st_size
    assert least <= size <= most, (least, size, most)


@pytest.mark.parametrize(
    "settings",
    [
        H264,
        EncodeSettings(crf=30),
        EncodeSettings(crf=8, preset="ultrafast"),
        EncodeSettings(codec=VideoCodec.H265, preset="fast"),
        EncodeSettings(codec=VideoCodec.FFV1),
        EncodeSettings(audio=TrackChoice.NONE),
    ],
)
def test_made_films_come_out_as_estimated(clip, tmp_path, settings):
    source = clip("made.mkv", Clip(num_frames=50, sounds=(Sound("aac"), Sound("pcm_s16le"))))
    check(source, tmp_path / "out.mkv", settings)
    if settings.codec is not VideoCodec.FFV1:
        check(source, tmp_path / "out.mp4", settings)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("carphone_qcif.mp4", VideoCodec.H264),
        ("carphone_qcif.mp4", VideoCodec.H265),
        ("grid_man_mpeg1.mpg", VideoCodec.H264),
        ("oldtv_woman.mp4", VideoCodec.H264),
    ],
)
def test_real_films_come_out_as_estimated(shared_dir, tmp_path, name, codec):
    settings = EncodeSettings(codec=codec)
    check(shared_dir / "clips" / name, tmp_path / "out.mp4", settings, Fraction(1))


def test_a_range_takes_its_share():
    whole = estimate_output_bytes(tape(), H264, None)
    half = estimate_output_bytes(tape(), H264, HOUR / 2)
    assert half[0] == pytest.approx(whole[0] / 2, rel=0.01)
    assert half[1] == pytest.approx(whole[1] / 2, rel=0.01)
    assert estimate_output_bytes(tape(), H264, 2 * HOUR) == whole


def test_six_steps_of_crf_double_the_pictures():
    whole = estimate_output_bytes(tape(), H264, None)
    coarse = estimate_output_bytes(tape(), EncodeSettings(crf=24), None)
    assert whole[1] / coarse[1] == pytest.approx(2, rel=0.01)


def test_no_quality_takes_more_than_uncoded_pictures():
    _, most = estimate_output_bytes(tape(), EncodeSettings(crf=0, preset="ultrafast"), None)
    assert most < 720 * 576 * 25 * 3600 * 1.5 * 1.01


def test_a_small_source_stays_small(clip):
    info = probe(
        clip("small.mp4", Clip(num_frames=100, options={"preset": "ultrafast", "crf": "40"}))
    )
    _, most = estimate_output_bytes(info, H264, None)
    assert most < 2.1 * info.path.stat().st_size + 50_000


def test_sound_is_counted_unless_it_is_left_out():
    pcm = AudioTrack(1, "pcm_s16le", 48000, 2)
    silent = estimate_output_bytes(tape(), H264, None)
    copied = estimate_output_bytes(tape(pcm), H264, None)
    dropped = estimate_output_bytes(tape(pcm), EncodeSettings(audio=TrackChoice.NONE), None)
    assert copied[1] - silent[1] == pytest.approx(48000 * 4 * 3600)
    assert dropped == silent


def test_other_films_are_counted_with_the_source(clip):
    info = probe(clip("two.mp4", Clip(num_frames=50)))
    _, alone = estimate_output_bytes(info, H264, None)
    beside = replace(info, others=(OtherTrack(1, "video", "h264"),))
    _, both = estimate_output_bytes(beside, H264, None)
    assert both - alone == pytest.approx(info.path.stat().st_size, rel=0.01)


def test_a_source_without_length_says_nothing():
    assert estimate_output_bytes(replace(tape(), duration_seconds=None), H264, None) == (0, 0)
