"""One photograph in, one photograph out."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vidrestore.contracts import (
    BlendedFrame,
    FaceObservation,
    FaceTrack,
    Matrix,
    Points,
    RestoredFace,
    RestoredFrame,
    RGBImage,
    TrackedFrame,
)
from vidrestore.core.compositing import FaceMask, feathered_mask
from vidrestore.core.geometry import similarity_transform
from vidrestore.core.photo import (
    apply_changes,
    eight_bit_rgb,
    frame_of,
    hold_back_sharp,
    windows_around,
)
from vidrestore.core.warping import Box
from vidrestore.errors import SettingsError
from vidrestore.jobs.networks import choose_models, loaded_networks
from vidrestore.jobs.photo_faces import face_size, find_faces
from vidrestore.jobs.photo_results import (
    PhotoResult,
    RestoredPixels,
    describe_face,
    write_crops,
)
from vidrestore.media.image_files import check_target, write_photograph
from vidrestore.media.images import Photograph, Samples, read_photograph
from vidrestore.media.target import claim_target
from vidrestore.pipeline import Networks
from vidrestore.settings import FaceChoice, PhotoSettings, RestoreSettings
from vidrestore.stages.align import align_faces
from vidrestore.stages.blend import blend_faces
from vidrestore.stages.restore import restore_faces
from vidrestore.stages.steady import steady_faces

logger = logging.getLogger(__name__)


class PhotoRestorer:
    """Restores photographs one after the other; `photo_restorer` makes it."""

    def __init__(self, networks: Networks, settings: RestoreSettings) -> None:
        if isinstance(settings.blend.faces, tuple) or settings.blend.faces_file is not None:
            raise SettingsError(
                "faces have numbers in films only: use --faces all or largest for a photograph"
            )
        self._networks, self._settings = networks, settings
        restorer = networks.restorer
        self._mask = FaceMask.of(feathered_mask(restorer.template, restorer.size))

    @property
    def settings(self) -> RestoreSettings:
        """What was asked for."""
        return self._settings

    def restore(
        self, source: str | Path, target: str | Path, photo: PhotoSettings | None = None
    ) -> PhotoResult:
        """Restore one file; see `restore_photo`."""
        begun = time.monotonic()
        source, target, photo = Path(source), Path(target), photo or PhotoSettings()
        overwrite = self._settings.encode.overwrite
        picture = open_photograph(source, target, overwrite=overwrite)
        notes = check_target(target, picture)
        if photo.aligned:
            _require_square(source, picture)
        made = self.restore_pixels(picture.samples, is_aligned=photo.aligned)
        if photo.crops is not None:
            write_crops(photo.crops, source.stem, made.faces, overwrite=overwrite)
        write_photograph(target, dataclasses.replace(picture, samples=made.samples))
        notes += self._networks.restorer.notes
        return PhotoResult(target, made.faces, time.monotonic() - begun, tuple(notes))

    def restore_pixels(self, samples: Samples, *, is_aligned: bool = False) -> RestoredPixels:
        """Restore a picture in memory.

        Args:
            samples: Shape (H, W, 3), uint8 RGB, upright; also (H, W, C) of a ``Photograph``.
            is_aligned: The picture is a square crop of a face in the model's pose.

        Returns:
            A new picture of the same shape and type. Samples that no face reaches are equal.

        Raises:
            SettingsError: The array is no such picture.
            DeviceError: The device gave out.
        """
        if samples.ndim != 3 or not samples.size or samples.dtype not in (np.uint8, np.uint16):
            raise SettingsError(
                f"the picture is {samples.dtype} of shape {samples.shape}: use uint8 RGB of shape "
                "(H, W, 3)"
            )
        faces = [self._whole(samples)] if is_aligned else self.find(samples)
        faces.sort(key=lambda face: float(face.landmarks[:, 0].mean()))
        painted = samples.copy()
        told: dict[int, RestoredFace] = {}
        for box, blended in self._blended(samples, faces):
            apply_changes(painted, box, blended)
            told |= {face.aligned.track.track_id: face for face in blended.faces}
        shown = self._settings.blend.strength
        return RestoredPixels(
            painted,
            tuple(describe_face(faces[k], told[k], shown) for k in sorted(told)),
        )

    def find(self, samples: Samples) -> list[FaceObservation]:
        """Find the faces that the settings choose: all, or the largest."""
        picture = eight_bit_rgb(samples)
        faces = find_faces(picture, self._networks.detector, self._settings.detect)
        if self._settings.blend.faces is FaceChoice.LARGEST:
            return sorted(faces, key=lambda face: face_size(face.landmarks))[-1:]
        return faces

    def _whole(self, samples: Samples) -> FaceObservation:
        """Say where the face is in a picture that is a crop itself."""
        restorer = self._networks.restorer
        height, width = samples.shape[:2]
        scale = np.array([width, height], np.float32) / restorer.size
        landmarks: Points = ((restorer.template + 0.5) * scale - 0.5).astype(np.float32)
        box = np.array([0, 0, width, height], np.float32)
        return FaceObservation(box_xyxy=box, landmarks=landmarks, score=1.0)

    def _blended(
        self, samples: Samples, faces: Sequence[FaceObservation]
    ) -> Iterator[tuple[Box, BlendedFrame]]:
        """Send the surroundings of the faces through the stages, each as a shot of one frame."""
        restorer, embedder = self._networks.restorer, self._networks.embedder
        template, size = restorer.template, restorer.size
        matrices: dict[int, Matrix] = {}
        for k, face in enumerate(faces):
            matrix = similarity_transform(face.landmarks, template)
            if matrix is not None:
                matrices[k] = matrix
        numbers = list(matrices)
        windows = windows_around(list(matrices.values()), size, samples.shape)

        def tracked() -> Iterator[TrackedFrame]:
            for count, (box, members) in enumerate(windows):
                tracks = [_track(numbers[m], faces[numbers[m]], box) for m in members]
                yield TrackedFrame(frame_of(samples, box, count), tuple(tracks), is_cut=True)

        blend = self._settings.blend
        # there is but one picture to average
        alone = dataclasses.replace(blend, temporal=0.0)
        aligned = align_faces(tracked(), template, size)
        restored = restore_faces(aligned, restorer)
        judged = self._judged(steady_faces(restored, alone, template, size, 0, embedder))
        blended = blend_faces(judged, blend, template, size)
        yield from zip((box for box, _ in windows), blended, strict=True)

    def _judged(self, frames: Iterator[RestoredFrame]) -> Iterator[RestoredFrame]:
        for item in frames:
            faces = item.faces
            if self._settings.blend.gates:
                faces = tuple(hold_back_sharp(face, self._mask) for face in faces)
            yield dataclasses.replace(item, faces=faces)


@contextmanager
def photo_restorer(settings: RestoreSettings | None = None) -> Iterator[PhotoRestorer]:
    """Load the networks once for many photographs.

    Raises:
        VidrestoreError: As for `restore_photo`.
    """
    settings = settings or RestoreSettings()
    chosen = choose_models(settings.model)
    for choice in chosen.choices:
        logger.info("%s", choice)
    with loaded_networks(chosen, settings) as (networks, _, choices):
        for choice in choices:
            logger.info("%s", choice)
        yield PhotoRestorer(networks, settings)


def restore_photo(
    source: str | Path,
    target: str | Path,
    settings: RestoreSettings | None = None,
    photo: PhotoSettings | None = None,
) -> PhotoResult:
    """Restore the faces of a photograph; everything else stays as it is.

    The source is only read. The target appears when it is whole, or not at all. It is stored
    upright, with the source's EXIF (but for the preview picture in it), ICC profile and resolution;
    16 bits, grey and transparency are kept. Samples that no face reaches are those of the source,
    which formats other than JPEG and lossy WebP also keep.

    Args:
        source: JPEG, PNG, WebP, BMP or TIFF.
        target: ``.jpg``, ``.png``, ``.webp``, ``.bmp`` or ``.tif``.
        settings: Model, detection, strength, gates and ``encode.overwrite`` are those of films;
            what is about time means nothing here.
        photo: What is asked of photographs alone.

    Raises:
        MediaError: The source cannot be read, or is of a kind that is not supported.
        WeightsError: A model is not installed, or its file is not what it should be.
        DeviceError: The device asked for cannot be had.
        OutputError: The target cannot be written.
        SettingsError: Options contradict each other.
    """
    settings = settings or RestoreSettings()
    # before the networks, which take seconds
    picture = open_photograph(Path(source), Path(target), overwrite=settings.encode.overwrite)
    check_target(Path(target), picture)
    del picture
    with photo_restorer(settings) as restorer:
        return restorer.restore(source, target, photo)


def restore_pixels(rgb: RGBImage, settings: RestoreSettings | None = None) -> RestoredPixels:
    """Restore a picture of shape (H, W, 3), uint8 RGB, in memory; see `PhotoRestorer`."""
    with photo_restorer(settings) as restorer:
        return restorer.restore_pixels(rgb)


def open_photograph(source: Path, target: Path, *, overwrite: bool) -> Photograph:
    """Read a photograph after making sure that its result could be written.

    Raises:
        MediaError: It cannot be read.
        OutputError: The target is in the way.
    """
    picture = read_photograph(source)
    claim_target(target, source, overwrite=overwrite)
    return picture


def _require_square(source: Path, picture: Photograph) -> None:
    height, width = picture.samples.shape[:2]
    if height != width:
        raise SettingsError(
            f"{source} is {width}x{height}: --aligned takes square crops of a face, as the model "
            "sees them; leave it out to have the faces looked for"
        )


def _track(number: int, face: FaceObservation, box: Box) -> FaceTrack:
    landmarks = (face.landmarks - np.array(box[:2])).astype(np.float32)
    return FaceTrack(number, landmarks, landmarks, face.score, strength=1.0)
