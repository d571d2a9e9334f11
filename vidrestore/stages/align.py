"""Cuts each face out of its frame, in the pose that the network expects.

No face is looked for or followed here: tracks come in, crops go out.
"""

from __future__ import annotations

from collections.abc import Iterator

from vidrestore.contracts import (
    AlignedFace,
    AlignedFrame,
    FaceTrack,
    Frame,
    Points,
    TrackedFrame,
)
from vidrestore.core.geometry import compose, display_from_frame, similarity_transform
from vidrestore.core.warping import crop_from_planes


def align_faces(
    frames: Iterator[TrackedFrame], template: Points, size: int
) -> Iterator[AlignedFrame]:
    """Give every face that is to be shown its crop.

    Faces of strength 0, and landmarks that determine no pose, get none.

    Args:
        frames: Frames with tracks, whose landmarks are in display pixels.
        template: Where the landmarks are to lie in the crop, shape (5, 2), pixels.
        size: Side S of the crops.

    Yields:
        One frame for each that came, in order.
    """
    for tracked in frames:
        aligned = (_align(tracked.frame, track, template, size) for track in tracked.tracks)
        faces = tuple(face for face in aligned if face is not None)
        yield AlignedFrame(frame=tracked.frame, faces=faces, is_cut=tracked.is_cut)


def _align(frame: Frame, track: FaceTrack, template: Points, size: int) -> AlignedFace | None:
    if track.strength <= 0:
        return None
    crop_from_display = similarity_transform(track.landmarks, template)
    if crop_from_display is None:
        return None
    crop_from_frame = compose(crop_from_display, display_from_frame(frame.geometry))
    crop = crop_from_planes(frame, crop_from_frame, size)
    return AlignedFace(track=track, crop=crop, crop_from_frame=crop_from_frame)
