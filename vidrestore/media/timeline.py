"""One time line for all tracks of a file, also where recordings were joined end to end.

Camera cards, DVDs and captures of broadcasts are often several recordings one behind the other, and
the clock of each starts anew. Every track sees that at another packet. A scan of all packets,
without decoding any, finds the joints and what has to be added behind each, the same for all
tracks, so that picture and sound keep their distance. Only containers that can be joined so are
scanned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from vidrestore.media.opening import NOT_A_FILM, Packets

BACKWARD, FORWARD = 0.5, 10.0
"""Seconds that a clock of decoding may run back or ahead without being suspected; FFmpeg's program
uses the same 10 s."""
ENOUGH = 3
"""So many times in a row that agree with each other are no damage."""


@dataclass(frozen=True, slots=True)
class Joint:
    """A place at which a track's clock starts anew."""

    packet: int
    """Number of the track's first packet behind it, counted from 0 at the start of the file."""
    offset: Fraction
    """Seconds to be added to the times of that packet and all that follow."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """How time goes on in a file; as it is stored if there was nothing to scan."""

    joints: Mapping[int, tuple[Joint, ...]] = field(default_factory=dict)
    """For each track those where its clock starts anew."""
    num_joints: int = 0
    """How many recordings were joined to the first."""
    end: Fraction | None = None
    """When the last picture or sound is over; None if nothing was scanned."""
    num_pictures: int | None = None
    """How many packets the film's pictures have; None if nothing was scanned."""

    @property
    def can_seek(self) -> bool:
        """Times in the file lead to one place each; else it must be read from its start."""
        return self.num_joints == 0

    def carry(self, packets: Iterable[Packet[Stream]]) -> Iterator[Packet[Stream]]:
        """Give packets, read from the start of the file, their place on the time line."""
        if not self.joints:
            yield from packets
            return
        waiting = {index: list(joints) for index, joints in self.joints.items()}
        counts = dict.fromkeys(waiting, 0)
        offsets: dict[int, Fraction] = {}
        for packet in packets:
            index = packet.stream.index
            if packet.size and index in waiting:
                while waiting[index] and counts[index] >= waiting[index][0].packet:
                    offsets[index] = waiting[index].pop(0).offset
                counts[index] += 1
                if index in offsets:
                    _delay(packet, offsets[index])
            yield packet


def _delay(packet: Packet[Stream], seconds: Fraction) -> None:
    units = round(seconds / packet.time_base)
    if packet.pts is not None:
        packet.pts += units
    if packet.dts is not None:
        packet.dts += units


def can_start_anew(container: InputContainer) -> bool:
    """Tell whether recordings in this container may simply follow one another."""
    return bool(container.format.flags & cast(int, Flags.ts_discont.value))


def scan(container: InputContainer, film_index: int) -> Timeline:
    """Read all packets of a freshly opened container and find where its clock starts anew."""
    scanner = _Scanner(container)
    for packet in Packets(container, list(container.streams)):
        if packet.size:
            scanner.see(packet)
    return scanner.timeline(film_index)


_LONGEST_PAUSE = 3600.0
"""A track that is silent for up to so many seconds pauses; beyond, another recording begins."""


@dataclass(slots=True)
class _Time:
    """The time of one packet."""

    packet: int
    units: int
    """When it is shown or heard, in units of the track's clock."""
    length: int
    seconds: float
    """When it is decoded."""


@dataclass(slots=True)
class _Track:
    """What is known of one track so far."""

    base: Fraction
    usual_length: int
    leads: bool
    """Sound or pictures: its clock counts. Other tracks follow."""
    num_packets: int = 0
    epoch: int = 0
    latest: float | None = None
    """Latest time believed, in seconds of the present epoch's clock."""
    suspects: list[_Time] = field(default_factory=list)
    """Times off the line, in a row that agrees with itself."""
    firsts: list[tuple[int, int]] = field(default_factory=list)
    """Each epoch that was entered, and the packet that did."""
    extents: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Begin and end within each epoch, in units of the track's clock."""


