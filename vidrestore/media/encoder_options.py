"""What an encoder must be told of a film's pictures, beyond what PyAV has attributes for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vidrestore.media.chroma import LARGEST_LOCATION, LEFT, TOP_LEFT
from vidrestore.media.hdr import hdr_options
from vidrestore.media.pixels import sampling_and_bits
from vidrestore.media.probe import VideoTrack
from vidrestore.settings import VideoCodec

_PARAMETERS: Mapping[VideoCodec, str] = MappingProxyType(
    {
        VideoCodec.H264: "x264-params",
        VideoCodec.H265: "x265-params",
        VideoCodec.AV1: "svtav1-params",
    }
)
"""The option through which an encoder is told what FFmpeg has no name for."""
_LOCATIONS: Mapping[tuple[VideoCodec, int], tuple[str, str]] = MappingProxyType(
    {
        **{(VideoCodec.H264, n): ("chromaloc", str(n)) for n in range(LARGEST_LOCATION + 1)},
        **{(VideoCodec.H265, n): ("chromaloc", str(n)) for n in range(LARGEST_LOCATION + 1)},
        (VideoCodec.AV1, TOP_LEFT): ("chroma-sample-position", "topleft"),
    }
)


def _location_to_tell(video: VideoTrack, coded: str) -> int:
    """Return where the colour samples lie; what is unknown is not told, just as "left"."""
    stays = "420" in video.pixel_format and sampling_and_bits(coded)[0] == "420"
    return (video.colour.chroma_location or LEFT) if stays else LEFT


def tells_chroma_location(video: VideoTrack, codec: VideoCodec | None, coded: str) -> bool:
    """Tell whether the coded pictures can say where their colour samples lie."""
    location = _location_to_tell(video, coded)
    return location == LEFT or (codec is not None and (codec, location) in _LOCATIONS)


def options_for(
    video: VideoTrack, codec: VideoCodec | None, options: Mapping[str, str], coded: str
) -> dict[str, str]:
    """Return the encoder's options with what it must be told of a film's pictures.

    PyAV's own attributes have no place for where the colour samples lie, nor for HDR metadata; the
    encoders' private parameters have.

    Args:
        video: The source.
        codec: Whose private parameters the encoder takes; None if it has none.
        options: What the encoder is told of every film.
        coded: The planar format in which it codes.
    """
    if codec is None:
        return dict(options)
    told: dict[str, str] = {}
    location = _location_to_tell(video, coded)
    if location != LEFT and tells_chroma_location(video, codec, coded):
        name, value = _LOCATIONS[codec, location]
        told[name] = value
    if video.hdr is not None:
        told |= hdr_options(video.hdr, codec)
    complete = dict(options)
    parameters = _PARAMETERS.get(codec)
    if told and parameters is not None:
        texts = [options[parameters]] if parameters in options else []
        complete[parameters] = ":".join([*texts, *(f"{k}={v}" for k, v in told.items())])
    return complete
