"""RestoredFrame → RestoredFrame: the picture around the faces, denoised, enhanced or enlarged.

It comes before the blending, so that faces are put into the finished background. They are found in
the film as it is, and restored from that: their networks know noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from vidrestore.contracts import Frame, FrameGeometry, PictureModel, RestoredFrame, RGBImage
from vidrestore.core.enlarging import planes_from_rgb, resized_planes, rgb_from_planes
from vidrestore.settings import BackgroundSettings


def enhance_backgrounds(
    frames: Iterator[RestoredFrame], settings: BackgroundSettings, model: PictureModel | None
) -> Iterator[RestoredFrame]:
    """Give each frame the picture that its faces are put into.

    Args:
        frames: With their final faces; the denoised picture is taken where there is one.
        settings: How large the result is.
        model: Enhances the whole picture; None: it is only enlarged.

    Yields:
        One frame for each that came, in order; the same object where there is nothing to do.
    """
    for item in frames:
        frame = item.frame
        if model is None and settings.upscale == 1:
            if frame.cleaned is None:
                yield item
                continue
            background = replace(frame, planes=frame.cleaned)
        else:
            background = _enhanced(frame, settings, model)
        yield replace(item, background=background)


def _enhanced(frame: Frame, settings: BackgroundSettings, model: PictureModel | None) -> Frame:
    geometry = enlarged(frame.geometry, settings)
    planes = frame.planes if frame.cleaned is None else frame.cleaned
    if model is None:
        planes = resized_planes(planes, geometry, frame.layout)
    else:
        picture = model.enhance(rgb_from_planes(planes, frame.layout))
        planes = planes_from_rgb(picture, geometry, frame.layout)

    def render(width: int, height: int) -> RGBImage:
        picture = rgb_from_planes(planes, frame.layout)
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        return np.rint(small * 255).astype(np.uint8)

    return replace(frame, planes=planes, geometry=geometry, cleaned=None, render_rgb=render)


def enlarged(geometry: FrameGeometry, settings: BackgroundSettings) -> FrameGeometry:
    """Return the geometry of a finished frame; halves are rounded up."""
    width, height = settings.size_of(geometry.width, geometry.height)
    return replace(geometry, width=width, height=height)
