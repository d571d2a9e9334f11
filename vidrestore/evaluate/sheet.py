"""A contact sheet: what went in, what each model made of it, and what it should have been."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import RGBImage
from vidrestore.errors import OutputError

MOST_FACES = 64
_TILE = 192
_WIDTH = 2304
_HEAD = 22
_GAP = 6

Picture = npt.NDArray[np.uint8]


def contact_sheet(columns: Sequence[tuple[str, Sequence[RGBImage]]]) -> RGBImage:
    """Lay pictures out in strips, one face a strip, as many strips beside each other as fit.

    Args:
        columns: Caption and pictures of each column of a strip, all of one length; of the faces
            at most the first 64 are shown.

    Returns:
        Shape (H, W, 3), uint8 RGB, about 2300 pixels wide.
    """
    num_faces = min(MOST_FACES, len(columns[0][1]))
    strip_width = len(columns) * _TILE + _GAP
    across = max(1, min(num_faces, _WIDTH // strip_width))
    down = -(-num_faces // across)
    sheet = np.full((_HEAD + down * _TILE, across * strip_width, 3), 255, np.uint8)
    for strip in range(across):
        for k, (caption, _) in enumerate(columns):
            place = (strip * strip_width + k * _TILE + 4, _HEAD - 7)
            cv2.putText(sheet, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, 16)
    for face in range(num_faces):
        top = _HEAD + face // across * _TILE
        for k, (_, images) in enumerate(columns):
            left = face % across * strip_width + k * _TILE
            sheet[top : top + _TILE, left : left + _TILE] = _tile(images[face])
    return sheet


def write_png(path: Path, image: RGBImage) -> None:
    """Write a picture as PNG.

    Raises:
        OutputError: The file cannot be written.
    """
    is_coded, data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    assert is_coded
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"cannot write the sheet {path}: {error.strerror}") from error


def _tile(image: RGBImage) -> RGBImage:
    method = cv2.INTER_AREA if image.shape[0] > _TILE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (_TILE, _TILE), interpolation=method), np.uint8)
