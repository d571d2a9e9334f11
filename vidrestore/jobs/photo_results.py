"""What the restoring of a photograph leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidrestore.contracts import FaceObservation, RestoredFace, RGBImage
from vidrestore.errors import OutputError
from vidrestore.media.image_files import write_photograph
from vidrestore.media.images import PhotoFormat, Photograph, Samples


@dataclass(frozen=True, slots=True)
class PhotoFace:
    """A face of a photograph, and what became of it."""

    box_xyxy: tuple[float, float, float, float]
    """Left, top, right, bottom in pixels of the upright picture; may reach outside."""
    width: float
    """Twice the distance of its eyes, in pixels."""
    strength: float
    """How much of the restored face is shown, 0..1."""
    held_back: str | None
    """Why it is not shown fully: ``already sharp``."""
    before: RGBImage
    """Shape (S, S, 3): its crop in the model's pose."""
    after: RGBImage
    """The same, restored fully."""


@dataclass(frozen=True, slots=True, eq=False)
class RestoredPixels:
    """A picture in memory, and its faces from the left to the right."""

    samples: Samples
    faces: tuple[PhotoFace, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PhotoResult:
    """What the restoring of a photograph leaves behind."""

    path: Path
    faces: tuple[PhotoFace, ...]
    """From the left to the right."""
    seconds: float
    """Without the loading of the networks."""
    notes: tuple[str, ...]
    """What the output cannot keep, and the like, a sentence each."""


def describe_face(found: FaceObservation, face: RestoredFace, strength: float) -> PhotoFace:
    """Sum up what became of a face, ``strength`` being the user's."""
    left, top, right, bottom = found.box_xyxy.tolist()
    return PhotoFace(
        box_xyxy=(left, top, right, bottom),
        width=2 * float(np.linalg.norm(found.landmarks[1] - found.landmarks[0])),
        strength=face.strength * strength,
        held_back=face.held_back,
        before=face.aligned.crop,
        after=face.crop,
    )


def write_crops(folder: Path, stem: str, faces: Sequence[PhotoFace], *, overwrite: bool) -> None:
    """Write each face before and after into a folder.

    Raises:
        OutputError: A file is there already, or the folder cannot be made or written.
    """
    pictures = {
        folder / f"{stem}-face-{k}-{when}.png": crop
        for k, face in enumerate(faces, start=1)
        for when, crop in (("before", face.before), ("after", face.after))
    }
    taken = [path for path in pictures if path.exists()]
    if taken and not overwrite:
        raise OutputError(f"{taken[0]} exists: use --overwrite to replace it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
    for path, crop in pictures.items():
        write_photograph(path, Photograph(crop, PhotoFormat.PNG))
