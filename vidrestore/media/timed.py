"""A packet with its time: what the tracks of a film hand to each other."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple, Protocol

from av.packet import Packet
from av.stream import Stream


class TimedPacket(NamedTuple):
    """A packet, and when it is heard or seen in the output, in seconds."""

    packet: Packet[Stream]
    begin: Fraction
    length: Fraction


class Track(Protocol):
    """One track of the source on its way into the output."""

    stream: Stream
    """In the output."""

    @property
    def num_bad_packets(self) -> int:
        """How many packets were too damaged to be carried over."""
        ...

    def when(self, packet: Packet[Stream]) -> TimedPacket:
        """Give the track's next packet its time."""
        ...

    def take(self, timed: TimedPacket) -> None:
        """Carry the packet over."""
        ...

    def advance(self, until: Fraction) -> None:
        """Know that all packets up to an output time were taken."""
        ...

    def flush(self) -> None:
        """Write what is still held."""
        ...
