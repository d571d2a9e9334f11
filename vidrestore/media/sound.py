"""One track of sound coded anew to AAC, for containers that cannot hold it as it is.

Gaps become silence and overlaps are cut, so that the sound stays with the picture.
"""

from __future__ import annotations

from fractions import Fraction

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from vidrestore.errors import OutputError
from vidrestore.media.clock import SoundClock, Window
from vidrestore.media.opening import DAMAGE

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_BIT_RATES = (96_000, 256_000, 448_000)
"""For one, two and more channels."""
_MOST_CHANNELS = 6
# As WAV and its kin order channels that they only count.
_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1")
# Holes and overlaps of more than 50 ms are filled and cut.
_FOLLOW_TIMESTAMPS = {"async": "1", "min_hard_comp": "0.05"}


class SoundEncoder:
    """Decodes one source track and codes it to AAC as it comes."""

    def __init__(self, out: OutputContainer, source: AudioStream, window: Window) -> None:
        """Add the stream to the output, whose header is not yet written.

        Raises:
            OutputError: The encoder refuses the track's rate or channels.
        """
        self._window = window
        layout = _layout_for(source.codec_context)
        rate = source.codec_context.sample_rate
        rate = rate if rate in _AAC_RATES else 48_000
        bit_rate = coded_bit_rate(coded_channels(source.codec_context.layout.nb_channels))
        stream = out.add_stream("aac", rate=rate, layout=layout, bit_rate=bit_rate)
        try:
            stream.codec_context.open()
        except av.FFmpegError as error:
            raise OutputError(f"cannot code {source.codec_context.name} sound to AAC") from error
        self.stream = stream
        self.num_bad_packets = 0
        self._clock = SoundClock(window.shift)
        self._resampler: AudioResampler | None = None
        self._heard: tuple[str, str, int] | None = None

    def take(self, packet: Packet[AudioStream]) -> list[Packet[AudioStream]]:
        """Decode a packet of the source and return the AAC packets that came out."""
        try:
            frames = packet.decode()
        except DAMAGE:
            self.num_bad_packets += 1
            return []
        return [coded for frame in frames for coded in self._code(frame)]

    def flush(self) -> list[Packet[AudioStream]]:
        """Return the last packets."""
        return [*self._drain(), *self.stream.encode(None)]

    def _code(self, frame: AudioFrame) -> list[Packet[AudioStream]]:
        begin, end = self._clock.when(frame)
        if not self._window.holds(begin, end):
            return []
        frame.pts = round(begin * frame.sample_rate)
        frame.time_base = Fraction(1, frame.sample_rate)
        coded = []
        heard = (frame.format.name, frame.layout.name, frame.sample_rate)
        if heard != self._heard:
            coded += self._drain()
            self._heard, self._resampler = heard, self._new_resampler()
        assert self._resampler is not None
        for ready in self._resampler.resample(frame):
            coded += self._encode(ready)
        return coded

    def _new_resampler(self) -> AudioResampler:
        context = self.stream.codec_context
        return AudioResampler(
            format=context.format.name,
            layout=context.layout.name,
            rate=context.sample_rate,
            # without a frame size PyAV passes equal formats through and ignores the options
            frame_size=context.frame_size or 1024,
            options=_FOLLOW_TIMESTAMPS,
        )

    def _drain(self) -> list[Packet[AudioStream]]:
        if self._resampler is None:
            return []
        frames = self._resampler.resample(None)
        self._resampler = None
        return [coded for frame in frames for coded in self._encode(frame)]

    def _encode(self, frame: AudioFrame) -> list[Packet[AudioStream]]:
        """Code one frame of 1024 samples, if any of it lies within the range."""
        if frame.pts is not None and frame.time_base is not None:
            time = frame.pts * frame.time_base
            if not self._window.holds(time, time + Fraction(frame.samples, frame.sample_rate)):
                return []
        return self.stream.encode(frame)


def coded_channels(num_channels: int) -> int:
    """Return how many channels are left of so many; few players know AAC with more than 5.1."""
    return min(num_channels, _MOST_CHANNELS)


def coded_bit_rate(num_channels: int) -> int:
    """Return the bits a second that so many channels get."""
    return _BIT_RATES[min(num_channels, len(_BIT_RATES)) - 1]


def _layout_for(context: AudioCodecContext) -> str:
    """Choose the AAC layout; AVI and ASF only count channels ("2 channels")."""
    num_channels, name = context.layout.nb_channels, context.layout.name
    if num_channels <= 2 or num_channels > _MOST_CHANNELS or "channels" in name:
        return _LAYOUTS[coded_channels(num_channels) - 1]
    return name
