"""Puts the restored faces back into their frames, as strongly as track and settings say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vidrestore.contracts import BlendedFrame, Points, RestoredFrame
from vidrestore.core.compositing import FaceMask, blend_faces_into, feathered_mask
from vidrestore.settings import BlendSettings


def blend_faces(
    frames: Iterator[RestoredFrame], settings: BlendSettings, template: Points, size: int
) -> Iterator[BlendedFrame]:
    """Paint each frame's faces into copies of its planes.

    A frame into which nothing is painted passes through as the same object.

    Args:
        frames: Frames with restored crops.
        settings: How much is shown; which faces are chosen was settled by the tracks.
        template: Where the landmarks lie in a crop, shape (5, 2), pixels.
        size: Side S of the crops.

    Yields:
        One frame for each that came, in order.
    """
    mask = FaceMask.of(feathered_mask(template, size))
    for restored in frames:
        original = restored.frame
        strengths = [face.strength * settings.strength for face in restored.faces]
        planes, regions = blend_faces_into(original, restored.faces, strengths, mask)
        yield BlendedFrame(
            frame=replace(original, planes=planes) if any(regions) else original,
            original=original,
            faces=restored.faces,
            regions=regions,
            is_cut=restored.is_cut,
        )
