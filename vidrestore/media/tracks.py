"""One track of the source on its way into the output: copied as it is, or its sound coded anew."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from vidrestore.errors import OutputError
from vidrestore.media.clock import PacketClock, Window
from vidrestore.media.sound import SoundEncoder
from vidrestore.media.timed import TimedPacket

_DEEPEST_REORDERING = 32
"""More pictures than any codec holds back."""
_SHORTEST_STEP = Fraction(1, 1000)


class _Copying:
    """Moves packets, unchanged but for their times."""

    def __init__(self, out: OutputContainer, source: Stream, window: Window) -> None:
        try:
            self.stream: Stream = out.add_stream_from_template(source, opaque=True)
        except ValueError as error:
            raise OutputError(f"the container refuses the {source.name} track") from error
        self.num_bad_packets = 0
        self._out, self._window = out, window
        self._clock = PacketClock(window.shift, is_sound=isinstance(source, AudioStream))
        self._last_dts: int | None = None

    def when(self, packet: Packet[Stream]) -> TimedPacket:
        """Give the track's next packet its time."""
        return TimedPacket(packet, *self._clock.when(packet))

    def advance(self, until: Fraction) -> None:
        """Do nothing: packets are written as they are taken."""

    def flush(self) -> None:
        """Do nothing, likewise."""

    def _write(self, timed: TimedPacket, late: Fraction) -> None:
        """Write a packet that is to be decoded at ``late``."""
        packet, tick = timed.packet, self.stream.time_base
        assert tick is not None
        dts = round(late / tick)
        if self._last_dts is not None and dts <= self._last_dts:
            dts = self._last_dts + 1  # splices in captures run backwards
        packet.pts, packet.dts = max(round(timed.begin / tick), dts), dts
        packet.duration, packet.time_base = round(timed.length / tick), tick
        packet.stream = self.stream
        try:
            self._out.mux(packet)
        except (av.InvalidDataError, av.PatchWelcomeError):  # damaged
            self.num_bad_packets += 1
        else:
            self._last_dts = dts


def _decoding_time(timed: TimedPacket) -> Fraction:
    packet = timed.packet
    if packet.pts is None or packet.dts is None:
        return timed.begin
    return timed.begin - (packet.pts - packet.dts) * packet.time_base


class CopiedTrack(_Copying):
    """Copies sound, titles, and whatever else each packet of which stands for itself."""

    def __init__(self, out: OutputContainer, source: Stream, window: Window) -> None:
        """Add the stream to the output, whose header is not yet written.

        Raises:
            OutputError: The container cannot hold the codec.
        """
        super().__init__(out, source, window)
        self._is_sound = isinstance(source, AudioStream)
        self._priming: TimedPacket | None = None

    def take(self, timed: TimedPacket) -> None:
        """Write the packet."""
        if timed.packet.is_discard:
            # Not to be heard; the last of them lets the decoder settle.
            self._priming = timed if self._window.hides_start else None
            return
        if self._priming is not None:
            self._place(self._priming)
            self._priming = None
        self._place(timed)

    def _place(self, timed: TimedPacket) -> None:
        packet, begin, length = timed
        late = _decoding_time(timed)
        if not self._is_sound and self._window.overlaps(begin, begin + length) and begin < 0:
            # a title that is on screen at the start
            begin, late, length = Fraction(0), Fraction(0), max(begin + length, Fraction(0))
        if self._window.holds(begin, begin + length):
            self._write(TimedPacket(packet, begin, length), late)


class CopiedPictures(_Copying):
    """Copies another film beside the one that is restored."""

    def __init__(self, out: OutputContainer, source: VideoStream, window: Window) -> None:
        """Add the stream to the output, whose header is not yet written.

        Raises:
            OutputError: The container cannot hold the codec.
        """
        super().__init__(out, source, window)
        if source.codec_context.codec.canonical_name == "hevc" and window.hides_start:
            self.stream.codec_context.codec_tag = "hvc1"  # Apple's players refuse the default
        self._undated: list[TimedPacket] = []
        self._lead: list[tuple[TimedPacket, Fraction]] = []
        self._is_running = self._has_lost = False
        self._first_shown: Fraction | None = None
        self.late_start: Fraction | None = None
        """When its pictures begin, if they could not begin with the range."""

    def take(self, timed: TimedPacket) -> None:
        """Write the packet, after those that are needed to decode it."""
        self._undated.append(timed)
        if timed.packet.dts is not None or len(self._undated) > _DEEPEST_REORDERING:
            self._take_dated(_decoding_time(timed))

    def flush(self) -> None:
        """Write what still waits for a decoding time."""
        if self._undated:
            self._take_dated(min(timed.begin for timed in self._undated))

    def _take_dated(self, late: Fraction) -> None:
        """Take the packets that waited; the last of them is to be decoded at ``late``.

        Matroska stores no decoding times; FFmpeg finds them out, but not those of the first
        packets, which are a few pictures earlier.
        """
        waiting, self._undated = self._undated, []
        step = waiting[-1].length or _SHORTEST_STEP
        for place, timed in enumerate(waiting, 1 - len(waiting)):
            self._take(timed, late + place * step)

    def _take(self, timed: TimedPacket, late: Fraction) -> None:
        packet, begin, length = timed
        if self._window.length is not None and late >= self._window.length:
            return
        if self._window.has_start and begin < 0 < begin + length:
            # on screen at the start; players disagree about a picture that an edit list cuts
            timed = TimedPacket(packet, Fraction(0), begin + length)
        if self._is_running:
            # what is shown before the first picture refers to pictures that are not there
            if self._first_shown is None or timed.begin >= self._first_shown:
                self._write(timed, late)
        elif self._begins_with(timed, late):
            self._is_running = True
            for earlier in self._lead:
                self._write(*earlier)
            self._lead = []

    def _begins_with(self, timed: TimedPacket, late: Fraction) -> bool:
        """Tell whether this packet is the first that is wanted, and can be decoded.

        Until then the packets from the latest key frame on are collected: MP4 and MOV can hide
        them. Elsewhere the pictures have to begin with the next key frame.
        """
        packet, begin, _ = timed
        is_early = packet.is_discard or (self._window.has_start and begin < 0)
        if not (is_early or self._lead or self._window.has_start):
            self._lead = [(timed, late)]  # from its very beginning, whatever that is
            return True
        if packet.is_keyframe:
            self._lead = [(timed, late)]
        elif self._lead:
            self._lead.append((timed, late))
        self._has_lost |= not self._lead
        if is_early or not self._lead:
            return False
        first, _ = self._lead[0]
        if first is not timed and not self._window.hides_start:
            self._lead, self._has_lost = [], True
            return False
        self._first_shown = first.begin
        if self._has_lost and first.begin > 0:
            self.late_start = first.begin
        return True


class CodedTrack:
    """Moves the sound of one track through an AAC encoder."""

    def __init__(self, out: OutputContainer, source: AudioStream, window: Window) -> None:
        self._encoder = SoundEncoder(out, source, window)
        self._clock = PacketClock(window.shift, is_sound=True)
        self.stream: Stream = self._encoder.stream
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

    def advance(self, until: Fraction) -> None:
        """Do nothing: sound is written as it is coded."""

    def flush(self) -> None:
        """Write what the encoder still holds."""
        self._out.mux(self._encoder.flush())
