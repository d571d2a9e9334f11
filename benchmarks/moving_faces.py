"""Clips of photographed faces whose motion is known, for measuring how steady a restored film is.

A portrait moves over a textured background along a smooth similarity path; so the landmarks of
every frame are known once they are known in the portrait. There they are the median of what the
program's own detector says of the undamaged frames, so that its habits do not count as errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import FaceDetector, Matrix, Points, RGBImage
from vidrestore.core.geometry import invert_affine, similarity_transform, transform_points
from vidrestore.core.warping import resample
from vidrestore.models.registry import Template, landmark_template

WIDTH, HEIGHT, RATE = 640, 480, 25
_SIDE = 256
_SEARCHED_EVERY = 3
_BORDER = 40
"""Pixels of the portrait over which it passes into the background."""

Series = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Path2D:
    """A similarity for each frame: centre in pixels, scale of the portrait, angle in radians."""

    x: Series
    y: Series
    scale: Series
    angle: Series

    def frame_from_portrait(self, k: int) -> Matrix:
        """Return where the portrait is in frame ``k``."""
        a, b = self.scale[k] * np.cos(self.angle[k]), self.scale[k] * np.sin(self.angle[k])
        c = (_SIDE - 1) / 2
        return np.array(
            [[a, -b, self.x[k] - a * c + b * c], [b, a, self.y[k] - b * c - a * c]], np.float64
        )


def _path(t: Series, **moves: Series) -> Path2D:
    rest = {"x": 322.3, "y": 241.7, "scale": 0.7, "angle": 0.0}
    return Path2D(**{name: moves.get(name, np.full(len(t), at)) for name, at in rest.items()})


def _sway(t: Series) -> Path2D:
    return _path(
        t,
        x=320 + 24 * np.sin(2 * np.pi * t / 2.1),
        y=240 + 7 * np.sin(2 * np.pi * t / 1.3),
        scale=0.7 + 0.03 * np.sin(2 * np.pi * t / 3),
        angle=np.radians(6) * np.sin(2 * np.pi * t / 2.6 + 1),
    )


def _shake(t: Series) -> Path2D:
    return _path(
        t,
        x=320 + 30 * np.sin(2 * np.pi * t / 0.6),
        y=240 + 12 * np.sin(2 * np.pi * t / 0.45),
        angle=np.radians(4) * np.sin(2 * np.pi * t / 0.7),
    )


PATHS: Mapping[str, Callable[[Series], Path2D]] = MappingProxyType(
    {
        "static": lambda t: _path(t),
        "drift": lambda t: _path(t, x=290 + 20 * t, y=250 - 6 * t),
        "sway": _sway,
        "shake": _shake,
        "far": lambda t: replace(_sway(t), scale=0.42 + 0.02 * np.sin(2 * np.pi * t / 3)),
        "zoom": lambda t: _path(t, scale=0.45 * np.exp(0.25 * t)),
    }
)
"""What makes a path from the times of its frames in seconds."""


@dataclass(frozen=True)
class Clip:
    """A clip as it was filmed, before any tape."""

    frames: list[RGBImage]
    landmarks: list[Points]


def aligned_faces(folder: Path | None, detector: FaceDetector, count: int) -> list[RGBImage]:
    """Return portraits of 256 pixels aligned to the FFHQ template; the astronaut without folder."""
    if folder is not None:
        paths = sorted(p for p in folder.iterdir() if p.suffix in {".png", ".webp", ".jpg"})
        images = [cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in paths[:count]]
        return [
            np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)
            for image in images
            if image is not None
        ]
    from skimage.data import astronaut

    photograph = np.ascontiguousarray(astronaut())  # type: ignore[no-untyped-call]
    (faces,) = detector.detect([photograph])
    target = landmark_template(Template.FFHQ, _SIDE)
    portrait_from_photo = similarity_transform(faces[0].landmarks, target)
    assert portrait_from_photo is not None
    return [_warped(photograph, invert_affine(portrait_from_photo), _SIDE, _SIDE)]


def film(portrait: RGBImage, path: Path2D, detector: FaceDetector, seed: int) -> Clip:
    """Move a portrait over a background of its own."""
    background = _background(np.random.default_rng(seed))
    ramp = np.minimum(1, (np.arange(_SIDE) + 1) / _BORDER)
    edge = np.minimum(ramp, ramp[::-1]).astype(np.float32)
    alpha = cv2.GaussianBlur(np.outer(edge, edge), (0, 0), 5)
    frames = []
    for k in range(len(path.x)):
        portrait_from_frame = invert_affine(path.frame_from_portrait(k))
        face = _warped(portrait, portrait_from_frame, WIDTH, HEIGHT)
        inside = _inside(portrait_from_frame)
        share = (resample(alpha, portrait_from_frame, WIDTH, HEIGHT) * inside)[..., None]
        frames.append(np.rint(background * (1 - share) + face * share).astype(np.uint8))
    own = _landmarks(frames, path, detector)
    landmarks = [
        transform_points(path.frame_from_portrait(k), own).astype(np.float32)
        for k in range(len(frames))
    ]
    return Clip(frames, landmarks)


def write_film(path: Path, frames: Sequence[RGBImage]) -> Path:
    """Write frames without loss but that of 4:2:0."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for k, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = k, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _landmarks(
    frames: Sequence[RGBImage], path: Path2D, detector: FaceDetector
) -> npt.NDArray[np.float64]:
    """Let the detector look at undamaged frames; return the mean in pixels of the portrait."""
    seen = []
    for k in range(0, len(frames), _SEARCHED_EVERY):
        (faces,) = detector.detect([frames[k]])
        if faces:
            portrait_from_frame = invert_affine(path.frame_from_portrait(k))
            seen.append(transform_points(portrait_from_frame, faces[0].landmarks))
    if not seen:
        raise SystemExit("the detector finds no face in one of the pictures: take another folder")
    return np.asarray(np.median(np.stack(seen), axis=0))


def _background(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Make a wall: blotches of several sizes, and some lines."""
    wall = np.full((HEIGHT, WIDTH, 3), 110, np.float32)
    for sigma, depth in ((60, 30), (14, 14), (3, 7)):
        blotches = cv2.GaussianBlur(
            rng.standard_normal((HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), sigma
        )
        wall += depth * blotches / blotches.std()
    wall[:, ::64] *= 0.6
    wall[::96] *= 0.6
    return np.clip(wall, 8, 245)


def _inside(portrait_from_frame: Matrix) -> npt.NDArray[np.float32]:
    ones = np.ones((_SIDE, _SIDE), np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(ones, portrait_from_frame, (WIDTH, HEIGHT), flags=flags))


def _warped(image: RGBImage, image_from_target: Matrix, width: int, height: int) -> RGBImage:
    channels = [resample(image[..., k], image_from_target, width, height) for k in range(3)]
    return np.clip(np.rint(np.stack(channels, axis=-1)), 0, 255).astype(np.uint8)
