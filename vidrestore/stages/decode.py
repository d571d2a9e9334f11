"""Stage 1: a film becomes frames. How decoding works is the media layer's affair."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from typing import Protocol

from vidrestore.contracts import Frame


class FilmInfo(Protocol):
    """What must be known of a film."""

    @property
    def origin(self) -> Fraction:
        """Container time at which the film begins, in seconds."""
        ...


class FrameSource(Protocol):
    """Whatever reads a film; see ``vidrestore.media.read.VideoReader``."""

    @property
    def info(self) -> FilmInfo:
        """Facts about the film."""
        ...

    def frames(self, start_seconds: Fraction | None = None) -> Generator[Frame, None, None]:
        """Decode from a moment to the end."""
        ...


def decode_frames(
    reader: FrameSource, start_seconds: Fraction | None, stop_seconds: Fraction | None
) -> Iterator[Frame]:
    """Yield the frames of a range, [start, stop), and decode no further.

    Args:
        reader: The open film.
        start_seconds: In seconds of the film; None: from its first frame.
        stop_seconds: In seconds of the film; None: to its last frame.

    Yields:
        Frames in the order they are shown.
    """
    with closing(reader.frames(start_seconds)) as frames:
        for frame in frames:
            if stop_seconds is not None:
                # exact, where Frame.seconds is rounded
                seconds = frame.pts * frame.time_base - reader.info.origin
                if seconds >= stop_seconds:
                    return
            yield frame
