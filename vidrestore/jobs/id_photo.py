"""A photograph in, an ID photo out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np

from vidrestore.contracts import FaceObservation, Matrix, Points, RGBImage
from vidrestore.core.colour import FloatPlane
from vidrestore.core.geometry import area_scale, invert_affine, transform_points
from vidrestore.core.id_photo import (
    DPI,
    STANDARDS,
    Head,
    IdPhotoStandard,
    cut_out,
    id_photo_from_picture,
    on_background,
)
from vidrestore.core.photo import eight_bit_rgb
from vidrestore.core.portraits import facing
from vidrestore.core.warping import resample
from vidrestore.errors import MediaError
from vidrestore.jobs.photo import PhotoRestorer, open_photograph, photo_restorer
from vidrestore.jobs.photo_results import PhotoFace
from vidrestore.media.image_files import target_format, write_photograph
from vidrestore.media.images import PhotoFormat, Photograph
from vidrestore.models.matting import PortraitMatting, find_matting
from vidrestore.settings import BackgroundColour, FaceChoice, IdPhotoSettings, RestoreSettings

logger = logging.getLogger(__name__)

_COLOURS = MappingProxyType(
    {
        BackgroundColour.WHITE: (255, 255, 255),
        BackgroundColour.BLUE: (67, 142, 219),  # as ID photos in China have it
        BackgroundColour.RED: (255, 0, 0),
    }
)
_MOST_ENLARGED = 3.0
"""A head may be enlarged so far: beyond that even the restored face is soft in print."""
_LEAST_FACING = 0.5
"""`portraits.facing` of a face turned by about 25°."""
_MOST_TILTED_DEGREES = 30.0
_MOST_OUTSIDE = 0.06
"""The photograph may end so far inside the ID photo, as a share of its height or width."""

Cut = Callable[[RGBImage, Points], FloatPlane]


@dataclass(frozen=True, slots=True, eq=False)
class IdPhotoResult:
    """What became of a photograph."""

    path: Path
    size: tuple[int, int]
    """Width and height in pixels, 300 of them an inch."""
    face: PhotoFace
    """In pixels of the ID photo."""
    matting: str
    """What cut the person out: ``MODNet`` or ``GrabCut``."""
    seconds: float
    """Without the loading of the networks."""


def make_id_photo(
    source: str | Path,
    target: str | Path,
    settings: RestoreSettings | None = None,
    id_photo: IdPhotoSettings | None = None,
    restorer: PhotoRestorer | None = None,
) -> IdPhotoResult:
    """Restore the face of a photograph, crop it to a standard, and exchange what is behind.

    The head is turned upright and brought to its place first, and restored there, so that nothing
    of what the model draws is lost to the change of size. Whether an authority accepts a restored
    picture is for the authority to say.

    Args:
        source: JPEG, PNG, WebP, BMP or TIFF, with one person seen from the front.
        target: As for ``restore_photo``; 8 bits.
        settings: As for ``restore_photo``; with ``FaceChoice.LARGEST`` other people may be there.
        id_photo: Size, colour and what cuts the person out.
        restorer: Networks that are loaded already, under the same settings.

    Raises:
        MediaError: The source cannot be read, or does not give this ID photo: no face or several,
            too small, turned away, or cut off.
        VidrestoreError: As for ``restore_photo``.
    """
    source, target = Path(source), Path(target)
    settings, id_photo = settings or RestoreSettings(), id_photo or IdPhotoSettings()
    picture = open_photograph(source, target, overwrite=settings.encode.overwrite)
    target_format(target)
    if restorer is None:
        with photo_restorer(settings) as loaded:
            return make_id_photo(source, target, settings, id_photo, loaded)
    cut, name = _matting(id_photo, settings)
    begun = time.monotonic()
    rgb = np.ascontiguousarray(eight_bit_rgb(picture.samples))
    standard = STANDARDS[id_photo.size]
    found = _the_face(source, restorer, rgb)
    matrix = id_photo_from_picture(Head.of(found.landmarks), standard)
    _require_fit(source, rgb, found, matrix, standard)
    framed = _framed(rgb, matrix, standard)
    made = restorer.restore_pixels(framed)
    if not made.faces:
        raise MediaError(f"{source}: the face is too unclear for an ID photo")
    face = max(made.faces, key=lambda f: f.width)
    alpha = cut(framed, transform_points(matrix, found.landmarks).astype(np.float32))
    finished = on_background(made.samples, alpha, _COLOURS[id_photo.background])
    photograph = Photograph(
        finished, PhotoFormat.PNG, icc_profile=picture.rgb_profile, dpi=(DPI, DPI)
    )
    write_photograph(target, photograph)
    size = standard.width, standard.height
    return IdPhotoResult(target, size, face, name, time.monotonic() - begun)


def _matting(id_photo: IdPhotoSettings, settings: RestoreSettings) -> tuple[Cut, str]:
    model = settings.model
    path = find_matting(
        id_photo.matting, model.weights_dir, allow_unverified=model.allow_unverified
    )
    if path is None:
        logger.info(
            "matting GrabCut: coarse in hair ('vidrestore weights fetch modnet-portrait' gets "
            "a better one, for --allow-unverified)"
        )
        return cut_out, "GrabCut"
    network = PortraitMatting(path, allow_unverified=settings.model.allow_unverified)
    logger.info("matting %s: %s", network.description, path)
    return lambda picture, _: network.cut_out(picture), network.description


def _the_face(source: Path, restorer: PhotoRestorer, rgb: RGBImage) -> FaceObservation:
    faces = restorer.find(rgb)
    if not faces:
        raise MediaError(f"{source}: no face was found")
    if len(faces) > 1 and restorer.settings.blend.faces is not FaceChoice.LARGEST:
        raise MediaError(
            f"{source}: {len(faces)} faces were found; an ID photo shows one person: use "
            "--faces largest, or cut the picture"
        )
    return faces[0]


def _require_fit(
    source: Path,
    rgb: RGBImage,
    face: FaceObservation,
    matrix: Matrix,
    standard: IdPhotoStandard,
) -> None:
    tilt = abs(np.degrees(np.arctan2(*(face.landmarks[1] - face.landmarks[0])[::-1])))
    if facing(face.landmarks) < _LEAST_FACING or tilt > _MOST_TILTED_DEGREES:
        raise MediaError(f"{source}: the face is turned away: an ID photo shows it from the front")
    enlarged = area_scale(matrix)
    if enlarged > _MOST_ENLARGED:
        tall, least = standard.head * standard.height, _MOST_ENLARGED
        raise MediaError(
            f"{source}: the head is {tall / enlarged:.0f} pixels high, too small for an ID photo: "
            f"{tall / least:.0f} are needed"
        )
    width, height = standard.width, standard.height
    rim_x, rim_y = _MOST_OUTSIDE * width, _MOST_OUTSIDE * height
    crown = Head.of(face.landmarks).crown[1]
    needed = np.array([[rim_x, height - rim_y], [width - rim_x, height - rim_y]])
    places = transform_points(invert_affine(matrix), needed)
    is_inside = (places >= -0.5).all() and (places <= np.array(rgb.shape[1::-1]) - 0.5).all()
    if not is_inside or crown < 0:
        raise MediaError(
            f"{source}: the picture ends too close to the head: an ID photo shows all of it, and "
            "the shoulders"
        )


def _framed(rgb: RGBImage, matrix: Matrix, standard: IdPhotoStandard) -> RGBImage:
    """Bring a picture into the frame of the ID photo; what lies outside repeats its edge."""
    height, width = rgb.shape[:2]
    picture_from_photo = invert_affine(matrix)
    corners = np.array([[0, 0], [standard.width, 0], [0, standard.height]])
    reach = transform_points(picture_from_photo, np.vstack([corners, corners[1:2] + corners[2:]]))
    low, high = np.floor(reach.min(axis=0)), np.ceil(reach.max(axis=0))
    left, top = np.maximum(0, -low).astype(int) + 8
    right, bottom = np.maximum(0, high - (width, height)).astype(int) + 8
    padded = cv2.copyMakeBorder(rgb, top, bottom, left, right, cv2.BORDER_REPLICATE)
    shifted = picture_from_photo + np.array([[0, 0, left], [0, 0, top]])
    if area_scale(matrix) > 1:
        how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(padded, shifted, (standard.width, standard.height), flags=how)
        return np.asarray(warped, np.uint8)
    channels = [
        resample(padded[..., k], shifted, standard.width, standard.height) for k in range(3)
    ]
    return np.stack(channels, axis=2).round().clip(0, 255).astype(np.uint8)
