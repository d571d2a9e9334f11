"""Does a film's picture hold one moment, or two, one in its even and one in its odd rows?

Flags lie both ways: grabbers deliver interlaced tapes flagged as progressive, and DVDs carry films
flagged as interlaced. So some pictures at several places of the film are looked at. Nothing is
changed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from itertools import islice
from typing import Literal, cast

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidrestore.media.filter_graph import FilterChain
from vidrestore.media.opening import (
    DAMAGE,
    Packets,
    limit_size,
    open_source,
    reading,
    require_film_stream,
)
from vidrestore.media.probe import SourceInfo

FieldOrder = Literal["top", "bottom"]
"""The rows that were recorded first."""

_FIELD_HEIGHTS = frozenset({480, 486, 512, 576, 608, 1080, 1088})
"""Rows of pictures made of two fields, with and without the lines of the vertical blanking."""
_PLACES = 5
_SD_PICTURES, _HD_PICTURES = 40, 24
"""Pictures looked at in one place; telecine repeats every five."""
_HD_HEIGHT = 720
_SQUEEZE = 8
"""Columns averaged into one: combing lies in rows, so this takes away only noise, and time."""

_FEWEST_VOTES = 6
_LEAST_MEASURED = 0.1
"""Share of all pictures that must be combed where no flag says so; coarse JPEG errs in a few."""
_MOST_CONTRARY = 0.1
"""Of the winner's votes, how many may be for the other order: real fields have one."""
_SHARE_UNFLAGGED, _SHARE_FLAGGED = 0.6, 0.25
"""Of the pictures that tell anything, how many must be combed."""
_LEAST_ODDS = 1.04
"""As idet's own threshold: rows must fit that much better on one side."""
_MOST_MISFIT = 0.84
"""Median of `_Rows.misfits`: real fields scored up to 0.79, false ones 0.88 to 1."""
_BLOCK = 8
"""Rows of a coded block; between blocks there are steps that are none of the film's."""
_CADENCE = 0.6
"""Correlation with the 3:2 pattern: film scored 0.63 to 1, also under heavy noise, video up to
0.53."""


class FieldKind(StrEnum):
    """What the pictures of a film are made of."""

    PROGRESSIVE = "progressive"
    """Each shows one moment."""
    INTERLACED = "interlaced"
    """Each shows two moments."""
    TELECINED = "telecined"
    """24 pictures a second spread over 60 fields: of five pictures two are mixed of neighbours."""


@dataclass(frozen=True, slots=True)
class FieldReport:
    """What a look at a film's pictures says about fields."""

    kind: FieldKind
    order: FieldOrder | None = None
    """The field that comes first, as measured; None for whole pictures, and where too little
    moved to tell."""
    flagged_share: float = 0.0
    """Share of the pictures whose flag says that they are interlaced, 0..1."""
    measured_share: float = 0.0
    """Share of the pictures that look interlaced with the more frequent order, 0..1."""
    repeated_share: float = 0.0
    """Share of the pictures of which one field is the same as in the picture before, 0..1."""
    num_pictures: int = 0
    """Pictures looked at; 0 where the height and the flag left nothing to ask."""

    @property
    def is_flagged(self) -> bool:
        """Most of the pictures are flagged as interlaced."""
        return self.flagged_share > 0.5


