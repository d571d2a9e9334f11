"""EXIF of a picture that has been turned upright: only what is no longer true is changed.

A camera's block is not taken apart and put together anew, since its maker's notes hold places
counted from its beginning. Two numbers are changed where they stand (TIFF 6.0, section 2).
"""

from __future__ import annotations

import struct

from PIL import Image
from PIL.ExifTags import IFD, Base

_HEADER = b"Exif\0\0"
_ENTRY_BYTES = 12
_DESCRIPTIVE = (
    Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.DateTime, Base.Artist,
    Base.Copyright,
)  # fmt: skip
"""Of the tags of a TIFF, those that say nothing about how its samples are stored."""


def orientation_of(exif: bytes | None) -> int:
    """Return the tag's value, 1 (upright) to 8; 1 where it is missing or makes no sense."""
    if exif is None:
        return 1
    order, place, _ = _places(exif)
    if place is None:
        return 1
    value = int(struct.unpack_from(f"{order}H", exif, place)[0])
    return value if 1 <= value <= 8 else 1


def upright_exif(exif: bytes | None) -> bytes | None:
    """Return the block with an orientation of 1 and without its preview, which shows the old face.

    Returns:
        Beginning with ``Exif`` and two zeros; None if there is none, or it cannot be read.
    """
    if exif is None:
        return None
    order, place, link = _places(exif)
    if link is None:
        return None
    changed = bytearray(exif)
    if place is not None:
        struct.pack_into(f"{order}H", changed, place, 1)
    struct.pack_into(f"{order}I", changed, link, 0)  # where the preview's directory is
    block = bytes(changed)
    return block if block.startswith(_HEADER) else _HEADER + block


def exif_of_tiff(tags: Image.Exif) -> bytes | None:
    """Gather what describes the picture from the tags of a TIFF; None if nothing does."""
    kept = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in tags:
            kept[tag] = tags[tag]
    for directory in (IFD.Exif, IFD.GPSInfo):
        inner = tags.get_ifd(directory)
        if inner:
            kept.get_ifd(directory).update(inner)
            kept[directory] = inner
    return kept.tobytes() if kept else None


def _places(exif: bytes) -> tuple[str, int | None, int | None]:
    """Find the byte order, where the orientation stands, and where the link to the preview does.

    Each place is None if it is missing; the last also if this is no EXIF.
    """
    start = len(_HEADER) if exif.startswith(_HEADER) else 0
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[start : start + 4])
    if order is None or len(exif) < start + 8:
        return "<", None, None
    at = start + struct.unpack_from(f"{order}I", exif, start + 4)[0]
    if at + 2 > len(exif):
        return order, None, None
    count = struct.unpack_from(f"{order}H", exif, at)[0]
    link = at + 2 + count * _ENTRY_BYTES
    if link + 4 > len(exif):
        return order, None, None
    for entry in range(at + 2, link, _ENTRY_BYTES):
        tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
        if tag == Base.Orientation and kind == 3:  # SHORT: the value stands in the entry
            return order, entry + 8, link
    return order, None, link
