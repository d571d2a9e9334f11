"""Timestamps that a damaged file has wrong are taken away, before anyone believes them.

One flipped bit can put a picture hours ahead of its neighbours. A packet whose time leaves the line
of its track is held back, with all that come behind it, until the next packets of the track show
what is true: if they return to the line the packet was damaged, and goes on without a time, for the
clocks to fill in; if they go on from there the jump is real and stays.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.index import IndexEntries
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from vidrestore.media.length import stated_end
from vidrestore.media.opening import NOT_A_FILM, Packets
from vidrestore.media.timeline import ENOUGH, FORWARD, Timeline

_BACKWARD = 1.0
"""Seconds that times may run back: pictures are stored in the order of decoding."""
_BACKWARD_AT_FIRST = 60.0
"""The same where the usual distance of pictures is not known yet: they may be slides."""
_REORDERED = 17
"""Packets back on the line after which no more can come from behind a jump: 16 is the most that a
decoder puts into another order."""
_SURE_SECONDS = 10.0
"""A jump forward that lasts that long is real; a damaged cluster of Matroska spoils up to 5 s."""
_USUAL_STEPS = 8
"""A picture may come so many usual distances after the one before."""
_MOST_BYTES_HELD = 32_000_000
_MOST_HELD = 2_000
_AVI_HEADER = 8
"""Bytes between a packet's place in the index and its data."""
_COUNTED_TIMES = ("mov,mp4,m4a,3gp,3g2,mj2", "avi", "dv")
"""Containers that count lengths or pictures: no packet has a time of its own to be damaged."""


@dataclass(slots=True)
class _Line:
    """The times of one track."""

    latest: float | None = None
    """Latest time believed, in seconds."""
    suspects: list[tuple[Packet[Stream], float]] = field(default_factory=list)
    """Packets off the line whose times agree with each other."""
    outcasts: list[Packet[Stream]] = field(default_factory=list)
    """Packets off the line whose times agree with nothing."""
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_REORDERED))
    """Latest times as they were believed, for as far as pictures may be out of order."""
    _num_back: int = 0
    """Packets on the line since the last that was not."""

    @property
    def is_open(self) -> bool:
        """It is not yet known what is true."""
        return bool(self.suspects)

    def judge(self, packet: Packet[Stream], seconds: float) -> int:
        """Take the next packet; return how many times were taken away."""
        if self.latest is not None and self._fits(seconds):
            self._advance(seconds)
            self._num_back += 1
            if not self.suspects or self._num_back < _REORDERED:
                return 0
            # those that the line has passed since stood before a pause, in good order
            self.suspects = [(p, s) for p, s in self.suspects if s > self.latest]
            return self._take_away()
        self._num_back = 0
        back = _BACKWARD if self.latest is not None else _BACKWARD_AT_FIRST
        while self.suspects and self.suspects[-1][1] > seconds + back:
            self.outcasts.append(self.suspects.pop()[0])
        self.suspects.append((packet, seconds))
        return self.believe() if self._is_sure() else 0

    def _fits(self, seconds: float) -> bool:
        assert self.latest is not None
        ahead = 2 * _SURE_SECONDS if self.suspects else FORWARD
        first, num_steps = self._recent[0], len(self._recent) - 1
        if num_steps:  # slides come slowly, and so do pictures that are stored out of order
            ahead = max(ahead, _USUAL_STEPS * (self.latest - first) / num_steps)
        return min(self.latest - _BACKWARD, first) <= seconds <= self.latest + ahead

    def _advance(self, seconds: float) -> None:
        self.latest = seconds if self.latest is None else max(self.latest, seconds)
        self._recent.append(self.latest)

    def _is_sure(self) -> bool:
        """Tell whether the suspects have been going on for long enough."""
        times = [seconds for _, seconds in self.suspects]
        if len(times) < ENOUGH:
            return False
        if self.latest is not None and times[0] > self.latest:
            return times[-1] - times[0] >= _SURE_SECONDS
        return times[-1] - times[-2] <= FORWARD or len(times) >= 2 * ENOUGH

    def believe(self) -> int:
        """Take the suspects for true, and the outcasts before them for damage."""
        self.latest = None
        self._recent.clear()
        for _, seconds in self.suspects:
            self._advance(seconds)
        self.suspects = []
        return self._take_away()

    def end(self, stated_end: float | None) -> int:
        """Decide what is left undecided at the end of the file."""
        if not self.suspects:
            return 0
        is_stated = stated_end is not None and self.suspects[-1][1] <= stated_end + _BACKWARD
        if self.latest is None or len(self.suspects) >= ENOUGH or is_stated:
            return self.believe()
        return self._take_away()

    def _take_away(self) -> int:
        """Take the times of suspects and outcasts away."""
        packets = [*self.outcasts, *(packet for packet, _ in self.suspects)]
        for packet in packets:
            packet.pts = packet.dts = None
        self.suspects, self.outcasts = [], []
        return len(packets)


