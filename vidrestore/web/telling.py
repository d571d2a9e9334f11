"""Turns errors meant for people into messages on the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from vidrestore.errors import VidrestoreError


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
