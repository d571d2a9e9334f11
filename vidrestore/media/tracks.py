"""One track of the source on its way into the output: copied as it is, or its sound coded anew."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple, cast

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from vidrestore.errors import OutputError
from vidrestore.media.clock import PacketClock, Window
from vidrestore.media.sound import SoundEncoder


class TimedPacket(NamedTuple):
    """A packet, and when it is heard or seen in the output, in seconds."""

    packet: Packet[Stream]
    begin: Fraction
    length: Fraction


class CopiedTrack:
    """Moves the packets of one track, unchanged but for their times."""

    def __init__(self, out: OutputContainer, source: Stream, window: Window) -> None:
        try:
            self.stream = out.add_stream_from_template(source, opaque=True)
        except ValueError as error:
            raise OutputError(f"the container refuses the {source.name} track") from error
        self.num_bad_packets = 0
        self._out, self._window = out, window
        self._is_sound = isinstance(source, AudioStream)
        self._clock = PacketClock(window.shift, is_sound=self._is_sound)
        self._priming: TimedPacket | None = None
        self._last_dts: int | None = None

    def when(self, packet: Packet[Stream]) -> TimedPacket:
        """Give the track's next packet its time."""
        return TimedPacket(packet, *self._clock.when(packet))

    def take(self, timed: TimedPacket) -> None:
        """Write the packet."""
        if timed.packet.is_discard:
            # Not to be heard; the last of them lets the decoder settle.
            self._priming = timed if self._window.hides_start else None
            return
        if self._priming is not None:
            self._write(self._priming)
            self._priming = None
        self._write(timed)

    def _write(self, timed: TimedPacket) -> None:
        packet, begin, length = timed.packet, timed.begin, timed.length
        late = begin
        if packet.pts is not None and packet.dts is not None:
            late = begin - (packet.pts - packet.dts) * packet.time_base
        if not self._is_sound and self._window.overlaps(begin, begin + length) and begin < 0:
            # a title that is on screen at the start
            begin, late, length = Fraction(0), Fraction(0), max(begin + length, Fraction(0))
        if not self._window.holds(begin, begin + length):
            return
        tick = self.stream.time_base
        assert tick is not None
        dts = round(late / tick)
        if self._last_dts is not None and dts <= self._last_dts:
            dts = self._last_dts + 1  # splices in captures run backwards
        packet.pts, packet.dts = max(round(begin / tick), dts), dts
        packet.duration, packet.time_base = round(length / tick), tick
        packet.stream = self.stream
        try:
            self._out.mux(packet)
        except (av.InvalidDataError, av.PatchWelcomeError):  # a damaged packet of sound
            self.num_bad_packets += 1
        else:
            self._last_dts = dts


class CodedTrack:
    """Moves the sound of one track through an AAC encoder."""

    def __init__(self, out: OutputContainer, source: AudioStream, window: Window) -> None:
        self._encoder = SoundEncoder(out, source, window)
        self._clock = PacketClock(window.shift, is_sound=True)
        self.stream = self._encoder.stream
        self._out = out

    @property
    def num_bad_packets(self) -> int:
        """How many packets could not be decoded."""
        return self._encoder.num_bad_packets

    def when(self, packet: Packet[Stream]) -> TimedPacket:
        """Give the track's next packet its time; the encoder keeps its own."""
        return TimedPacket(packet, *self._clock.when(packet))

    def take(self, timed: TimedPacket) -> None:
        """Decode the packet, code it, and write what comes out."""
        self._out.mux(self._encoder.take(cast("Packet[AudioStream]", timed.packet)))

    def flush(self) -> None:
        """Write what the encoder still holds."""
        self._out.mux(self._encoder.flush())
