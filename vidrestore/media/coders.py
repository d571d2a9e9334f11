"""The encoders that films are written with: FFmpeg's names, and what each takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vidrestore.settings import VideoCodec

_X26X_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast",
    "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
_NVENC_PRESETS = tuple(f"p{n}" for n in range(1, 8))
_NVENC = MappingProxyType({"rc": "vbr", "b": "0"})
"""Quality is constant where no rate is named."""


@dataclass(frozen=True, slots=True)
class Coder:
    """What an encoder is called and what it takes."""

    name: str
    title: str
    crf: int | None
    largest_crf: int
    preset: str | None
    presets: tuple[str, ...]
    extra: Mapping[str, str]
    """Further options."""
    needs_even_size: bool
    largest: tuple[int, int]
    """(width, height) beyond which it refuses to work."""
    quality: str = "crf"
    """Its name for constant quality."""


CODERS: Mapping[VideoCodec, Coder] = MappingProxyType(
    {
        VideoCodec.H264: Coder(
            "libx264", "H.264", 18, 51, "medium", _X26X_PRESETS, {}, True,
            (16384, 16384),
        ),
        VideoCodec.H265: Coder(
            "libx265", "H.265", 20, 51, "medium", _X26X_PRESETS,
            # its header names the machine's cores, which may change until a run is gone on with
            {"x265-params": "log-level=none:info=0"},
            True,
            (65535, 65535),
        ),
        VideoCodec.AV1: Coder(
            "libsvtav1", "AV1", 28, 63, "6", tuple(str(n) for n in range(14)), {}, True,
            (16384, 8704),
        ),
        VideoCodec.FFV1: Coder(
            "ffv1", "FFV1", None, 0, None, (), {"level": "3", "slicecrc": "1"}, False,
            (65535, 65535),
        ),
    }
)  # fmt: skip

NVENC: Mapping[VideoCodec, Coder] = MappingProxyType(
    {
        VideoCodec.H264: Coder(
            "h264_nvenc", "H.264 (NVENC)", 19, 51, "p5", _NVENC_PRESETS, _NVENC, True,
            (4096, 4096), "cq",
        ),
        VideoCodec.H265: Coder(
            "hevc_nvenc", "H.265 (NVENC)", 22, 51, "p5", _NVENC_PRESETS, _NVENC, True,
            (8192, 8192), "cq",
        ),
        VideoCodec.AV1: Coder(
            "av1_nvenc", "AV1 (NVENC)", 30, 63, "p5", _NVENC_PRESETS, _NVENC, True,
            (8192, 8192), "cq",
        ),
    }
)  # fmt: skip
"""The same by an NVIDIA card; of 8 bits only, for planes of more it takes in another order."""
