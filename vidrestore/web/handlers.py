"""What the handlers of both tabs share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from vidrestore.errors import VidrestoreError

ASK_SECONDS = 1.0
"""The page asks so often for what has changed."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""For each event: nothing is covered while it is handled, and no other program may send it."""


@contextmanager
def telling() -> Iterator[None]:
    """Show an error of the program's own on the page instead of a traceback in the terminal."""
    try:
        yield
    except VidrestoreError as error:
        text = " ".join(str(error).split())
        raise gr.Error(
            text[:1].upper() + text[1:], title="This cannot be done", print_exception=False
        ) from error


def open_picture(path: Path) -> Image.Image:
    """Read a picture that a task has made, for Gradio to show."""
    with Image.open(path) as image:
        return image.convert("RGB")
