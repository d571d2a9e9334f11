from __future__ import annotations

import av
import pytest

from tests.support.synthetic import Clip
from vidrestore.media.chroma import _Bits, _skip_hevc_references, chroma_location
from vidrestore.media.probe import probe

PARAMETERS = {"libx264": "x264-params", "libx265": "x265-params"}
SIGNED = "colorprim=bt709:transfer=bt709:colormatrix=bt709"
# each takes the reader another way through the header
WAYS = {
    "plain": {"libx264": "", "libx265": "keyint=12"},
    "profile": {"libx264": "bframes=0:cabac=0:8x8dct=0", "libx265": "bframes=8:b-pyramid=1:ref=5"},
    "interlaced": {"libx264": "tff=1", "libx265": "weightp=0:no-sao=1:no-amp=1"},
    "matrices": {"libx264": "cqm=jvt", "libx265": "scaling-list=default"},
    "signal": {"libx264": SIGNED, "libx265": f"{SIGNED}:overscan=show:temporal-layers=3"},
}


def coded(location: int, codec: str, way: str, pixel_format: str = "yuv420p") -> Clip:
    quiet = "log-level=none:" if codec == "libx265" else ""
    text = f"{quiet}chromaloc={location}:{WAYS[way][codec]}".rstrip(":")
    options = {"preset": "veryfast", PARAMETERS[codec]: text}
    return Clip(130, 92, 3, codec=codec, pixel_format=pixel_format, options=options)


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
@pytest.mark.parametrize("location", range(6))
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_every_place_is_read_from_the_header(clip, codec, location, suffix):
    path = clip(f"a{suffix}", coded(location, codec, "plain"))
    assert probe(path).video.colour.chroma_location == location


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_whatever_stands_before_it(clip, codec, way, pixel_format):
    path = clip("a.mkv", coded(3, codec, way, pixel_format))
    assert probe(path).video.colour.chroma_location == 3


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "size", "expected"),
    [
        ("a.mp4", "libx264", "yuv420p", (160, 96), 0),
        ("a.mpg", "mpeg2video", "yuv420p", (160, 96), 0),
        ("a.mpg", "mpeg1video", "yuv420p", (160, 96), 1),
        ("a.avi", "mjpeg", "yuvj420p", (160, 96), 1),
        ("a.avi", "dvvideo", "yuv420p", (720, 576), 2),
        ("a.avi", "dvvideo", "yuv422p", (720, 576), None),
        ("a.mp4", "libx264", "yuv444p", (160, 96), None),
        ("a.mkv", "ffv1", "yuv420p", (160, 96), None),
    ],
)
def test_where_the_header_is_silent_the_codec_tells(
    clip, name, codec, pixel_format, size, expected
):
    options = {"preset": "ultrafast"} if codec == "libx264" else {}
    recipe = Clip(*size, num_frames=2, codec=codec, pixel_format=pixel_format, options=options)
    assert probe(clip(name, recipe)).video.colour.chroma_location == expected


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_damaged_header_is_no_header(clip, codec):
    with av.open(str(clip("a.mp4", coded(5, codec, "plain")))) as container:
        header = bytes(container.streams.video[0].codec_context.extradata)
    name = {"libx264": "h264", "libx265": "hevc"}[codec]
    assert chroma_location(name, "yuv420p", header) == 5
    for length in range(len(header)):
        assert chroma_location(name, "yuv420p", header[:length]) in range(6)
    for at in range(len(header)):
        wrong = header[:at] + bytes([header[at] ^ 0xFF]) + header[at + 1 :]
        assert chroma_location(name, "yuv420p", wrong) in range(6)


def test_sets_of_reference_pictures_may_be_derived_from_the_set_before():
    # H.265, 7.3.7: three sets; one picture, then derived (one of two is kept), then derived again
    first, second = "010" + "1" + "1" + "1", "1" + "0" + "1" + "1" + "00"
    third = "1" + "0" + "1" + "01" + "1"
    text = "00100" + first + second + third
    bits = _Bits(int(text.ljust(40, "0"), 2).to_bytes(5, "big"))
    _skip_hevc_references(bits)
    assert bits._at == len(text)
