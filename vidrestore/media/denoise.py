"""Noise is averaged away over neighbouring pictures, with FFmpeg's atadenoise filter.

It averages each sample with the same sample of the pictures before and after, outwards until one
differs by more than a threshold: what stands still gets clean, what moves or is cut away is left as
it is. It takes every depth, and a fiftieth of the time of FFmpeg's nlmeans, which was compared with
it (``benchmarks/bench_background.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from av.video.frame import VideoFrame

from vidrestore.media.deinterlace import ShownPicture
from vidrestore.media.filter_graph import FilterChain

REACH = 4
"""Pictures to each side that have a part in one."""
_THRESHOLD = 0.09
"""Greatest difference, as a share of the full scale, that is taken for noise at full strength."""
_THRESHOLD_OF_SUM = 2
"""The same for the sum of the differences towards one side, in units of that for one."""


class DenoisedPicture(NamedTuple):
    """A picture, and the same with its noise taken off; None if that was not asked for."""

    shown: ShownPicture
    cleaned: VideoFrame | None


class Denoiser:
    """Takes the noise off a film's pictures, which come in order. One thread only.

    ``REACH`` pictures are held back. Where the shape or format of the pictures changes, the filter
    begins anew; at its ends it repeats the first and last picture.
    """

    def __init__(self, amount: float, time_base: Fraction) -> None:
        """Start anew.

        Args:
            amount: Above 0, up to 1.
            time_base: Of the film.
        """
        each = _THRESHOLD * amount
        options = [f"{k}a={each:.4f}:{k}b={_THRESHOLD_OF_SUM * each:.4f}" for k in range(3)]
        self._filter = ("atadenoise", ":".join([*options, f"s={2 * REACH + 1}", "a=s"]))
        self._time_base = time_base
        self._chain: FilterChain | None = None
        self._waiting: deque[ShownPicture] = deque()
        """Pictures that are in the filter."""

    def push(self, shown: ShownPicture) -> Iterator[DenoisedPicture]:
        """Take the next picture, and yield those that are finished."""
        if self._chain is not None and not self._chain.accepts(shown.picture):
            yield from self.finish()
        if self._chain is None:
            self._chain = self._new_chain(shown.picture)
        self._waiting.append(shown)
        for cleaned in self._chain.push(shown.picture):
            yield self._finished(cleaned)

    def finish(self) -> Iterator[DenoisedPicture]:
        """Yield what is left."""
        if self._chain is not None:
            for cleaned in self._chain.finish():
                yield self._finished(cleaned)
            self._chain = None

    def _new_chain(self, picture: VideoFrame) -> FilterChain:
        filters = [self._filter]
        if picture.format.name.startswith("ya"):
            # left to itself FFmpeg would make RGB of gray with an alpha plane
            gray = "gray" if picture.format.components[0].bits == 8 else "gray16le"
            filters.insert(0, ("format", gray))
        return FilterChain(picture, filters, self._time_base)

    def _finished(self, cleaned: VideoFrame) -> DenoisedPicture:
        shown = self._waiting.popleft()
        stored = shown.picture
        # on the way to planes FFmpeg forgets the tags of packed and gray pictures
        cleaned.colorspace, cleaned.color_range = stored.colorspace, stored.color_range
        return DenoisedPicture(shown, cleaned)
