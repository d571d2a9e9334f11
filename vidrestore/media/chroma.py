"""Where the colour samples of 4:2:0 pictures lie: read out of the coder's header.

PyAV says nothing about it, and a player that guesses shifts all colours by half a pixel. The
places are numbered as in ITU-T H.273, table 8.7: 0 left, 1 centre, 2 top left, 3 top, 4 bottom
left, 5 bottom.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

LEFT, CENTRE, TOP_LEFT = 0, 1, 2
LARGEST_LOCATION = 5

# What a codec means when it says nothing. FFmpeg decodes 4:2:0 of DV as PAL's.
_UNSTATED: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("h264", "hevc", "mpeg2video", "mpeg4"), LEFT),
        **dict.fromkeys(("h263", "mjpeg", "mpeg1video"), CENTRE),
        "dvvideo": TOP_LEFT,
    }
)
_H264_SPS, _HEVC_SPS = 7, 33
_H264_HIGH_PROFILES = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 138, 139, 244})
_OWN_ASPECT = 255
_START_CODE = re.compile(rb"\x00\x00\x01")
_MOST_REFERENCE_SETS = 64
_MOST_ORDER_OFFSETS = 255


def chroma_location(codec: str, pixel_format: str, header: bytes | None) -> int | None:
    """Return where the colour samples lie, 0 to 5; None if unknown, or not 4:2:0.

    Args:
        codec: FFmpeg's name, such as ``h264``.
        pixel_format: The decoder's format.
        header: The codec's "extradata", as a container has it or as in a bare stream.
    """
    if "420p" not in pixel_format and pixel_format not in ("nv12", "nv21", "p010le"):
        return None
    read = {"h264": _h264_location, "hevc": _hevc_location}.get(codec)
    stated = None
    if read is not None and header:
        try:
            stated = read(header)
        except (ValueError, IndexError):  # cut off, or of a kind that will come one day
            stated = None
    return _UNSTATED.get(codec) if stated is None else stated


class _Bits:
    """Reads numbers bit by bit, as the H.26x standards write them (H.264, 7.2 and 9.1)."""

    def __init__(self, payload: bytes) -> None:
        plain = payload.replace(b"\x00\x00\x03", b"\x00\x00")  # emulation prevention
        self._bits = "".join(f"{byte:08b}" for byte in plain)
        self._at = 0

    def skip(self, count: int) -> None:
        """Pass over bits."""
        self._at += count

    def number(self, count: int) -> int:
        """Read an unsigned number of so many bits."""
        digits = self._bits[self._at : self._at + count]
        if len(digits) < count:
            raise ValueError("the header ends too early")
        self._at += count
        return int(digits, 2)

    def flag(self) -> bool:
        """Read one bit."""
        return self.number(1) == 1

    def golomb(self) -> int:
        """Read an unsigned Exp-Golomb number."""
        one = self._bits.find("1", self._at)
        if one < 0:
            raise ValueError("the header ends too early")
        zeros, self._at = one - self._at, one
        return self.number(zeros + 1) - 1

    def signed_golomb(self) -> int:
        """Read a signed Exp-Golomb number."""
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def golombs(self, count: int) -> None:
        """Pass over Exp-Golomb numbers."""
        for _ in range(count):
            self.golomb()


def _h264_location(header: bytes) -> int | None:
    if header[0] == 1:  # ISO/IEC 14496-15, 5.3.3.1: length in two bytes, then the first set
        first = header[8 : 8 + int.from_bytes(header[6:8], "big")]
    else:
        first = _bare_unit(header, lambda unit: unit[0] & 31 == _H264_SPS)
    bits = _Bits(first[1:])
    profile = bits.number(8)
    bits.skip(16)
    bits.golomb()
    if profile in _H264_HIGH_PROFILES:
        _skip_h264_high(bits)
    bits.golomb()
    _skip_h264_order(bits)
    bits.golomb()
    bits.skip(1)
    bits.golombs(2)
    if not bits.flag():  # frame_mbs_only_flag
        bits.skip(1)
    bits.skip(1)
    if bits.flag():  # cropping
        bits.golombs(4)
    return _vui_location(bits)


def _skip_h264_high(bits: _Bits) -> None:
    is_444 = bits.golomb() == 3
    bits.skip(int(is_444))
    bits.golombs(2)
    bits.skip(1)
    if not bits.flag():  # scaling matrices (7.3.2.1.1.1)
        return
    for place in range(12 if is_444 else 8):
        if bits.flag():
            last = scale = 8
            for _ in range(16 if place < 6 else 64):
                scale = (last + bits.signed_golomb()) % 256 if scale else 0
                last = scale or last


def _skip_h264_order(bits: _Bits) -> None:
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.skip(1)
        bits.golombs(2)
        bits.golombs(min(bits.golomb(), _MOST_ORDER_OFFSETS))


def _hevc_location(header: bytes) -> int | None:
    if header[0] == 1:
        first = next(_hvcc_units(header, _HEVC_SPS), b"")
    else:
        first = _bare_unit(header, lambda unit: unit[0] >> 1 & 63 == _HEVC_SPS)
    bits = _Bits(first[2:])
    bits.skip(4)
    deepest = bits.number(3)
    bits.skip(1 + 96)
    layers = [(bits.flag(), bits.flag()) for _ in range(deepest)]
    bits.skip(2 * (8 - deepest) if deepest else 0)
    bits.skip(sum(88 * has_profile + 8 * has_level for has_profile, has_level in layers))
    bits.golomb()
    if bits.golomb() == 3:
        bits.skip(1)
    bits.golombs(2)
    if bits.flag():  # cropping
        bits.golombs(4)
    bits.golombs(2)
    order_bits = bits.golomb() + 4
    bits.golombs(3 * (deepest + 1 if bits.flag() else 1))
    bits.golombs(6)
    if bits.flag() and bits.flag():
        _skip_hevc_scaling(bits)
    bits.skip(2)
    if bits.flag():  # PCM blocks
        bits.skip(8)
        bits.golombs(2)
        bits.skip(1)
    _skip_hevc_references(bits)
    if bits.flag():  # long-term references
        bits.skip(bits.golomb() * (order_bits + 1))
    bits.skip(2)
    return _vui_location(bits)


def _skip_hevc_scaling(bits: _Bits) -> None:
    """Pass over scaling_list_data (H.265, 7.3.4)."""
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if bits.flag():
                bits.golombs(min(64, 1 << (4 + 2 * size)) + (size > 1))
            else:
                bits.golomb()


def _skip_hevc_references(bits: _Bits) -> None:
    """Pass over all st_ref_pic_set (H.265, 7.3.7)."""
    count, size = bits.golomb(), 0
    if count > _MOST_REFERENCE_SETS:
        raise ValueError(f"{count} sets of reference pictures")
    for place in range(count):
        if place and bits.flag():  # derived from the set before
            bits.skip(1)
            bits.golomb()
            # either bit keeps a picture: "used", or else "use_delta"
            size = sum([bits.flag() or bits.flag() for _ in range(size + 1)])
        else:
            size = bits.golomb() + bits.golomb()
            for _ in range(min(size, 16)):
                bits.golomb()
                bits.skip(1)


def _vui_location(bits: _Bits) -> int | None:
    """Read the beginning of the usability information (H.264 and H.265, annex E)."""
    if not bits.flag():
        return None
    if bits.flag() and bits.number(8) == _OWN_ASPECT:
        bits.skip(32)
    if bits.flag():  # overscan
        bits.skip(1)
    if bits.flag():  # colours
        bits.skip(4)
        if bits.flag():
            bits.skip(24)
    if not bits.flag():
        return None
    location = bits.golomb()
    return location if location <= LARGEST_LOCATION else None


def _bare_unit(header: bytes, is_wanted: Callable[[bytes], bool]) -> bytes:
    """Return the first wanted unit between start codes (H.264 and H.265, annex B)."""
    units = _START_CODE.split(header)[1:]
    return next((unit for unit in units if unit and is_wanted(unit)), b"")


def _hvcc_units(header: bytes, wanted: int) -> Iterator[bytes]:
    """Walk through the arrays of ISO/IEC 14496-15, 8.3.3.1."""
    at = 23
    for _ in range(header[22] if len(header) > 22 else 0):
        kind, count = header[at] & 63, int.from_bytes(header[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            length = int.from_bytes(header[at : at + 2], "big")
            if kind == wanted:
                yield header[at + 2 : at + 2 + length]
            at += 2 + length
