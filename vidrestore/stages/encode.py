"""Stage 9: finished frames become a film. How encoding works is the media layer's affair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from vidrestore.contracts import BlendedFrame, Frame


class FrameSink(Protocol):
    """Whatever writes a film; see ``vidrestore.media.write.VideoWriter``."""

    def write(self, frame: Frame) -> None:
        """Write the next frame."""
        ...


def encode_frames(frames: Iterator[BlendedFrame], writer: FrameSink) -> Iterator[BlendedFrame]:
    """Write each finished frame, then pass it on to whoever counts and reports.

    Args:
        frames: Finished frames in order.
        writer: The film to be; who opened it completes it.

    Yields:
        The same frames, each when it has been written.
    """
    for item in frames:
        writer.write(item.frame)
        yield item