class MendedPackets:
    """The packets of some tracks on the film's time line, without times that cannot be true."""

    def __init__(
        self, container: InputContainer, streams: Sequence[Stream], timeline: Timeline
    ) -> None:
        """Read ``streams``, from the start or from where the container was sent.

        Args:
            container: The open film.
            streams: Those of its tracks that are wanted.
            timeline: How time goes on in it. If there are joints reading must begin at the start.
        """
        self._source = Packets(container, streams)
        self._packets = timeline.carry(self._source)
        name = container.format.name
        if name == "avi":
            self._packets = _times_by_index(self._packets)
        self._is_needed = name not in _COUNTED_TIMES
        end = timeline.end or stated_end(container)
        self._stated_end = None if end is None else float(end)
        self._lines: dict[int, _Line] = {}
        self.num_mended = 0
        """How many packets had an impossible time."""

    @property
    def is_broken(self) -> bool:
        """The end was not the end of the file."""
        return self._source.is_broken

    def __iter__(self) -> Iterator[Packet[Stream]]:
        if not self._is_needed:
            yield from self._packets
            return
        held: list[Packet[Stream]] = []
        num_bytes = 0
        for packet in self._packets:
            self._judge(packet)
            held.append(packet)
            num_bytes += packet.size
            is_full = num_bytes > _MOST_BYTES_HELD or len(held) > _MOST_HELD
            if is_full:
                self._give_up()
            if is_full or not any(line.is_open for line in self._lines.values()):
                yield from held
                held, num_bytes = [], 0
        self.num_mended += sum(line.end(self._stated_end) for line in self._lines.values())
        yield from held

    def _judge(self, packet: Packet[Stream]) -> None:
        if not packet.size or not _is_steady(packet.stream):
            return
        units = packet.pts if packet.pts is not None else packet.dts
        if units is not None:
            line = self._lines.setdefault(packet.stream.index, _Line())
            self.num_mended += line.judge(packet, units * float(packet.time_base))

    def _give_up(self) -> None:
        for line in self._lines.values():
            if line.is_open:
                self.num_mended += line.believe()


def _times_by_index(packets: Iterable[Packet[Stream]]) -> Iterator[Packet[Stream]]:
    """Give pictures of AVI the times of its index.

    AVI stores no times: packets are counted, and whoever reads past a damaged one counts less. Of
    sound the index counts bytes, which need not be the units of its packets.
    """
    places: dict[int, int] = {}
    shifts: dict[int, int] = {}
    for packet in packets:
        is_picture = isinstance(packet.stream, VideoStream) and packet.size
        if is_picture and packet.dts is not None and packet.pos is not None:
            track, entries = packet.stream.index, packet.stream.index_entries
            place = _find(entries, packet.pos - _AVI_HEADER, places.get(track, 0))
            if place is not None:
                places[track] = place + 1
                shifts[track] = entries[place].timestamp - packet.dts
            shift = shifts.get(track, 0)
            packet.dts += shift
            if packet.pts is not None:
                packet.pts += shift
        yield packet


def _find(entries: IndexEntries, position: int, guess: int) -> int | None:
    """Return the number of the entry at a position of the file."""
    if guess < len(entries) and entries[guess].pos == position:
        return guess
    place = bisect_left(_Positions(entries), position)
    return place if place < len(entries) and entries[place].pos == position else None


class _Positions:
    """Where in the file the entries of an index point to, for ``bisect``."""

    def __init__(self, entries: IndexEntries) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, number: int) -> int:
        return self._entries[number].pos


def _is_steady(stream: Stream) -> bool:
    """Tell whether packets follow each other closely; subtitles come when they come."""
    if isinstance(stream, VideoStream):
        return not stream.disposition & NOT_A_FILM
    return isinstance(stream, AudioStream)
