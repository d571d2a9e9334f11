"""Pictures through a lossy codec in memory: what must come back."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from vidrestore.errors import MediaError, SettingsError
from vidrestore.media.recode import QUALITIES, LossyCodec, recode

CODECS = list(LossyCodec)


def picture(height=96, width=128, seed=0):
    coarse = np.random.default_rng(seed).integers(30, 226, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("codec", CODECS)
def test_as_many_pictures_come_back_in_order(codec):
    levels = list(range(20, 240, 20))
    frames = [np.full((48, 64, 3), level, np.uint8) for level in levels]
    decoded = recode(frames, codec, 8)
    assert [round(frame.mean()) for frame in decoded] == pytest.approx(levels, abs=3)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", [(63, 65), (64, 65), (63, 64), (64, 64), (17, 200)])
def test_any_size_comes_back_as_it_was(codec, shape):
    frame = picture(*shape)
    (decoded,) = recode([frame], codec, 4)
    assert decoded.shape == frame.shape
    assert decoded.dtype == np.uint8
    assert cv2.PSNR(frame, decoded) > 30  # also the last row and column are in their places


@pytest.mark.parametrize("codec", CODECS)
def test_a_higher_number_is_a_worse_picture(codec):
    frames = [picture(seed=seed) for seed in range(3)]
    best, worst = QUALITIES[codec]
    middle = (best + worst) // 2
    quality = [cv2.PSNR(frames[1], recode(frames, codec, q)[1]) for q in (best, middle, worst)]
    assert quality[0] > quality[1] + 1
    assert quality[1] > quality[2] + 1


@pytest.mark.parametrize("codec", CODECS)
def test_colours_stay(codec):
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (255, 255, 255), (0, 0, 0)]
    frames = [np.full((32, 32, 3), colour, np.uint8) for colour in colours]
    for colour, decoded in zip(colours, recode(frames, codec, 2), strict=True):
        assert decoded.mean(axis=(0, 1)) == pytest.approx(colour, abs=1.5)


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_pictures_give_the_same_result(codec):
    frames = [picture(seed=seed) for seed in range(4)]
    for first, second in zip(recode(frames, codec, 8), recode(frames, codec, 8), strict=True):
        np.testing.assert_array_equal(first, second)


def test_no_pictures_give_none():
    assert recode([], LossyCodec.H264, 23) == []


@pytest.mark.parametrize(("codec", "quality"), [("h264", -1), ("h264", 52), ("mpeg2", 0)])
def test_a_quality_out_of_range_is_refused(codec, quality):
    with pytest.raises(SettingsError, match=rf"quality {quality} .* {codec}: use \d+ to \d+"):
        recode([picture()], LossyCodec(codec), quality)


def test_pictures_of_several_sizes_are_refused():
    with pytest.raises(MediaError, match="several sizes"):
        recode([picture(), picture(64, 64)], LossyCodec.H264, 23)


def test_what_ffmpeg_refuses_is_said_in_one_line():
    frame = np.zeros((2, 70000, 3), np.uint8)
    with pytest.raises(MediaError, match="cannot code 70000x2 pictures with mpeg2: ") as caught:
        recode([frame], LossyCodec.MPEG2, 4)
    assert "\n" not in str(caught.value)


def test_a_missing_encoder_is_said_in_one_line(monkeypatch):
    def create(name, mode):
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr("vidrestore.media.recode.av.CodecContext.create", create)
    with pytest.raises(MediaError, match="with h264: no such codec"):
        recode([picture()], LossyCodec.H264, 23)