def measure_fields(info: SourceInfo) -> FieldReport:
    """Look at pictures spread over a film, with FFmpeg's ``idet`` filter.

    ``idet`` asks of every row whether it fits better between its neighbours in this picture or
    in the one before or after. On pictures made of coarse blocks it errs in both directions, so
    a film is called interlaced only if one order wins clearly, and by as much as fields do.
    Telecine looks interlaced to it; that is told by the fields that are repeated, in a pattern of
    five pictures.

    Args:
        info: The film, as `probe` describes it.

    Raises:
        MediaError: The file could not be read.
    """
    video = info.video
    if video.height not in _FIELD_HEIGHTS and not video.is_interlaced_flagged:
        return FieldReport(FieldKind.PROGRESSIVE)
    seen = _Seen()
    with reading(info.path), open_source(info.path) as container:
        stream = require_film_stream(container, info.path)
        stream.thread_type = "NONE"  # as for the film itself: damage looks the same each time
        limit_size(stream)
        try:
            for place, number in _places(info):
                if place and not _seek(container, stream, place):
                    break
                seen.look(islice(_pictures(container, stream), number), video.time_base)
        finally:
            stream.codec_context.flush_buffers()  # a half-read threaded decoder may hang
    return seen.report(has_field_height=video.height in _FIELD_HEIGHTS)


def _places(info: SourceInfo) -> list[tuple[Fraction, int]]:
    """Return where to look, in container time (0: the beginning), and at how many pictures."""
    number = _HD_PICTURES if info.video.height >= _HD_HEIGHT else _SD_PICTURES
    length = info.duration_seconds or Fraction(0)
    if length * info.video.nominal_rate < 3 * _PLACES * number:
        return [(Fraction(0), _PLACES * number)]
    return [
        (info.origin + length * n / _PLACES if n else Fraction(0), number) for n in range(_PLACES)
    ]


def _seek(container: InputContainer, stream: VideoStream, seconds: Fraction) -> bool:
    try:
        container.seek(int(seconds / cast(Fraction, stream.time_base)), stream=stream)
    except av.FFmpegError:  # raw streams have nothing to seek by
        return False
    return True


