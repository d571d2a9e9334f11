"""What becomes of each stream of the source, as the report tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vidrestore.media.encoders import Encoder
from vidrestore.media.plan import TrackPlan
from vidrestore.media.probe import VideoTrack
from vidrestore.media.segments import Shape


def describe_pictures(
    video: VideoTrack, encoder: Encoder, shape: Shape | None, num_segments: int
) -> dict[str, Any]:
    """Describe the film's pictures in the output; without a shape as far as is known."""
    width, height, coded = video.width, video.height, None
    if shape is not None:
        coded = encoder.format_for(shape.layout.name)
        width, height = encoder.coded_size(shape.width, shape.height, coded)
    return {
        "index": 0,
        "source_index": video.index,
        "kind": "video",
        "codec": str(encoder.codec),
        "action": "encoded",
        "reason": "",
        "language": video.language,
        "encoder": encoder.name,
        "options": dict(encoder.options),
        "width": width,
        "height": height,
        "pixel_format": coded,
        "num_segments": num_segments,
    }


def describe_tracks(
    tracks: Sequence[TrackPlan], numbers: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Describe the other tracks.

    Args:
        tracks: What is done with each.
        numbers: For the source's track numbers those in the output.
    """
    return [
        {
            "index": numbers.get(track.source_index),
            "source_index": track.source_index,
            "kind": track.kind,
            "codec": track.codec,
            "action": str(track.action),
            "reason": track.reason,
            "language": track.language,
        }
        for track in tracks
    ]
