"""Puts the restored faces back into their frames, as strongly as track and settings say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vidrestore.contracts import BlendedFrame, Frame, Points, RestoredFace, RestoredFrame
from vidrestore.core.compositing import FaceMask, blend_faces_into, feathered_mask
from vidrestore.core.enlarging import large_from_small
from vidrestore.core.geometry import compose, invert_affine
from vidrestore.core.warping import crop_from_planes
from vidrestore.settings import BlendSettings


def blend_faces(
    frames: Iterator[RestoredFrame], settings: BlendSettings, template: Points, size: int
) -> Iterator[BlendedFrame]:
    """Paint each frame's faces into copies of its planes.

    A frame into which nothing is painted passes through as the same object. Where the background is
    another picture, the faces are put into that.

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
        canvas, faces = original, restored.faces
        if restored.background is not None:
            canvas = restored.background
            faces = tuple(_on_canvas(face, original, canvas, size) for face in faces)
        planes, regions = blend_faces_into(canvas, faces, strengths, mask)
        yield BlendedFrame(
            frame=replace(canvas, planes=planes) if any(regions) else canvas,
            original=original,
            faces=restored.faces,
            regions=regions,
            is_cut=restored.is_cut,
        )


def _on_canvas(face: RestoredFace, original: Frame, canvas: Frame, size: int) -> RestoredFace:
    """Place a face on another picture of the same scene.

    The crop before the network is cut anew, out of that picture: detail is added to it, and colours
    are fitted to it.
    """
    sizes = ((g.width, g.height) for g in (original.geometry, canvas.geometry))
    frame_from_canvas = invert_affine(large_from_small(*sizes))
    crop_from_canvas = compose(face.aligned.crop_from_frame, frame_from_canvas)
    crop = crop_from_planes(canvas, crop_from_canvas, size)
    return replace(face, aligned=replace(face.aligned, crop=crop, crop_from_frame=crop_from_canvas))
