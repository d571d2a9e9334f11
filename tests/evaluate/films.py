"""Little films of a face that glides over grey."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np

from tests.evaluate.faces import portrait
from vidrestore.core.geometry import transform_points
from vidrestore.models.registry import Template, landmark_template

COUNT = 8


def matrix(k):
    return np.array([[0.5, 0, 60 + 2.3 * k], [0, 0.5, 30 + 0.8 * k]])


def landmarks(k):
    return transform_points(matrix(k), landmark_template(Template.FFHQ, 256))


def pictures(count=COUNT):
    """A face that glides over grey."""
    return [
        cv2.warpAffine(
            cv2.GaussianBlur(portrait(), (0, 0), 1),
            matrix(k),
            (256, 192),
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(128, 128, 128),
        ).astype(np.float32)
        for k in range(count)
    ]


def write(path, frames, rate=25):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=Fraction(rate))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        stream.codec_context.time_base = 1 / Fraction(rate)
        for k, image in enumerate(frames):
            levels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(levels, "rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = k, 1 / Fraction(rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
