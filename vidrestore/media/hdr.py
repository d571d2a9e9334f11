"""What a film with a wide range of brightness says about the screen it was made on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame

from vidrestore.settings import VideoCodec

PQ, HLG = 16, 18
"""H.273 codes of the transfer characteristics of SMPTE ST 2084 and ARIB STD-B67."""
Point = tuple[Fraction, Fraction]
"""Chromaticity (x, y) in CIE 1931."""

# What may change from picture to picture; no encoder here writes it.
_DYNAMIC: Mapping[Type, str] = MappingProxyType(
    {
        Type.DYNAMIC_HDR_PLUS: "HDR10+",
        Type.DYNAMIC_HDR_VIVID: "HDR Vivid",
        Type.DOVI_METADATA: "Dolby Vision",
        Type.DOVI_RPU_BUFFER: "Dolby Vision",
    }
)
_STEPS_PER_UNIT = 50_000
_STEPS_PER_NIT = 10_000


@dataclass(frozen=True, slots=True)
class MasteringDisplay:
    """The screen on which the film was judged (SMPTE ST 2086)."""

    red: Point
    green: Point
    blue: Point
    white: Point
    darkest: Fraction
    """In cd/m²."""
    brightest: Fraction


@dataclass(frozen=True, slots=True)
class HdrMetadata:
    """What the first picture says beside the tags of its colours."""

    mastering: MasteringDisplay | None = None
    content_light: tuple[int, int] | None = None
    """Brightest pixel of the film and brightest average of a picture, in cd/m² (CTA-861.3)."""
    dynamic: tuple[str, ...] = ()
    """Names of what changes from picture to picture."""


def hdr_metadata(picture: VideoFrame) -> HdrMetadata | None:
    """Read what a picture says; None if it says nothing."""
    mastering, light, dynamic = None, None, set()
    for side_data in cast("Iterable[SideData]", picture.side_data):
        if side_data.type is Type.MASTERING_DISPLAY_METADATA:
            mastering = _mastering_display(memoryview(side_data))
        elif side_data.type is Type.CONTENT_LIGHT_LEVEL:
            brightest, average = np.frombuffer(memoryview(side_data), "<u4", 2).tolist()
            light = (brightest, average)
        elif side_data.type in _DYNAMIC:
            dynamic.add(_DYNAMIC[side_data.type])
    if mastering is None and light is None and not dynamic:
        return None
    return HdrMetadata(mastering, light, tuple(sorted(dynamic)))


def _mastering_display(data: memoryview) -> MasteringDisplay | None:
    """Take FFmpeg's AVMasteringDisplayMetadata apart: ten fractions and two flags, as int32."""
    numbers = np.frombuffer(data, "<i4", 22).tolist()
    has_colours, has_brightness = numbers[20:22]
    if not (has_colours and has_brightness) or 0 in numbers[1:20:2]:
        return None
    values = [Fraction(n, d) for n, d in zip(numbers[:20:2], numbers[1:20:2], strict=True)]
    red, green, blue, white = ((values[k], values[k + 1]) for k in range(0, 8, 2))
    return MasteringDisplay(red, green, blue, white, darkest=values[8], brightest=values[9])


def hdr_options(hdr: HdrMetadata, codec: VideoCodec) -> dict[str, str]:
    """Return the encoder's own parameters that write the metadata; empty if it has none."""
    if codec is VideoCodec.FFV1:
        return {}
    names = {
        VideoCodec.H264: ("mastering-display", "cll"),
        VideoCodec.H265: ("master-display", "max-cll"),
    }
    screen, light = names.get(codec, ("mastering-display", "content-light"))
    options = {}
    if hdr.mastering is not None:
        options[screen] = _screen_text(hdr.mastering, is_decimal=codec is VideoCodec.AV1)
    if hdr.content_light is not None:
        options[light] = f"{hdr.content_light[0]},{hdr.content_light[1]}"
    return options


def _screen_text(screen: MasteringDisplay, *, is_decimal: bool) -> str:
    """Write ``G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)``, in steps of ST 2086 or in plain units."""

    def text(value: Fraction, steps: int) -> str:
        return f"{float(value):.6f}" if is_decimal else str(round(value * steps))

    corners = {"G": screen.green, "B": screen.blue, "R": screen.red, "WP": screen.white}
    parts = [
        f"{name}({text(x, _STEPS_PER_UNIT)},{text(y, _STEPS_PER_UNIT)})"
        for name, (x, y) in corners.items()
    ]
    bright, dark = (text(v, _STEPS_PER_NIT) for v in (screen.brightest, screen.darkest))
    return "".join(parts) + f"L({bright},{dark})"
