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

TEXT_SUBTITLES = frozenset({"ass", "mov_text", "ssa", "subrip", "text", "webvtt"})
"""Subtitles that are words: each of them can be made of any other."""

_EVERYWHERE = frozenset({"aac", "ac3", "alac", "dts", "eac3", "flac", "mp2", "mp3", "opus"})
_PCM_LITTLE = frozenset({"pcm_f32le", "pcm_f64le", "pcm_s16le", "pcm_s24le", "pcm_s32le"})
_PCM_BIG = frozenset({"pcm_s16be", "pcm_s24be", "pcm_s32be"})
_CAMERA_FILMS = frozenset({"h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4"})
# ISO 639-2 has two codes for some languages; MOV files have a number for one of them at most.
_MOV_LANGUAGES = MappingProxyType(
    {
        **{"bod": "tib", "cym": "wel", "cze": "ces", "deu": "ger", "ell": "gre", "eus": "baq"},
        **{"fas": "per", "fre": "fra", "hye": "arm", "isl": "ice", "kat": "geo", "mkd": "mac"},
        **{"msa": "may", "mya": "bur", "nld": "dut", "rum": "ron", "slo": "slk", "sqi": "alb"},
        **{"zho": "chi", "nob": "nor", "nno": "nor", "swe": "sve"},
    }
)


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of file."""

    suffix: str
    format: str
    """FFmpeg's name of the muxer."""
    codecs: frozenset[VideoCodec]
    audio: frozenset[str]
    """Canonical names of the sound codecs that are copied into it."""
    video: frozenset[str]
    """Codecs of further films, which are copied into it."""
    subtitles: frozenset[str]
    words: str
    """What subtitles that are words are converted to."""
    covers: frozenset[str] = frozenset({"mjpeg", "png"})
    data: frozenset[str] = frozenset({"bin_data"})
    """Other timed tracks; "bin_data" is what cameras write beside the film, such as places."""
    has_attachments: bool = False
    has_marks: bool = True
    """It keeps what a track is marked as: a commentary, forced subtitles ..."""
    is_quicktime: bool = True
    """MP4 or MOV: it has edit lists, which hide what lies before time 0, and its index can be put
    in front of the pictures, so that a browser plays at once."""

    def holds(self, kind: str, codec: str) -> bool:
        """Tell whether a track can be copied into it.

        Args:
            kind: ``audio``, or what `OtherTrack.kind` may be.
            codec: FFmpeg's canonical name.
        """
        if kind == "attachment":
            return self.has_attachments
        held = {
            "audio": self.audio,
            "video": self.video,
            "subtitle": self.subtitles,
            "cover": self.covers,
            "data": self.data,
        }
        return codec in held.get(kind, frozenset())


_MP4 = Container(
    ".mp4",
    "mp4",
    frozenset({VideoCodec.H264, VideoCodec.H265, VideoCodec.AV1}),
    _EVERYWHERE,
    _CAMERA_FILMS | {"av1", "vp9"},
    frozenset({"mov_text"}),
    "mov_text",
)
_MOV = Container(
    ".mov",
    "mov",
    frozenset({VideoCodec.H264, VideoCodec.H265}),
    (_EVERYWHERE - {"flac", "opus"})
    | _PCM_LITTLE
    | _PCM_BIG
    | {"pcm_s8", "pcm_u8", "pcm_alaw", "pcm_mulaw", "adpcm_ima_qt", "amr_nb", "amr_wb"},
    _CAMERA_FILMS | {"cinepak", "dnxhd", "dvvideo", "h263", "prores", "svq1"},
    frozenset({"mov_text"}),
    "mov_text",
    covers=frozenset(),
    has_marks=False,
)
_MKV = Container(
    ".mkv",
    "matroska",
    frozenset(VideoCodec),
    _EVERYWHERE
    | _PCM_LITTLE
    | {"pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_u8"}
    | {"mp1", "mlp", "truehd", "tta", "vorbis", "wavpack"},
    _CAMERA_FILMS | {"av1", "ffv1", "msmpeg4v3", "prores", "theora", "vp8", "vp9"},
    frozenset({"ass", "dvb_subtitle", "dvd_subtitle", "hdmv_pgs_subtitle", "subrip", "webvtt"}),
    "subrip",
    data=frozenset(),
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


def suffixes_that_hold(kind: str, codec: str, film: VideoCodec) -> list[str]:
    """List the extensions whose container takes a track as it is, beside a film so coded."""
    return [c.suffix for c in (_MP4, _MKV, _MOV) if film in c.codecs and c.holds(kind, codec)]


def suffixes_for_video(codec: VideoCodec) -> list[str]:
    """List the extensions whose container takes pictures of this codec."""
    return [c.suffix for c in (_MP4, _MKV, _MOV) if codec in c.codecs]


def language_for(muxer: str, code: str) -> str:
    """Return the code by which a muxer knows a language (ISO 639-2).

    >>> language_for("mov", "deu")
    'ger'
    """
    if muxer == "mov":
        return _MOV_LANGUAGES.get(code, code)
    return "swe" if code == "sve" else code  # FFmpeg's slip of the pen in its table for MOV
