"""Reads and writes photographs: samples, and what travels with them. Nothing here knows faces.

Pillow does it where it can. It holds no 16-bit colour, so such pictures are read with OpenCV and
written by `image_files`, with the same metadata.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin, TiffImagePlugin

from vidrestore.core.views import orient
from vidrestore.errors import MediaOpenError
from vidrestore.media.exif import exif_of_tiff, orientation_of, upright_exif

MAX_PIXELS = 300_000_000
"""Larger pictures are refused: they are scans of posters, or files made to exhaust the memory."""

Samples = npt.NDArray[Any]
"""Shape (H, W, C), uint8 or uint16, upright; C is 1 (grey), 2 (grey, alpha), 3 (R, G, B) or 4."""


class PhotoFormat(StrEnum):
    """The kinds of files that are read and written."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    BMP = "BMP"
    TIFF = "TIFF"


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """A picture, and what its file says of it."""

    samples: Samples
    format: PhotoFormat
    """What it was read from."""
    exif: bytes | None = None
    """EXIF without its preview picture, as it stands in a PNG chunk; says that the samples are
    upright."""
    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    """Pixels an inch, across and down."""
    sampling: int = 0
    """Chroma of a JPEG as Pillow numbers it: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0."""
    is_progressive: bool = False
    is_lossless: bool = True
    """The file's coding keeps every sample."""

    @property
    def has_alpha(self) -> bool:
        """The last channel says how opaque each pixel is."""
        return self.samples.shape[2] in (2, 4)

    @property
    def is_deep(self) -> bool:
        """The samples have 16 bits."""
        return self.samples.dtype == np.uint16

    @property
    def rgb_profile(self) -> bytes | None:
        """The ICC profile if it is of RGB; one of grey must not go with a picture of colours."""
        profile = self.icc_profile
        return profile if profile is not None and profile[16:20] == b"RGB " else None


# Values of the tag and the display matrices that they stand for; EXIF 2.32, section 4.6.4.
_TURNS: Mapping[int, tuple[int, int, int, int]] = MappingProxyType(
    {
        2: (-1, 0, 0, 1),
        3: (-1, 0, 0, -1),
        4: (1, 0, 0, -1),
        5: (0, 1, 1, 0),
        6: (0, 1, -1, 0),
        7: (0, -1, -1, 0),
        8: (0, -1, 1, 0),
    }
)
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error, zlib.error)
"""What Pillow raises for files that are not what they should be."""


def is_photograph(path: str | Path) -> bool:
    """Say whether a file begins as a photograph does; whether it can be read is another matter."""
    path = Path(path)
    if path.suffix.lower() in (".mjpeg", ".mjpg"):
        return False  # a film: JPEG pictures without a container
    try:
        return path.is_file() and _format_of(path) is not None
    except OSError:
        return False


def read_photograph(path: Path) -> Photograph:
    """Read a photograph and turn it upright.

    Raises:
        MediaOpenError: It is missing, damaged, no photograph, an animation, of a kind that is not
            supported, or larger than ``MAX_PIXELS``.
    """
    try:
        if path.is_dir():
            raise MediaOpenError(f"{path} is a folder: name a photograph")
        kind = _format_of(path)
    except OSError as error:
        raise MediaOpenError(f"cannot read {path}: {error.strerror}") from error
    if kind is None:
        raise MediaOpenError(f"{path} is not a photograph: use JPEG, PNG, WebP, BMP or TIFF")
    try:
        with _size_checked_here(), Image.open(path) as image:
            _require_usable(path, kind, image)
            return _read(path, kind, image)
    except _DAMAGE as error:
        raise MediaOpenError(f"{path} is damaged or cut short: {error}") from error


def _format_of(path: Path) -> PhotoFormat | None:
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"\xff\xd8\xff"):
        return PhotoFormat.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PhotoFormat.PNG
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return PhotoFormat.WEBP
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return PhotoFormat.BMP
    if head[:4] in (b"II*\0", b"MM\0*"):
        return PhotoFormat.TIFF
    return None


