"""Decoding and encoding on an NVIDIA card: what FFmpeg is asked, what is said without one."""

from __future__ import annotations

import ctypes.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import skip_or_fail
from tests.support.synthetic import Clip, Sound
from vidrestore.errors import DeviceError, SettingsError
from vidrestore.media import encoders
from vidrestore.media.chroma import TOP_LEFT
from vidrestore.media.coders import CODERS
from vidrestore.media.containers import CONTAINERS
from vidrestore.media.decoding import Damage, Decoding
from vidrestore.media.encoder_options import options_for, tells_chroma_location
from vidrestore.media.encoders import choose_encoder
from vidrestore.media.plan import plan_pictures
from vidrestore.media.probe import probe
from vidrestore.media.read import VideoReader
from vidrestore.media.write import VideoWriter
from vidrestore.settings import EncodeSettings, ReadSettings, VideoCodec

FILM = Clip(sounds=(Sound(),))
MP4 = CONTAINERS[".mp4"]
HAS_DRIVER = ctypes.util.find_library("cuda") is not None


@pytest.mark.parametrize("codec", [VideoCodec.H264, VideoCodec.H265, VideoCodec.AV1])
def test_the_encoder_is_told_what_the_user_asked(
    monkeypatch: pytest.MonkeyPatch, codec: VideoCodec
) -> None:
    monkeypatch.setattr(encoders, "_try_out", lambda encoder: None)
    encoder = choose_encoder(EncodeSettings(codec, crf=25, preset="p7", nvenc=True), MP4)
    assert encoder.name == {"h264": "h264_nvenc", "h265": "hevc_nvenc", "av1": "av1_nvenc"}[codec]
    assert dict(encoder.options) == {"rc": "vbr", "b": "0", "cq": "25", "preset": "p7"}
    assert encoder.format_for("yuv420p") == "yuv420p"
    usual = choose_encoder(EncodeSettings(codec, nvenc=True), MP4)
    assert usual.options["preset"] == "p5"
    with pytest.raises(SettingsError, match="has no preset 'medium': use one of p1, p2"):
        choose_encoder(EncodeSettings(codec, preset="medium", nvenc=True), MP4)


def test_what_the_cards_encoder_cannot_store_is_said(
    monkeypatch: pytest.MonkeyPatch, clip: object
) -> None:
    monkeypatch.setattr(encoders, "_try_out", lambda encoder: None)
    video = probe(clip("film.mp4", FILM)).video  # type: ignore[operator]
    video = replace(video, colour=replace(video.colour, chroma_location=TOP_LEFT))
    encoder = choose_encoder(EncodeSettings(nvenc=True), MP4)
    assert options_for(video, encoder.told_as, encoder.options, "yuv420p") == encoder.options
    assert not tells_chroma_location(video, encoder.told_as, "yuv420p")
    assert any("where the colour samples lie" in n for n in plan_pictures(video, encoder, MP4))
    deep = replace(video, pixel_format="yuv420p10le", bits=10)
    assert any("written as yuv420p" in n for n in plan_pictures(deep, encoder, MP4))


def test_a_lossless_film_is_not_for_the_card() -> None:
    with pytest.raises(SettingsError, match="NVENC codes h264, h265 and av1"):
        EncodeSettings(VideoCodec.FFV1, nvenc=True)


def test_the_usual_encoders_are_as_they_were() -> None:
    assert [c.quality for c in CODERS.values()] == ["crf"] * 4


@pytest.mark.skipif(HAS_DRIVER, reason="nvidia: this machine has a driver")
def test_without_a_driver_both_say_so_in_one_line(clip: object) -> None:
    with pytest.raises(DeviceError, match=r"an NVIDIA card .*: leave --nvenc out$"):
        choose_encoder(EncodeSettings(nvenc=True), MP4)
    path = clip("film.mp4", FILM)  # type: ignore[operator]
    with pytest.raises(DeviceError, match="NVDEC needs an NVIDIA card and a driver"):
        VideoReader(path, ReadSettings(nvdec=True))


def test_what_the_card_does_not_decode_is_an_error(
    clip: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidrestore.media import decoding

    info = probe(clip("film.mp4", FILM))  # type: ignore[operator]
    opened = decoding.open_source
    monkeypatch.setattr(decoding, "open_source", lambda path, nvdec: opened(path))
    with pytest.raises(DeviceError, match="NVDEC does not decode h264: leave --nvdec out"):
        Decoding(info, Damage(), nvdec=True)


@pytest.mark.gpu
def test_a_card_decodes_what_the_processor_decodes(clip: object, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        skip_or_fail("gpu", "there is no CUDA device")
    path = clip("film.mp4", FILM)  # type: ignore[operator]
    with VideoReader(path) as usual, VideoReader(path, ReadSettings(nvdec=True)) as by_card:
        for a, b in zip(usual.frames(), by_card.frames(), strict=True):
            assert a.pts == b.pts
            for x, y in zip(a.planes, b.planes, strict=True):
                np.testing.assert_array_equal(x, y)
        with VideoWriter(tmp_path / "o.mp4", by_card.info, EncodeSettings(nvenc=True)) as writer:
            for frame in by_card.frames():
                writer.write(frame)
    assert probe(tmp_path / "o.mp4").video.codec == "h264"