class _Scanner:
    """Follows the clocks of all tracks through the file."""

    def __init__(self, container: InputContainer) -> None:
        self._tracks = {s.index: _new_track(s) for s in container.streams if s.time_base}
        self._clocks = [float("-inf")]
        """Latest time of each epoch over all tracks that lead."""

    def see(self, packet: Packet[Stream]) -> None:
        """Take the next packet of the file."""
        track = self._tracks.get(packet.stream.index)
        if track is None:
            return
        number, track.num_packets = track.num_packets, track.num_packets + 1
        units = packet.pts if packet.pts is not None else packet.dts
        if units is None:
            return
        length = packet.duration or track.usual_length
        order = packet.dts if packet.dts is not None else units
        time = _Time(number, units, length, order * float(track.base))
        if not track.leads:
            self._follow(track, time)
        elif track.latest is not None and self._fits(track, time.seconds):
            track.suspects.clear()  # those that stood alone were damage
            self._follow(track, time)
        else:
            self._suspect(track, time)

    def _fits(self, track: _Track, seconds: float) -> bool:
        assert track.latest is not None
        ahead = max(track.latest, self._clocks[track.epoch])
        return track.latest - BACKWARD <= seconds <= ahead + FORWARD

    def _suspect(self, track: _Track, time: _Time) -> None:
        if track.suspects and not (
            -BACKWARD <= time.seconds - track.suspects[-1].seconds <= FORWARD
        ):
            track.suspects.clear()
        track.suspects.append(time)
        if len(track.suspects) == ENOUGH:
            self._jump(track)

    def _jump(self, track: _Track) -> None:
        """Believe the suspects: the track has entered another epoch, or has only just begun."""
        suspects, track.suspects = track.suspects, []
        seconds, newest = suspects[0].seconds, len(self._clocks) - 1
        is_pause = track.latest is not None and 0 < seconds - track.latest <= _LONGEST_PAUSE
        is_new = (track.latest is not None and not is_pause) and (
            track.epoch == newest or abs(seconds - self._clocks[newest]) > FORWARD
        )
        if is_new:
            self._clocks.append(seconds)
            newest += 1
        if not is_pause:
            track.latest = None
        if not is_pause and track.epoch != newest:
            track.epoch = newest
            track.firsts.append((newest, suspects[0].packet))
        for time in suspects:
            self._accept(track, time)

    def _follow(self, track: _Track, time: _Time) -> None:
        """Put a time into the track's epoch, or the newest if its clock is nearer."""
        newest = len(self._clocks) - 1
        if track.epoch != newest:
            old, new = self._clocks[track.epoch], self._clocks[newest]
            if abs(time.seconds - new) + BACKWARD < abs(time.seconds - old):
                track.epoch, track.latest = newest, None
                track.firsts.append((newest, time.packet))
        self._accept(track, time)

    def _accept(self, track: _Track, time: _Time) -> None:
        track.latest = time.seconds if track.latest is None else max(track.latest, time.seconds)
        if track.leads:
            clock = self._clocks[track.epoch]
            self._clocks[track.epoch] = max(clock, time.seconds)
            end = time.units + time.length
            known = track.extents.get(track.epoch, (time.units, end))
            track.extents[track.epoch] = (min(known[0], time.units), max(known[1], end))

    def timeline(self, film_index: int) -> Timeline:
        """Return what was found, at the end of the file."""
        for track in self._tracks.values():
            if track.leads and track.latest is None and track.suspects:
                self._jump(track)  # too short to be sure
        offsets, end = self._offsets()
        joints = {
            index: tuple(Joint(packet, offsets[epoch]) for epoch, packet in track.firsts)
            for index, track in self._tracks.items()
            if track.firsts
        }
        film = self._tracks.get(film_index)
        return Timeline(
            joints=joints,
            num_joints=len(self._clocks) - 1,
            end=end,
            num_pictures=None if film is None else film.num_packets,
        )

    def _offsets(self) -> tuple[list[Fraction], Fraction | None]:
        """Let each epoch begin where the longest track of the one before has ended."""
        offsets: list[Fraction] = []
        end: Fraction | None = None
        for epoch in range(len(self._clocks)):
            spans = [
                (track.extents[epoch][0] * track.base, track.extents[epoch][1] * track.base)
                for track in self._tracks.values()
                if epoch in track.extents
            ]
            if not spans:
                return [Fraction(0)], None
            begin = min(span[0] for span in spans)
            offsets.append(Fraction(0) if end is None else end - begin)
            end = max(span[1] for span in spans) + offsets[-1]
        return offsets, end


def _new_track(stream: Stream) -> _Track:
    assert stream.time_base is not None
    usual = 0
    is_film = isinstance(stream, VideoStream) and not stream.disposition & NOT_A_FILM
    if isinstance(stream, VideoStream) and stream.codec_context is not None:
        rate = stream.guessed_rate
        usual = round(1 / (rate * stream.time_base)) if rate else 0
    return _Track(stream.time_base, usual, is_film or stream.type == "audio")
