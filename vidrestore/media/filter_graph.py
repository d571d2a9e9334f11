"""A chain of FFmpeg filters for pictures of one shape, format and colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame


class FilterChain:
    """Pictures in, pictures out, in order; filters may hold some of them back.

    A chain takes pictures of one kind only: filters fail, or read past the edges, when the shape
    changes under them. Ask `accepts`, and make a new chain where it says no.
    """

    def __init__(
        self, first: VideoFrame, filters: Sequence[tuple[str, str]], time_base: Fraction
    ) -> None:
        """Build the chain for pictures like ``first``.

        Args:
            first: A picture of the kind that will be pushed; it is not pushed here.
            filters: Names of filters and their options, as FFmpeg writes them.
            time_base: Seconds for each unit of the pictures' timestamps.

        Raises:
            av.FFmpegError: A filter does not take such pictures.
        """
        self._kind = _kind_of(first)
        self._graph = Graph()  # kept: FFmpeg's filter contexts die with it
        self._graph.threads = 1
        nodes = [
            # Graph.add_buffer would say nothing of the colours, and some filters then guess
            self._graph.add(
                "buffer",
                video_size=f"{first.width}x{first.height}",
                pix_fmt=first.format.name,
                time_base=f"{time_base.numerator}/{time_base.denominator}",
                colorspace=str(first.colorspace),
                range=str(first.color_range),
            ),
            *(self._graph.add(name, options) for name, options in filters),
            self._graph.add("buffersink"),
        ]
        self._graph.link_nodes(*nodes).configure()

    def accepts(self, picture: VideoFrame) -> bool:
        """Tell whether a picture is of the kind that the chain was built for."""
        return _kind_of(picture) == self._kind

    def push(self, picture: VideoFrame) -> Iterator[VideoFrame]:
        """Put a picture in, and yield what comes out."""
        self._graph.vpush(picture)
        yield from self._pull()

    def finish(self) -> Iterator[VideoFrame]:
        """Yield what is still inside; nothing can be pushed after that."""
        self._graph.vpush(None)
        yield from self._pull()

    def _pull(self) -> Iterator[VideoFrame]:
        while True:
            try:
                picture = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):  # nothing yet; nothing more
                return
            yield picture


def _kind_of(picture: VideoFrame) -> tuple[int, int, str, int, int]:
    return (
        picture.width,
        picture.height,
        picture.format.name,
        picture.colorspace,
        picture.color_range,
    )
