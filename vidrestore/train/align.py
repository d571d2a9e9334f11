"""Cuts the faces out of photographs, in the pose that a network is to learn."""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vidrestore.contracts import FaceDetector, Points, RGBImage
from vidrestore.core.geometry import area_scale, invert_affine, similarity_transform
from vidrestore.core.warping import resample
from vidrestore.errors import OutputError, SettingsError
from vidrestore.jobs.networks import cache_dir
from vidrestore.models.choice import pick_detector
from vidrestore.models.registry import Template, landmark_template
from vidrestore.models.retinaface import build_detector
from vidrestore.settings import ModelSettings
from vidrestore.train.data import IMAGE_SUFFIXES, read_image

logger = logging.getLogger(__name__)

_SEARCHED_SIDE = 1024
"""Pixels of the longer side in which faces are looked for: those of use are large enough there."""
_THRESHOLD = 0.9


@dataclass(slots=True)
class AlignCounts:
    """What became of a folder."""

    images: int = 0
    faces: int = 0
    """Written."""
    unreadable: int = 0
    without_face: int = 0
    too_small: int = 0
    """Faces left out because they would have to be enlarged too far."""


def align_folder(
    folder: Path,
    target: Path,
    *,
    size: int = 256,
    template: Template = Template.FFHQ,
    smallest: float = 0.75,
) -> AlignCounts:
    """Write every face of the images below a folder as a PNG of its own.

    Args:
        folder: Searched downwards; only read.
        target: Gets the faces, in the same subfolders; made if it is not there.
        size: Side S of the crops, pixels.
        template: Where the landmarks are to lie.
        smallest: A face is left out if its crop covers fewer than this times S pixels of the
            photograph a side: an enlarged face teaches a network to be soft.

    Raises:
        SettingsError: The folder is missing or holds no image, or a number is out of range.
        OutputError: A face cannot be written.
    """
    if size < 16 or smallest < 0:
        raise SettingsError("use a size of at least 16 and a smallest of at least 0")
    if not folder.is_dir():
        raise SettingsError(f"the folder of images {folder} does not exist")
    if target.resolve().is_relative_to(folder.resolve()):
        raise SettingsError(f"{target} lies in {folder}: faces would be searched for faces")
    paths = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise SettingsError(f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    spec, weights, reason = pick_detector(ModelSettings())
    logger.info("detector %s", reason)
    detector, _ = build_detector(spec, weights, threshold=_THRESHOLD, cache_dir=cache_dir())
    points = landmark_template(template, size)
    counts = AlignCounts(images=len(paths))
    bases = Counter(path.with_suffix("") for path in paths)
    try:
        for path in paths:
            image = read_image(path)
            if image is None:
                counts.unreadable += 1
                continue
            name = path.relative_to(folder)
            # a.jpg and a.png beside each other must not become one
            base = name.stem if bases[path.with_suffix("")] == 1 else name.name
            crops = _crops(image, detector, points, size, smallest, counts)
            for k, crop in enumerate(crops):
                _write(target / name.with_name(f"{base}-{k}.png"), crop)
    finally:
        detector.close()
    return counts


def crop_face(image: RGBImage, landmarks: Points, template: Points, size: int) -> RGBImage | None:
    """Cut one face out of a photograph without aliasing; see ``core.warping.resample``.

    Args:
        image: Shape (H, W, 3), uint8 RGB.
        landmarks: Shape (5, 2), pixels of the photograph.
        template: Shape (5, 2), where they are to come to.
        size: Side S of the crop.

    Returns:
        Shape (S, S, 3), uint8 RGB; None if the landmarks determine no pose.
    """
    crop_from_image = similarity_transform(landmarks, template)
    if crop_from_image is None:
        return None
    image_from_crop = invert_affine(crop_from_image)
    channels = [resample(image[..., c], image_from_crop, size, size) for c in range(3)]
    crop: RGBImage = np.clip(np.rint(np.stack(channels, axis=-1)), 0, 255).astype(np.uint8)
    return crop


def _crops(
    image: RGBImage,
    detector: FaceDetector,
    template: Points,
    size: int,
    smallest: float,
    counts: AlignCounts,
) -> list[RGBImage]:
    shrink = max(1.0, max(image.shape[:2]) / _SEARCHED_SIDE)
    searched = image
    if shrink > 1:
        side = math.floor(image.shape[1] / shrink), math.floor(image.shape[0] / shrink)
        searched = np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    factors = np.divide(image.shape[1::-1], searched.shape[1::-1])
    (found,) = detector.detect([searched])
    counts.without_face += not found
    crops = []
    for face in found:
        landmarks = ((face.landmarks + 0.5) * factors - 0.5).astype(np.float32)
        matrix = similarity_transform(landmarks, template)
        if matrix is None:
            continue
        if area_scale(matrix) * smallest > 1:
            counts.too_small += 1
            continue
        crop = crop_face(image, landmarks, template, size)
        if crop is not None:
            crops.append(crop)
    counts.faces += len(crops)
    return crops


def _write(path: Path, crop: RGBImage) -> None:
    is_encoded, png = cv2.imencode(".png", crop[..., ::-1])
    assert is_encoded
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png.tobytes())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