@contextmanager
def _size_checked_here() -> Iterator[None]:
    """Let Pillow open pictures of any size: its own limit, 90 MP, is below that of cameras."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _require_usable(path: Path, kind: PhotoFormat, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise MediaOpenError(
            f"{path} has {width}x{height} pixels: make it smaller, {MAX_PIXELS // 10**6} million "
            "at most"
        )
    num_pictures = getattr(image, "n_frames", 1)
    if num_pictures > 1 and kind is not PhotoFormat.JPEG:  # phones add previews to a JPEG
        what = "pages" if kind is PhotoFormat.TIFF else "pictures, an animation"
        raise MediaOpenError(
            f"{path} holds {num_pictures} {what}: save the one you want as a file of its own"
        )
    if image.mode in ("CMYK", "LAB", "HSV", "I", "F"):
        raise MediaOpenError(
            f"{path} is in {image.mode} ({_MODE_NAMES[image.mode]}): convert it to RGB first"
        )


_MODE_NAMES = MappingProxyType(
    {
        "CMYK": "colours for printing",
        "LAB": "perceptual colours",
        "HSV": "hue and saturation",
        "I": "32-bit integers",
        "F": "floating-point numbers",
    }
)


def _read(path: Path, kind: PhotoFormat, image: Image.Image) -> Photograph:
    if kind is PhotoFormat.TIFF:
        # before the samples: Pillow takes the tag away when it turns the picture
        exif = exif_of_tiff(image.getexif())
        turn = int(image.getexif().get(_ORIENTATION, 1))
    else:
        raw = image.info.get("exif")
        exif, turn = upright_exif(raw), orientation_of(raw)
    is_deep = _bits(path, kind, image) == 16
    samples = _read_deep(path) if is_deep else _read_shallow(image)
    if turn in _TURNS and kind is not PhotoFormat.TIFF:  # those both libraries turn
        samples = np.ascontiguousarray(orient(samples, _TURNS[turn]))
    dpi = _dpi(image.info.get("dpi"))
    return Photograph(
        samples=samples,
        format=kind,
        exif=exif,
        icc_profile=image.info.get("icc_profile") or None,
        dpi=(dpi[1], dpi[0]) if dpi and turn >= 5 else dpi,
        sampling=_sampling(image),
        is_progressive=bool(image.info.get("progressive")),
        is_lossless=_is_lossless(path, kind),
    )


_ORIENTATION = 0x0112


def _bits(path: Path, kind: PhotoFormat, image: Image.Image) -> int:
    if kind is PhotoFormat.PNG:
        with path.open("rb") as file:
            return int(file.read(25)[24])  # IHDR comes first
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))))
    return 8


def _read_deep(path: Path) -> Samples:
    read: npt.NDArray[Any] | None
    try:
        read = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError("its samples cannot be decoded") from error
    if read is None or read.dtype != np.uint16:
        raise ValueError("its samples cannot be decoded")
    if read.ndim == 2:
        return read[..., None]
    order = cv2.COLOR_BGRA2RGBA if read.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(read, order))


def _read_shallow(image: Image.Image) -> Samples:
    image.load()
    if image.mode in ("P", "PA"):
        has_alpha = image.mode == "PA" or "transparency" in image.info
        image = image.convert("RGBA" if has_alpha else "RGB")
    elif image.mode == "RGB" and "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode in ("1", "L") and "transparency" in image.info:
        image = image.convert("LA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")
    samples = np.array(image)
    return samples[..., None] if samples.ndim == 2 else samples


def _dpi(found: object) -> tuple[float, float] | None:
    if not isinstance(found, tuple) or len(found) != 2:
        return None
    x, y = (float(value) for value in found)
    return (x, y) if 1 <= x <= 1e5 and 1 <= y <= 1e5 else None


def _sampling(image: Image.Image) -> int:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return 0
    return max(0, JpegImagePlugin.get_sampling(image))  # -1: a rare kind


def _is_lossless(path: Path, kind: PhotoFormat) -> bool:
    if kind is not PhotoFormat.WEBP:
        return kind is not PhotoFormat.JPEG
    with path.open("rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", header)
            if name in (b"VP8 ", b"VP8L"):
                return bool(name == b"VP8L")
            file.seek(length + length % 2, 1)
    return False
