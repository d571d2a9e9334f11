"""When things happen: exact, increasing times from containers that are often vague.

Three clocks, for decoded pictures, for packets that are copied, and for decoded sound, and one rule
they share: where timestamps start anew time goes on. That is a last resort, for each track by
itself: in containers where recordings may simply follow one another, ``timeline.py`` has brought
all tracks onto one time line before.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from av.audio.frame import AudioFrame
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

T = TypeVar("T", int, Fraction)


class _Splice(Generic[T]):
    """Adds what is lost when timestamps start anew."""

    def __init__(self, zero: T, tolerance: T) -> None:
        """Steps back by up to ``tolerance`` are left for others to judge."""
        self._offset: T = zero
        self._tolerance: T = tolerance
        self.count = 0

    def mend(self, time: T, last: T | None, length: T) -> T:
        """Return ``time`` so that it does not fall far behind ``last``, which lasted ``length``."""
        time = time + self._offset
        if last is not None and time < last - self._tolerance:
            self._offset += last + length - time
            self.count += 1
            return last + length
        return time


class PictureClock:
    """Gives every decoded picture a strictly increasing timestamp.

    Old containers leave out presentation times or contradict themselves. A time that does not grow
    is moved to half a picture behind the one before. Nothing else is remembered of the past, so
    that the times do not depend on where reading began; FFmpeg's best-effort timestamp, which
    counts faults through the whole film, does.
    """

    def __init__(self, rate: Fraction, time_base: Fraction) -> None:
        """Expect about ``rate`` pictures a second, in a clock of ``time_base`` seconds."""
        self.step = max(1, round(1 / (rate * time_base)))
        """Length of the latest picture in units of the time base, as far as is known."""
        self._splice = _Splice(0, max(1, round(1 / time_base)))
        self._last: int | None = None

    @property
    def num_restarts(self) -> int:
        """How often the timestamps started anew."""
        return self._splice.count

    def time_of(self, picture: VideoFrame) -> int:
        """Return the time of the next picture, in units of the time base."""
        time = picture.pts if picture.pts is not None else picture.dts
        if time is None:
            time = 0 if self._last is None else self._last + self.step
        else:
            time = self._splice.mend(time, self._last, self.step)
        if self._last is not None and time <= self._last:
            time = self._last + max(1, self.step // 2)
        self._last, self.step = time, picture.duration or self.step
        return time


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the source that is wanted, and where it lies in the output."""

    shift: Fraction
    """Source time, in seconds, that becomes 0."""
    has_start: bool
    """Sound that is over before 0 is left out; False: the whole beginning is kept, also the
    packets before 0 that a decoder needs to settle."""
    length: Fraction | None
    """Sound from this output time on is left out; None: to the end."""
    hides_start: bool
    """The output can hide the part of a packet that lies before 0 (edit lists of MP4 and MOV);
    elsewhere such a packet would delay the pictures, so it is left out."""

    def overlaps(self, begin: Fraction, end: Fraction) -> bool:
        """Tell whether a part of ``begin`` to ``end`` (output time) belongs to it."""
        if self.has_start and end <= 0:
            return False
        return self.length is None or begin < self.length

    def holds(self, begin: Fraction, end: Fraction) -> bool:
        """Tell whether a packet that lasts from ``begin`` to ``end`` is written."""
        is_cut = self.has_start and begin < 0
        return self.overlaps(begin, end) and (self.hides_start or not is_cut)


class PacketClock:
    """Tells when the packets of one track begin and how long they last, in output time."""

    def __init__(self, shift: Fraction, *, is_sound: bool) -> None:
        """Subtract ``shift`` from every time.

        Args:
            shift: Source time, in seconds, that becomes 0.
            is_sound: A packet without length lasts as long as the one before; in a track that is
                not sound it stays without.
        """
        self._shift, self._is_sound = shift, is_sound
        self._splice = _Splice(Fraction(0), Fraction(1))
        self._last: Fraction | None = None
        self._length = Fraction(0)

    def when(self, packet: Packet[Stream]) -> tuple[Fraction, Fraction]:
        """Return begin and length of the next packet, in seconds."""
        moment = packet.pts if packet.pts is not None else packet.dts
        if moment is not None:
            begin = moment * packet.time_base - self._shift
            begin = self._splice.mend(begin, self._last, self._length)
        else:
            begin = Fraction(0) if self._last is None else self._last + self._length
        if packet.duration:
            self._length = packet.duration * packet.time_base
        elif self._is_sound and self._last is not None:
            # MP4 would cut off a last packet without length
            self._length = max(Fraction(0), begin - self._last)
        self._last = begin
        return begin, self._length


class SoundClock:
    """Tells when decoded sound begins, in output time."""

    def __init__(self, shift: Fraction) -> None:
        """Subtract ``shift``, source time in seconds that becomes 0, from every time."""
        self._shift = shift
        self._splice = _Splice(Fraction(0), Fraction(1))
        self._end: Fraction | None = None

    def when(self, frame: AudioFrame) -> tuple[Fraction, Fraction]:
        """Return begin and end of the next frame, in seconds."""
        if frame.pts is not None and frame.time_base is not None:
            begin = frame.pts * frame.time_base - self._shift
            begin = self._splice.mend(begin, self._end, Fraction(0))
        else:  # the last frame of a WMA track has no time of its own
            begin = self._end if self._end is not None else Fraction(0)
        self._end = begin + Fraction(frame.samples, frame.sample_rate)
        return begin, self._end
