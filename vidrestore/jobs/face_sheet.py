"""Draws the contact sheet of a film's faces: one cell for each, with its number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vidrestore.contracts import RGBImage
from vidrestore.core.portraits import PORTRAIT_SIZE, FoundFace
from vidrestore.jobs.drawing import BACKGROUND, BRIGHT, SOFT, clock_time, png_of, write_text

_COLUMNS, _ROWS = 3, 6
_PORTRAITS = 3
_GAP = 4
_MARGIN = 16
_LABEL = 40
_HEADER = 48
_CELL_WIDTH = _PORTRAITS * PORTRAIT_SIZE + (_PORTRAITS - 1) * _GAP
_CELL_HEIGHT = _LABEL + PORTRAIT_SIZE
_EMPTY = 40
_WELL_LIT, _MOST_LIGHT = 130.0, 4.0
"""Brightness that dark faces are brought to, and the largest factor."""


def sheet_path(faces_path: Path, page: int) -> Path:
    """Return the name of a page, from 1: ``film.faces.png``, ``film.faces-2.png`` ..."""
    suffix = "" if page == 1 else f"-{page}"
    return faces_path.with_name(f"{faces_path.stem}{suffix}.png")


def draw_sheets(faces: Sequence[FoundFace], title: str) -> list[bytes]:
    """Draw all faces, each with its number, time, width and portraits.

    Args:
        faces: Of one film; there may be none.
        title: The film's name.

    Returns:
        The pages as PNG files, at least one.
    """
    size = _COLUMNS * _ROWS
    num_pages = max(1, math.ceil(len(faces) / size))
    pages = []
    for k in range(num_pages):
        many = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
        header = f"{title}: {many}" + (f", page {k + 1} of {num_pages}" if num_pages > 1 else "")
        sheet = _draw(faces[k * size : (k + 1) * size], header)
        pages.append(png_of(sheet))
    return pages


def _draw(faces: Sequence[FoundFace], header: str) -> RGBImage:
    columns = min(_COLUMNS, max(1, len(faces)))
    rows = math.ceil(len(faces) / columns)
    width = _MARGIN + columns * (_CELL_WIDTH + _MARGIN)
    height = _HEADER + rows * (_CELL_HEIGHT + _MARGIN) + (0 if rows else _MARGIN)
    sheet = np.full((height, max(width, 2 * _CELL_WIDTH), 3), BACKGROUND, np.uint8)
    write_text(sheet, header, (_MARGIN, 32), 0.7, BRIGHT)
    for face, (left, top) in zip(faces, _corners(columns), strict=False):
        seen = face.known.seen
        write_text(sheet, str(face.known.face_id), (left, top + 32), 1.1, BRIGHT)
        span = f"{clock_time(seen[0, 0])} - {clock_time(seen[-1, 0])}"
        text = f"{span}   {np.median(seen[:, 3]):.0f} px"
        write_text(
            sheet, text, (left + 24 * len(str(face.known.face_id)) + 12, top + 30), 0.55, SOFT
        )
        for k in range(_PORTRAITS):
            x = left + k * (PORTRAIT_SIZE + _GAP)
            area = sheet[top + _LABEL :, x:][:PORTRAIT_SIZE, :PORTRAIT_SIZE]
            area[:] = _lit(face.portraits[k].image()) if k < len(face.portraits) else _EMPTY
    return sheet


def _lit(image: RGBImage) -> RGBImage:
    """Brighten a face that sits in the dark, so that it can be recognised."""
    edge = PORTRAIT_SIZE // 4
    bright = float(np.quantile(image[edge:-edge, edge:-edge].mean(axis=2), 0.95))
    gain = np.clip(_WELL_LIT / max(bright, 1.0), 1, _MOST_LIGHT)
    return np.asarray(np.clip(image * gain, 0, 255), np.uint8)


def _corners(columns: int) -> Iterator[tuple[int, int]]:
    for k in range(columns * _ROWS):
        row, column = divmod(k, columns)
        yield (
            _MARGIN + column * (_CELL_WIDTH + _MARGIN),
            _HEADER + row * (_CELL_HEIGHT + _MARGIN),
        )
