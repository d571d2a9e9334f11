"""What sheets of pictures are drawn with: words, times, files."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from vidrestore.contracts import RGBImage
from vidrestore.errors import OutputError

Colour = tuple[int, int, int]

BACKGROUND = 24
"""Brightness of what lies behind the pictures."""
BRIGHT: Colour = (255, 255, 255)
SOFT: Colour = (190, 190, 190)


def write_text(
    sheet: RGBImage, text: str, at: tuple[int, int], scale: float, colour: Colour
) -> None:
    """Write a line into a picture; what the font does not have becomes a question mark.

    Args:
        sheet: Shape (H, W, 3), uint8 RGB; it is changed.
        text: The line.
        at: Left end of its base line, in pixels.
        scale: 1 is 21 pixels high.
        colour: R, G, B.
    """
    shown = text.encode("ascii", "replace").decode()
    thick = 2 if scale >= 0.7 else 1
    cv2.putText(sheet, shown, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thick, cv2.LINE_AA)


def as_clock(seconds: float) -> str:
    """Write a time as a player shows it.

    >>> as_clock(9), as_clock(75.4), as_clock(3675)
    ('0:09', '1:15', '1:01:15')
    """
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def clock_time(seconds: float) -> str:
    """Write a time as `as_clock` does, with tenths.

    >>> clock_time(3725.25)
    '1:02:05.2'
    """
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    end = f"{rest // 10:02}.{rest % 10}"
    return f"{hours}:{minutes:02}:{end}" if hours else f"{minutes}:{end}"


def png_of(image: RGBImage) -> bytes:
    """Code a picture, shape (H, W, 3), uint8 RGB, as PNG."""
    _, coded = cv2.imencode(".png", np.ascontiguousarray(image[:, :, ::-1]))
    return coded.tobytes()


def save_png(path: Path, image: RGBImage) -> None:
    """Write a picture as PNG, under another name until it is complete.

    Raises:
        OutputError: The disk is full, or the folder cannot be written to.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(png_of(image))
        draft.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
