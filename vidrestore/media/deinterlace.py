"""Pictures that hold two moments become whole pictures, with FFmpeg's bwdif filter.

bwdif keeps the rows of one field and builds those between them from rows and pictures around.
Whether a film needs that is measured in ``fields.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from av.video.frame import VideoFrame

from vidrestore.media.fields import FieldKind, FieldOrder, FieldReport
from vidrestore.media.filter_graph import FilterChain
from vidrestore.media.probe import SourceInfo, VideoTrack
from vidrestore.settings import Deinterlace, ReadSettings

NEIGHBOURS = 2
"""Pictures before the first wanted one without which it would come out otherwise: the one that
bwdif looks at, and the one whose second field may be the first picture wanted."""
_LONGEST_PAUSE = 2
"""In usual pictures: after a longer gap nothing can be said of a second field in its middle."""


class ShownPicture(NamedTuple):
    """A picture as it is delivered."""

    time: int
    """In units of the delivered film's time base."""
    picture: VideoFrame
    duration: int
    """As the decoder gave it, in units of ``time``; 0 if unknown."""
    is_key: bool
    is_corrupt: bool


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """How the pictures of a film are deinterlaced."""

    order: FieldOrder | None
    """None: as each picture is flagged, and the top field first where none is."""
    both: bool
    """Each field becomes a picture, at twice the rate; else each pair of fields does."""

    def delivered(self, source: SourceInfo) -> SourceInfo:
        """Describe the film that comes out."""
        if not self.both:
            return source
        video, number = source.video, source.video.num_frames_estimate
        return replace(
            source,
            video=replace(
                video,
                nominal_rate=video.nominal_rate * 2,
                time_base=video.time_base / 2,
                num_frames_estimate=None if number is None else number * 2,
            ),
        )

    def times(self, times: Iterable[int], usual: int) -> list[int]:
        """Return when the delivered pictures are shown, from when the stored ones are.

        Args:
            times: Increasing, in units of the stored film's time base.
            usual: Length of a picture, in the same units.
        """
        stored = list(times)
        if not self.both:
            return stored
        return [
            time
            for first, after in zip(stored, [*stored[1:], None], strict=True)
            for time in (2 * first, _second_time(first, after, usual))
        ]


def plan_fields(
    settings: ReadSettings, report: FieldReport | None, video: VideoTrack
) -> tuple[FieldPlan | None, list[str]]:
    """Decide whether and how to deinterlace.

    Args:
        settings: What the user wants.
        report: What was measured; needed unless the user wants the film as it is.
        video: The pictures as stored.

    Returns:
        The plan, None for a film that is left alone; and a sentence for each decision that the
        user did not make.
    """
    if report is None or settings.deinterlace is Deinterlace.OFF:
        kept = "the film is flagged as interlaced: its lines are kept as asked, but the flag is not"
        return None, [kept] if video.is_interlaced_flagged else []
    plan = FieldPlan(report.order, settings.fields)
    each = (
        f", each field a picture ({float(2 * video.nominal_rate):.4g} a second)"
        if settings.fields
        else ""
    )
    is_forced = settings.deinterlace is Deinterlace.ON
    escape = "" if is_forced else "; --deinterlace off keeps its lines"
    if report.kind is FieldKind.INTERLACED:
        return plan, [f"the film is interlaced ({_evidence(report)}): deinterlaced{each}{escape}"]
    looks = "its pictures are whole"
    if report.kind is FieldKind.TELECINED:
        looks = "it is telecined (film, each picture spread over two or three fields)"
    if is_forced:
        return plan, [f"{looks}, as far as measured, but deinterlaced as asked{each}"]
    notes = []
    if report.kind is FieldKind.TELECINED:
        notes.append(f"the film is left as it is: {looks}")
    elif report.is_flagged:
        notes.append(f"the film is flagged as interlaced, but {looks}: left alone")
    if settings.fields:
        notes.append(f"--fields has no effect: {looks}")
    return None, notes


def _evidence(report: FieldReport) -> str:
    flag = "flagged" if report.is_flagged else "not flagged"
    if report.order is None:
        return f"{flag}; too little moves in it to measure"
    share = f"{report.measured_share:.0%} of the pictures"
    return f"{report.order} field first, measured in {share}; {flag}"


class Deinterlacer:
    """Makes whole pictures of a film's pictures, which come in order. One thread only.

    ``bwdif`` holds back one picture. Nothing is asked of it about time: where pictures are missing
    it would put a second field into the middle of the gap.
    """

    def __init__(self, plan: FieldPlan, time_base: Fraction, usual: int) -> None:
        """Start anew.

        Args:
            plan: How.
            time_base: Of the stored film.
            usual: Length of a picture in units of ``time_base``.
        """
        self._plan, self._time_base, self._usual = plan, time_base, usual
        self._chain: FilterChain | None = None
        self._waiting: deque[tuple[int, VideoFrame]] = deque()
        """Pictures that are in the filter."""
        self._half: VideoFrame | None = None
        """The first of two pictures, when the second is not there yet."""

    def push(self, time: int, picture: VideoFrame) -> Iterator[ShownPicture]:
        """Take the next picture, shown at ``time``, and yield those that are finished."""
        if self._chain is not None and not self._chain.accepts(picture):
            yield from self._empty(time)
        if self._chain is None:
            self._chain = self._new_chain(picture)
        self._waiting.append((time, picture))
        for whole in self._chain.push(picture):
            yield from self._shown(whole, time)

    def finish(self) -> Iterator[ShownPicture]:
        """Yield what is left."""
        yield from self._empty(None)

    def _empty(self, after: int | None) -> Iterator[ShownPicture]:
        if self._chain is not None:
            for whole in self._chain.finish():
                yield from self._shown(whole, after)
            self._chain = None

    def _new_chain(self, picture: VideoFrame) -> FilterChain:
        filters = []
        if picture.format.name.startswith(("gray", "ya")):
            # left to itself FFmpeg would make RGB of some of them
            gray = "gray" if picture.format.components[0].bits == 8 else "gray16le"
            filters.append(("format", gray))
        mode = "send_field" if self._plan.both else "send_frame"
        parity = {None: "auto", "top": "tff", "bottom": "bff"}[self._plan.order]
        filters.append(("bwdif", f"mode={mode}:parity={parity}:deint=all"))
        return FilterChain(picture, filters, self._time_base)

    def _shown(self, whole: VideoFrame, after: int | None) -> Iterator[ShownPicture]:
        """Give a picture from the filter its time; the next one is shown ``after``."""
        stored = self._waiting[0][1]
        if whole.format.name != stored.format.name:
            # on the way to planes FFmpeg forgets the tags of packed and gray pictures
            whole.colorspace, whole.color_range = stored.colorspace, stored.color_range
            whole.color_primaries, whole.color_trc = stored.color_primaries, stored.color_trc
        if self._plan.both and self._half is None:
            self._half = whole
            return
        time, _ = self._waiting.popleft()
        after = self._waiting[0][0] if self._waiting else after
        facts = (stored.duration or 0, stored.key_frame, stored.is_corrupt)
        if self._half is None:
            yield ShownPicture(time, whole, *facts)
            return
        first, self._half = self._half, None
        yield ShownPicture(2 * time, first, *facts)
        second = _second_time(time, after, self._usual)
        yield ShownPicture(second, whole, facts[0], False, stored.is_corrupt)


def _second_time(time: int, after: int | None, usual: int) -> int:
    """Return when a second field is shown, in half units: halfway to the next picture."""
    length = usual if after is None or after - time > _LONGEST_PAUSE * usual else after - time
    return 2 * time + length