def _pictures(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    for packet in Packets(container, [stream]):
        try:
            pictures = cast("list[VideoFrame]", packet.decode())
        except DAMAGE:
            continue
        # what a decoder patches together from its neighbours says nothing
        yield from (picture for picture in pictures if not picture.is_corrupt)


@dataclass(slots=True)
class _Seen:
    """What the pictures looked at so far have said."""

    num_pictures: int = 0
    num_flagged: int = 0
    num_repeated: int = 0
    votes: Counter[str] = field(default_factory=Counter)
    """For each of idet's verdicts the pictures."""
    cadences: list[float] = field(default_factory=list)
    """How well each place follows the pattern of telecine."""
    misfits: list[float] = field(default_factory=list)
    """See `_Rows`."""

    def look(self, pictures: Iterator[VideoFrame], time_base: Fraction) -> None:
        """Take in some successive pictures."""
        chain: FilterChain | None = None
        rows = _Rows()
        for picture in pictures:
            self.num_pictures += 1
            self.num_flagged += picture.interlaced_frame
            if chain is None:
                width = max(picture.width // _SQUEEZE, min(picture.width, 64))
                squeeze = f"w={width}:h={picture.height}:flags=area"
                filters = [("scale", squeeze), ("format", "gray"), ("idet", "")]
                chain = FilterChain(picture, filters, time_base)
            if not chain.accepts(picture):
                break
            self._count(chain.push(picture), rows)
        if chain is not None:
            self._count(chain.finish(), rows)
        self.cadences.append(rows.cadence())
        self.misfits += rows.misfits

    def _count(self, judged: Iterator[VideoFrame], rows: _Rows) -> None:
        for picture in judged:
            said = picture.metadata
            self.votes[said["lavfi.idet.multiple.current_frame"]] += 1
            self.num_repeated += said["lavfi.idet.repeated.current_frame"] != "neither"
            rows.add(picture.to_ndarray())

    def report(self, *, has_field_height: bool) -> FieldReport:
        """Decide."""
        total = max(1, self.num_pictures)
        top, bottom = self.votes["tff"], self.votes["bff"]
        winner, loser = max(top, bottom), min(top, bottom)
        is_flagged = self.num_flagged > total / 2
        decided = winner + loser + self.votes["progressive"]
        is_combed = (
            winner >= min(_FEWEST_VOTES, total / 2)
            and (is_flagged or winner >= _LEAST_MEASURED * total)
            and loser <= _MOST_CONTRARY * winner
            and winner >= (_SHARE_FLAGGED if is_flagged else _SHARE_UNFLAGGED) * decided
            and (is_flagged or has_field_height)
            and len(self.misfits) >= winner / 3  # idet's votes linger after their cause
            and float(np.median(self.misfits or [1.0])) <= _MOST_MISFIT
        )
        # nearly nothing moved: the flag is all there is, and then costs nothing if it lies
        is_still = is_flagged and has_field_height and decided < _FEWEST_VOTES
        kind = FieldKind.PROGRESSIVE
        if is_combed and float(np.median(self.cadences)) >= _CADENCE:
            kind = FieldKind.TELECINED
        elif is_combed or is_still:
            kind = FieldKind.INTERLACED
        order: FieldOrder = "top" if top > bottom else "bottom"
        return FieldReport(
            kind=kind,
            order=order if is_combed else None,
            flagged_share=self.num_flagged / total,
            measured_share=winner / total,
            repeated_share=self.num_repeated / total,
            num_pictures=self.num_pictures,
        )


class _Rows:
    """Compares rows of successive pictures, where idet's verdict is not enough."""

    def __init__(self) -> None:
        self._last: list[npt.NDArray[np.int16]] = []
        self._balance: list[float] = []
        self.misfits: list[float] = []
        """For each picture that favours an order of fields: how much worse its rows fit between
        rows one field apart than between each other, over the same for three fields apart. Near
        0 for real fields, near 1 where coarse coding makes whole pictures look like fields."""

    def add(self, luma: npt.NDArray[np.generic]) -> None:
        """Take in the next picture, shape (h, w)."""
        self._last = [*self._last[-2:], luma.astype(np.int16)]
        if len(self._last) > 1:
            change = np.abs(self._last[-1] - self._last[-2]).mean(axis=1)
            top, bottom = float(change[0::2].mean()), float(change[1::2].mean())
            self._balance.append((top - bottom) / (top + bottom or 1.0))
        if len(self._last) == 3:
            self._compare(*self._last)

    def _compare(
        self,
        before: npt.NDArray[np.int16],
        current: npt.NDArray[np.int16],
        after: npt.NDArray[np.int16],
    ) -> None:
        around = current[:-2] + current[2:]
        fits = [np.abs(around - 2 * p[1:-1]).mean(axis=1) for p in (before, current, after)]
        early, own, late = fits
        row = np.arange(1, current.shape[0] - 1)
        is_inner = (row % _BLOCK != 0) & (row % _BLOCK != _BLOCK - 1)
        odd, even = is_inner & (row % 2 == 1), is_inner & (row % 2 == 0)
        one = float(early[odd].mean() + late[even].mean())
        other = float(early[even].mean() + late[odd].mean())
        near, far = min(one, other), max(one, other)
        inside = float(own[odd].mean() + own[even].mean())
        if far > _LEAST_ODDS * near and far > inside:
            self.misfits.append((near - inside) / (far - inside))

    def cadence(self) -> float:
        """Return the best correlation with a pattern of 3:2 telecine, 0..1.

        Ten fields of telecined film show four pictures: A A B B B C C D D D. Woven into five
        pictures (AA BB BC CD DD), the top field of one and the bottom field of another are those
        of the picture before, always at the same places of five.
        """
        balance = np.asarray(self._balance)
        at = np.arange(balance.size) % 5
        best = 0.0
        for phase in range(5):
            for apart in (2, 3):  # from a repeated top to the next repeated bottom
                pattern = (at == phase).astype(float) - (at == (phase + apart) % 5)
                norm = float(np.linalg.norm(balance) * np.linalg.norm(pattern))
                if norm:
                    best = max(best, float(balance @ pattern) / norm)
        return best
