"""How large the finished film will be, before a picture of it exists.

How many bits a picture costs at constant quality depends on its content most of all: a clean title
takes a hundredth of what grain of a bad tape takes. So there are two numbers. What narrows them is
the source: a decoded picture holds no more than was coded, and coding it again at these qualities
took at most twice the bits in every clip measured (1080p phone film to 8-bit captures of tape).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from vidrestore.media.encoders import default_crf
from vidrestore.media.pixels import planar_name, sampling_and_bits
from vidrestore.media.probe import AudioTrack, SourceInfo
from vidrestore.media.sound import coded_bit_rate, coded_channels
from vidrestore.settings import EncodeSettings, TrackChoice, VideoCodec


@dataclass(frozen=True, slots=True)
class _Cost:
    """Bits that a luma pixel costs with the default quality and preset, 8 bits and 4:2:0."""

    least: float
    """A clean film that hardly moves."""
    most: float
    """Gaussian grain of standard deviation 10 on everything."""
    crf_steps_to_double: float
    """By how much crf falls when the size doubles."""


_COSTS: Mapping[VideoCodec, _Cost] = MappingProxyType(
    {
        VideoCodec.H264: _Cost(0.02, 2.5, 6),
        VideoCodec.H265: _Cost(0.008, 2.0, 6),
        VideoCodec.AV1: _Cost(0.006, 1.8, 9),
        VideoCodec.FFV1: _Cost(0.5, 8.5, 6),
    }
)
_RAW_BITS = 12
"""Bits a luma pixel costs uncoded, with 8 bits and 4:2:0: no coder takes more."""
_GROWTH = 2.0
"""Bits of the output for each of the source, at most, with the default quality and preset."""
_SHRINKAGE = 0.05
"""The same, at least: what a nearly lossless source of clean pictures comes down to."""
# libx264's fastest presets leave out what makes it good; all others lie within a quarter.
_PRESET_COSTS: Mapping[tuple[VideoCodec, str], float] = MappingProxyType(
    {(VideoCodec.H264, "ultrafast"): 4.0, (VideoCodec.H264, "superfast"): 2.0}
)
_CHROMA_COSTS: Mapping[str, float] = MappingProxyType({"420": 1.0, "422": 4 / 3, "444": 2.0})
_SOUND_BIT_RATES = (24_000, 640_000)
"""Of one copied track with losses; DTS, with more, is rare in home videos."""
_LOSSLESS = frozenset({"alac", "flac", "mlp", "truehd", "tta", "wavpack"})
_LOSSLESS_SHARES = (0.2, 1.0)
_SAMPLE_BITS = 24
_INDEX_BYTES = 32
"""What the container adds to each picture, at most."""
_TABLES_BYTES = 32_000
"""What it adds once, with tags and subtitles."""


def estimate_output_bytes(
    info: SourceInfo,
    settings: EncodeSettings,
    span_seconds: Fraction | None,
    enlargement: float = 1.0,
) -> tuple[int, int]:
    """Estimate the size of the finished film.

    Args:
        info: The source.
        settings: How it is coded.
        span_seconds: Length of the range that is restored; None: the whole film.
        enlargement: Pixels of the output for each of the source.

    Returns:
        Least and most bytes to be expected. The most is for film with heavy grain; a source of
        which neither length nor size says anything yields (0, 0).
    """
    whole = float(info.duration_seconds or 0)
    seconds = whole if span_seconds is None else float(span_seconds)
    if whole and span_seconds is not None:
        seconds = min(seconds, whole)
    if not seconds:
        return 0, 0
    file_bytes = info.path.stat().st_size if info.path.exists() else 0
    source_rate = 8 * file_bytes / whole if whole else 0.0
    least, most = _picture_bit_rates(info, settings, source_rate, enlargement)
    if settings.audio is not TrackChoice.NONE:
        for track in info.audio:
            low, high = _sound_bit_rates(track)
            least, most = least + low, most + high
    if any(track.kind == "video" for track in info.others):
        most += source_rate
    index = _TABLES_BYTES + _INDEX_BYTES * seconds * float(info.video.nominal_rate)
    return round(least * seconds / 8), round(most * seconds / 8 + index)


def _picture_bit_rates(
    info: SourceInfo, settings: EncodeSettings, source_rate: float, enlargement: float
) -> tuple[float, float]:
    video, codec = info.video, settings.codec
    cost = _COSTS[codec]
    sampling, bits = sampling_and_bits(planar_name(video.pixel_format))
    samples = video.width * video.height * float(video.nominal_rate) * _CHROMA_COSTS[sampling]
    samples *= enlargement
    depth = bits / 8
    if codec is VideoCodec.FFV1:
        return cost.least * samples * depth, cost.most * samples * depth**2
    normal = default_crf(codec)
    crf = normal if settings.crf is None else settings.crf
    quality = 2 ** ((normal - crf) / cost.crf_steps_to_double)
    quality *= _PRESET_COSTS.get((codec, settings.preset or ""), 1.0)
    most = min(cost.most * quality, _RAW_BITS) * samples * depth
    least = cost.least * min(quality, 1.0) * samples
    if source_rate:
        most = min(most, _GROWTH * quality * source_rate * enlargement)
        least = max(least, _SHRINKAGE * min(quality, 1.0) * min(source_rate, most))
    return min(least, most), most


def _sound_bit_rates(track: AudioTrack) -> tuple[float, float]:
    """Return what a track takes at least and at most, whichever container it goes to."""
    raw = track.sample_rate * track.channels * _SAMPLE_BITS
    coded = coded_bit_rate(coded_channels(track.channels)) if track.channels else 0
    if track.codec.startswith("pcm_"):
        bits = next((n for n in (8, 16, 24, 32, 64) if str(n) in track.codec), 8)
        exact = track.sample_rate * track.channels * bits
        return min(exact, coded), exact
    if track.codec in _LOSSLESS:
        return min(_LOSSLESS_SHARES[0] * raw, coded), max(_LOSSLESS_SHARES[1] * raw, coded)
    return _SOUND_BIT_RATES[0], max(_SOUND_BIT_RATES[1], coded)
