"""The containers a film can be written to, and what each of them holds: data only.

"Holds" means that common players play it from there, not merely that FFmpeg would write it: MP4
with PCM or Vorbis, for example, is silent almost everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from vidrestore.errors import OutputError
from vidrestore.settings import VideoCodec

_EVERYWHERE = frozenset({"aac", "ac3", "alac", "dts", "eac3", "flac", "mp2", "mp3", "opus"})
_PCM_LITTLE = frozenset({"pcm_f32le", "pcm_f64le", "pcm_s16le", "pcm_s24le", "pcm_s32le"})
_PCM_BIG = frozenset({"pcm_s16be", "pcm_s24be", "pcm_s32be"})


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of file."""

    suffix: str
    format: str
    """FFmpeg's name of the muxer."""
    codecs: frozenset[VideoCodec]
    audio: frozenset[str]
    """Canonical names of the sound codecs that are copied into it."""
    subtitles: frozenset[str]
    covers: frozenset[str] = frozenset({"mjpeg", "png"})
    has_attachments: bool = False
    is_quicktime: bool = True
    """MP4 or MOV: it has edit lists, which hide what lies before time 0, and its index can be put
    in front of the pictures, so that a browser plays at once."""


_MP4 = Container(
    ".mp4",
    "mp4",
    frozenset({VideoCodec.H264, VideoCodec.H265, VideoCodec.AV1}),
    _EVERYWHERE,
    frozenset({"mov_text"}),
)
_MOV = Container(
    ".mov",
    "mov",
    frozenset({VideoCodec.H264, VideoCodec.H265}),
    (_EVERYWHERE - {"flac", "opus"})
    | _PCM_LITTLE
    | _PCM_BIG
    | {"pcm_s8", "pcm_u8", "pcm_alaw", "pcm_mulaw", "adpcm_ima_qt", "amr_nb", "amr_wb"},
    frozenset({"mov_text"}),
    covers=frozenset(),
)
_MKV = Container(
    ".mkv",
    "matroska",
    frozenset(VideoCodec),
    _EVERYWHERE
    | _PCM_LITTLE
    | {"pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_u8"}
    | {"mp1", "mlp", "truehd", "tta", "vorbis", "wavpack"},
    frozenset({"ass", "dvb_subtitle", "dvd_subtitle", "hdmv_pgs_subtitle", "subrip", "webvtt"}),
    has_attachments=True,
    is_quicktime=False,
)
CONTAINERS: Mapping[str, Container] = MappingProxyType(
    # FFmpeg's own ".m4v" would be a bare stream of MPEG-4 pictures, or iPod's narrow MP4
    {".mp4": _MP4, ".m4v": _MP4, ".mov": _MOV, ".mkv": _MKV}
)


def container_for(path: Path) -> Container:
    """Choose the container by the name of the output.

    Raises:
        OutputError: The extension is none of those that can be written.
    """
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        raise OutputError(
            f"cannot write '{path.name}': name the output with one of {', '.join(CONTAINERS)}"
        ) from None


def suffixes_for_audio(codec: str) -> list[str]:
    """List the extensions whose container takes this sound codec as it is."""
    return [c.suffix for c in (_MP4, _MKV, _MOV) if codec in c.audio]


def suffixes_for_subtitles(codec: str) -> list[str]:
    """List the extensions whose container takes these subtitles as they are."""
    return [c.suffix for c in (_MP4, _MKV, _MOV) if codec in c.subtitles]


def suffixes_for_video(codec: VideoCodec) -> list[str]:
    """List the extensions whose container takes pictures of this codec."""
    return [c.suffix for c in (_MP4, _MKV, _MOV) if codec in c.codecs]
