"""Writes photographs: each format's own options, 16-bit files, whole or not at all."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.ExifTags import IFD

from vidrestore.errors import OutputError
from vidrestore.media.images import PhotoFormat, Photograph, Samples

_SUFFIXES = {
    ".jpg": PhotoFormat.JPEG, ".jpeg": PhotoFormat.JPEG, ".png": PhotoFormat.PNG,
    ".webp": PhotoFormat.WEBP, ".bmp": PhotoFormat.BMP, ".tif": PhotoFormat.TIFF,
    ".tiff": PhotoFormat.TIFF,
}  # fmt: skip
_QUALITY = 95
"""Of JPEG and lossy WebP: what is lost cannot be told from the source's own losses."""
_METRES_PER_INCH = 0.0254
_TRANSPARENCY_UNASSOCIATED = 2


def target_format(target: Path) -> PhotoFormat:
    """Return the format that a name asks for.

    Raises:
        OutputError: None.
    """
    found = _SUFFIXES.get(target.suffix.lower())
    if found is None:
        raise OutputError(
            f"cannot tell what {target} is to be: name it .jpg, .png, .webp, .bmp or .tif"
        )
    return found


def check_target(target: Path, photo: Photograph) -> list[str]:
    """See, before the work, whether the output can hold the picture.

    Returns:
        What it cannot keep, a sentence each.

    Raises:
        OutputError: It cannot hold the picture at all.
    """
    kind = target_format(target)
    if photo.has_alpha and kind in (PhotoFormat.JPEG, PhotoFormat.BMP):
        raise OutputError(f"{kind} cannot hold the picture's transparency: use .png or .tif")
    lost = []
    if photo.is_deep and kind not in (PhotoFormat.PNG, PhotoFormat.TIFF):
        lost.append(f"{kind} holds 8 of the picture's 16 bits; .png and .tif hold all")
    if kind is PhotoFormat.BMP and (photo.exif is not None or photo.icc_profile is not None):
        lost.append("BMP has no place for EXIF and colour profiles: left out")
    return lost


def write_photograph(target: Path, photo: Photograph) -> None:
    """Write a picture with its metadata; it appears under its name when it is whole.

    JPEG is coded at quality 95 with the source's chroma sampling, WebP likewise unless its source
    is lossless; the other formats keep every sample. What is there already is replaced.

    Raises:
        OutputError: It cannot be written.
    """
    kind = target_format(target)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        try:
            with draft.open("wb") as file:
                _write(file, kind, photo)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # Pillow: a picture too large for the format
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {target}: {reason}") from error


def _write(file: IO[bytes], kind: PhotoFormat, photo: Photograph) -> None:
    if photo.is_deep and kind is PhotoFormat.PNG:
        file.write(_deep_png(photo))
    elif kind is PhotoFormat.TIFF:
        _write_tiff(file, photo)
    else:
        samples = photo.samples
        if photo.is_deep:
            samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
        _picture(samples).save(file, format=kind.value, **_options(kind, photo))


def _picture(samples: Samples) -> Image.Image:
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def _options(kind: PhotoFormat, photo: Photograph) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if photo.dpi is not None and kind is not PhotoFormat.WEBP:
        options["dpi"] = photo.dpi
    if kind is not PhotoFormat.BMP:
        if photo.exif is not None:
            options["exif"] = photo.exif
        if photo.icc_profile is not None:
            options["icc_profile"] = photo.icc_profile
    if kind is PhotoFormat.JPEG:
        options |= {"quality": _QUALITY, "subsampling": photo.sampling}
        options["progressive"] = photo.is_progressive
    elif kind is PhotoFormat.WEBP:
        keeps_all = photo.is_lossless and photo.format is PhotoFormat.WEBP
        # exact: what is transparent keeps its colour
        options |= {"lossless": keeps_all, "quality": _QUALITY, "exact": True}
    return options


def _deep_png(photo: Photograph) -> bytes:
    """Code 16-bit samples as PNG; the other chunks go between the header and the samples."""
    samples, profile = photo.samples, photo.icc_profile
    if samples.shape[2] == 2:
        samples, profile = samples[..., (0, 0, 0, 1)], photo.rgb_profile
    order = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[samples.shape[2]]
    ordered = samples if order is None else cv2.cvtColor(samples, order)
    is_coded, coded = cv2.imencode(".png", ordered)
    if not is_coded:
        raise ValueError("the picture is too large for PNG")
    chunks = b""
    if profile is not None:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if photo.dpi is not None:
        x, y = (round(value / _METRES_PER_INCH) for value in photo.dpi)
        chunks += _chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if photo.exif is not None:
        chunks += _chunk(b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
    data = coded.tobytes()
    after_header = 8 + 25
    return data[:after_header] + chunks + data[after_header:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _write_tiff(file: IO[bytes], photo: Photograph) -> None:
    """Write samples as one deflated strip behind the tags (TIFF 6.0; Adobe's method 8).

    Pillow itself can write neither 16-bit colour nor, compressed, the tags of EXIF.
    """
    samples = photo.samples
    height, width, channels = samples.shape
    strip = zlib.compress(samples.astype(samples.dtype.newbyteorder("<")).tobytes())
    tags = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    if photo.exif is not None:
        exif = Image.Exif()
        exif.load(photo.exif)
        for tag, value in exif.items():
            inner = tag in (IFD.Exif, IFD.GPSInfo)
            tags[tag] = exif.get_ifd(tag) if inner else value
    if photo.icc_profile is not None:
        tags.tagtype[TiffImagePlugin.ICCPROFILE] = 7
        tags[TiffImagePlugin.ICCPROFILE] = photo.icc_profile
    if photo.dpi is not None:
        tags[TiffImagePlugin.RESOLUTION_UNIT] = 2
        tags[TiffImagePlugin.X_RESOLUTION], tags[TiffImagePlugin.Y_RESOLUTION] = photo.dpi
    tags[TiffImagePlugin.IMAGEWIDTH] = width
    tags[TiffImagePlugin.IMAGELENGTH] = height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (8 * samples.itemsize,) * channels
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    tags[TiffImagePlugin.SAMPLEFORMAT] = (1,) * channels
    tags[TiffImagePlugin.COMPRESSION] = 8
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2 if channels >= 3 else 1
    if photo.has_alpha:
        tags[TiffImagePlugin.EXTRASAMPLES] = _TRANSPARENCY_UNASSOCIATED
    tags[TiffImagePlugin.ROWSPERSTRIP] = height
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = len(strip)
    tags[TiffImagePlugin.STRIPOFFSETS] = 0  # counted from the end of the tags
    tags.save(file)
    file.write(strip)
