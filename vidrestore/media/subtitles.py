"""One track of subtitles turned into another kind of words, for containers that hold only that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import cast

from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from vidrestore.errors import OutputError
from vidrestore.media.clock import PacketClock, Window
from vidrestore.media.opening import DAMAGE
from vidrestore.media.timed import TimedPacket

_MILLISECOND = Fraction(1, 1000)
_UNTOLD = Fraction(5)
"""How long a title without length stays, at most; the next one ends it."""
_LONGEST_MS = 1 << 30
# Between FFmpeg's coders all titles travel as lines of ASS: eight fields, then the words.
_NUM_FIELDS = 8
_PLAIN_FIELDS = b"0,0,Default,,0,0,0,"
_DRAWING = re.compile(rb"\{[^}]*\\p[1-9]\d*[^}]*\}.*?(?=\{[^}]*\\p0|$)", re.DOTALL)
_STYLING = re.compile(rb"\{[^}]*\}")
_PLAIN_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n"
    b"[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, "
    b"OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, "
    b"Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1\r\n"
    b"\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)


@dataclass(slots=True)
class _Title:
    begin: Fraction
    end: Fraction
    fields: bytes
    words: bytes
    is_untold: bool
    """Its end is a guess."""


class ConvertedSubtitles:
    """Decodes the titles of one track and codes them in another way, in step with the pictures.

    Italics, bold and underlining stay, colours where the new kind has them; what was drawn goes.
    """

    def __init__(
        self, out: OutputContainer, source: SubtitleStream, words: str, window: Window
    ) -> None:
        """Add the stream to the output, whose header is not yet written.

        Args:
            out: The output.
            source: The track.
            words: FFmpeg's name of the new kind, ``mov_text`` or ``subrip``.
            window: Which part of the film is wanted.

        Raises:
            OutputError: The track is none of words, or damaged in its header.
        """
        self._decoder = source.codec_context
        stream = out.add_stream(words)
        self._encoder = cast("SubtitleCodecContext", stream.codec_context)
        try:
            self._decoder.open(strict=False)
            self._encoder.subtitle_header = self._decoder.subtitle_header or _PLAIN_HEADER
            self._encoder.time_base = _MILLISECOND
            self._encoder.open(strict=False)
        except DAMAGE as error:
            raise OutputError(f"cannot convert {source.name} subtitles to {words}") from error
        self.stream: Stream = stream
        self.num_bad_packets = 0
        self._out, self._window = out, window
        self._clock = PacketClock(window.shift, is_sound=False)
        # One sample of MP4 is all that is on the screen: titles that overlap must share it.
        self._is_one_at_a_time = words == "mov_text"
        self._titles: list[_Title] = []
        self._written_until = Fraction(0)

    def when(self, packet: Packet[Stream]) -> TimedPacket:
        """Give the track's next packet its time."""
        begin, length = self._clock.when(packet)
        return TimedPacket(packet, begin, length if packet.duration else Fraction(0))

    def take(self, timed: TimedPacket) -> None:
        """Decode the packet and remember its titles."""
        try:
            found = self._decoder.decode2(cast("Packet[SubtitleStream]", timed.packet))
        except DAMAGE:
            self.num_bad_packets += 1
            return
        for title in self._titles:
            if title.is_untold:
                title.end = min(title.end, max(timed.begin, title.begin))
        if found is not None:  # None: the gap between two titles of an MP4
            self._remember(found, timed.begin, timed.length)

    def _remember(self, found: SubtitleSet, begin: Fraction, length: Fraction) -> None:
        if not length and 0 < found.end_display_time < _LONGEST_MS:
            length = Fraction(found.end_display_time, 1000)
        end = begin + (length or _UNTOLD)
        if not self._window.overlaps(begin, end):
            return
        if self._window.length is not None:
            end = min(end, self._window.length)
        for rect in found.rects:
            fields, words = _taken_apart(rect.ass) if isinstance(rect, AssSubtitle) else (b"", b"")
            if words:
                first = max(begin, Fraction(0))
                self._titles.append(_Title(first, end, fields, words, not length))

    def advance(self, until: Fraction) -> None:
        """Write what is on the screen up to an output time, up to which packets were taken."""
        if not self._titles:
            return
        if self._is_one_at_a_time:
            self._write_screens(until)
        else:
            for title in [t for t in self._titles if not t.is_untold or t.end <= until]:
                self._write(title.begin, title.end, title.fields, title.words)
                self._titles.remove(title)

    def flush(self) -> None:
        """Write what is left."""
        self.advance(max((title.end for title in self._titles), default=Fraction(0)))

    def _write_screens(self, until: Fraction) -> None:
        """Cut time wherever a title comes or goes, and write each piece that is over."""
        cuts = {
            max(t, self._written_until) for title in self._titles for t in (title.begin, title.end)
        }
        for begin, end in pairwise(sorted(cuts)):
            if end > until:
                break
            shown = [t for t in self._titles if t.begin <= begin and end <= t.end]
            if shown:
                words = rb"\N".join(t.words for t in shown)
                self._write(begin, end, shown[0].fields, words)
            self._written_until = end
        self._titles = [t for t in self._titles if t.end > self._written_until]

    def _write(self, begin: Fraction, end: Fraction, fields: bytes, words: bytes) -> None:
        tick = self.stream.time_base
        assert tick is not None
        first, last = round(begin / tick), round(end / tick)
        if first >= last:
            return
        length_ms = max(1, round((end - begin) / _MILLISECOND))
        titles = SubtitleSet.create(fields + b"," + words, start=0, end=length_ms)
        packet = cast("Packet[Stream]", self._encoder.encode_subtitle(titles))
        packet.pts = packet.dts = first
        packet.duration, packet.time_base = last - first, tick
        packet.stream = self.stream
        self._out.mux(packet)


def _taken_apart(line: bytes) -> tuple[bytes, bytes]:
    """Split a line of ASS into its fields and its words; no words if there is nothing to read."""
    parts = line.split(b",", _NUM_FIELDS)
    if len(parts) <= _NUM_FIELDS:
        return _PLAIN_FIELDS, line
    words = _DRAWING.sub(b"", parts[-1]).replace(rb"\h", "\u00a0".encode())
    if not _STYLING.sub(b"", words).replace(rb"\N", b"").strip():
        words = b""
    return b",".join(parts[:-1]), words
