"""One open handle on a film, decoding its pictures from its start or from a moment on.

Pictures up to 1080p are decoded on one thread, which is faster than faces are restored. FFmpeg's
threaded decoders conceal damage differently each time they run, so that a damaged film would come
out otherwise when a run is repeated or taken up again. Larger pictures need the threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import cast

import av
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.frame import VideoFrame

from vidrestore.errors import DeviceError
from vidrestore.media.clock import PictureClock
from vidrestore.media.length import promised_end
from vidrestore.media.mending import MendedPackets
from vidrestore.media.opening import (
    DAMAGE,
    Packets,
    limit_size,
    open_source,
    require_film_stream,
)
from vidrestore.media.probe import SourceInfo

_TRUNCATED_SECONDS = Fraction(1, 2)
_MOST_SEEKS = 60
_FIRST_BACK_OFF = Fraction(1)
_REACH_OF_TROUBLE = 48
"""Packets after which a damaged one has nothing more to do with a gap between pictures."""

_LARGEST_ON_ONE_THREAD = 1920 * 1088


@dataclass(slots=True)
class Damage:
    """What was wrong with the pictures read so far."""

    num_pictures: int = 0
    """Pictures decoded, those before the wanted ones included."""
    bad_packets: int = 0
    """Packets the decoder refused; the pictures in them are lost."""
    corrupt_frames: int = 0
    """Pictures the decoder itself flagged as damaged; they are kept."""
    lost_pictures: int = 0
    """Pictures missing where packets were damaged or lost, as far as the times of their neighbours
    tell; the picture before is shown for longer."""
    mended_times: int = 0
    """Packets whose time was damaged; their pictures follow the one before."""
    clock_restarts: int = 0
    """Joints at which the film's own timestamps start anew; time goes on there."""
    is_truncated: bool = False
    """The film ended well before its container says, or could not be read on."""

    @property
    def is_visible(self) -> bool:
        """Pictures are lost, or look otherwise than they should."""
        return bool(self.bad_packets or self.corrupt_frames or self.lost_pictures)

    def sentences(self) -> list[str]:
        """Say what was wrong, one sentence each."""
        counts = [
            (self.bad_packets, "damaged packets could not be decoded; left out"),
            (
                self.lost_pictures,
                "pictures are lost where the film is damaged; the one before is shown for longer",
            ),
            (self.corrupt_frames, "frames are damaged; kept as the decoder gave them"),
            (self.mended_times, "packets had a damaged time; their pictures follow the one before"),
            (self.clock_restarts, "times the film's clock starts anew; time goes on there"),
        ]
        found = [f"{count} {what}" for count, what in counts if count]
        if self.is_truncated:
            found.append("the film ends earlier than its file says: it is cut off")
        return found

    def kinds(self) -> list[str]:
        """Say of what kinds it is, in a few words each."""
        found = [
            (self.bad_packets, "damaged packet left out"),
            (self.lost_pictures, "pictures lost"),
            (self.corrupt_frames, "damaged picture"),
            (self.mended_times, "damaged time mended"),
            (self.clock_restarts, "clock starts anew"),
        ]
        return [kind for count, kind in found if count]

    def forget_since(self, earlier: Damage) -> None:
        """Go back to an earlier count, because what was read since is not wanted."""
        self.bad_packets = earlier.bad_packets
        self.corrupt_frames = earlier.corrupt_frames
        self.lost_pictures = earlier.lost_pictures
        self.mended_times = earlier.mended_times
        self.clock_restarts = earlier.clock_restarts
        self.is_truncated = earlier.is_truncated

    def plus(self, other: Damage) -> Damage:
        """Return the sum of two counts."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return Damage(**counts, is_truncated=self.is_truncated or other.is_truncated)

    def minus(self, other: Damage) -> Damage:
        """Return what came after an earlier count."""
        counts = {name: getattr(self, name) - getattr(other, name) for name in _COUNTS}
        return Damage(**counts, is_truncated=self.is_truncated)

    def copy(self) -> Damage:
        """Return the counts as they are now."""
        return replace(self)


_COUNTS = tuple(f.name for f in fields(Damage) if f.name != "is_truncated")


class Decoding:
    """Decodes the pictures of a film, once."""

    def __init__(self, info: SourceInfo, damage: Damage, *, nvdec: bool = False) -> None:
        """Open the film; what is wrong with it will be added to ``damage``.

        Raises:
            DeviceError: No NVIDIA card decodes it, and one is to.
        """
        self._info = info
        self._damage = damage
        self._container = open_source(info.path, nvdec=nvdec)
        self._stream = require_film_stream(self._container, info.path)
        if nvdec and not self._stream.codec_context.is_hwaccel:
            self._container.close()
            raise DeviceError(f"NVDEC does not decode {info.video.codec}: leave --nvdec out")
        if info.video.width * info.video.height <= _LARGEST_ON_ONE_THREAD:
            self._stream.thread_type = "NONE"
            self._stream.codec_context.thread_count = 1
        else:
            self._stream.thread_type = "AUTO"  # PyAV would choose slices only
        limit_size(self._stream)
        for other in self._container.streams:
            if other.index != self._stream.index:
                other.discard = Discard.all
        self._is_at_start = True
        self.is_open = True

    def seek(self, first: Fraction, num_keys: int) -> bool:
        """Go back to a key frame such that as many lie between it and ``first`` (container time).

        Containers lead to the key frame before a moment, to one further back, or too late
        (MPEG-TS and -PS), so what they lead to is looked at, and they are asked again.

        Args:
            first: The picture that is wanted.
            num_keys: Key frames not later than ``first``, that one included.

        Returns:
            False if the film should rather be read from its start; the handle is then useless.
        """
        tick = self._info.video.time_base
        target, back, found = first, _FIRST_BACK_OFF, 0
        landed: Fraction | None = None
        for _ in range(_MOST_SEEKS):
            if target <= self._info.origin or not self._go_to(target):
                return False
            key = self._next_key()
            if key is not None and key <= first and (landed is None or key < landed):
                landed, found = key, found + 1
                if found == num_keys:
                    return self._go_to(target)
                target = min(target, key) - tick
            else:
                target, back = target - back, back * 2
        return False

    def _go_to(self, moment: Fraction) -> bool:
        base = self._info.video.time_base
        self._is_at_start = False
        try:
            self._container.seek(int(moment / base), stream=self._stream, backward=True)
        except av.FFmpegError:  # raw streams have nothing to seek by
            return False
        return True

    def _next_key(self) -> Fraction | None:
        for packet in Packets(self._container, [self._stream]):
            moment = packet.pts if packet.pts is not None else packet.dts
            if packet.size and packet.is_keyframe and moment is not None:
                return moment * packet.time_base
        return None

    def pictures(self) -> Iterator[tuple[int, VideoFrame]]:
        """Decode to the end: timestamps in units of the stream's time base, and pictures."""
        video = self._info.video
        clock = PictureClock(video.nominal_rate, video.time_base)
        packets = MendedPackets(self._container, [self._stream], self._info.timeline)
        time: int | None = None
        num_restarts = num_mended = num_packets = 0
        joints = {joint.packet for joint in self._info.timeline.joints.get(video.index, ())}
        gaps = _Gaps(video.nominal_rate * video.time_base)
        for packet in packets:
            is_joint = bool(packet.size) and num_packets in joints
            self._damage.clock_restarts += is_joint
            num_packets += bool(packet.size)
            if is_joint:  # where one recording ends and another begins nothing is lost
                gaps = _Gaps(video.nominal_rate * video.time_base)
                packet.is_corrupt = False
            for picture in self._decode(packet, gaps):
                if time is None and not self._is_at_start and _has_no_time(picture):
                    continue
                time = clock.time_of(picture)
                self._damage.num_pictures += 1
                self._damage.corrupt_frames += picture.is_corrupt
                self._damage.lost_pictures += gaps.before(time, is_corrupt=picture.is_corrupt)
                self._damage.clock_restarts += clock.num_restarts - num_restarts
                self._damage.mended_times += packets.num_mended - num_mended
                num_restarts, num_mended = clock.num_restarts, packets.num_mended
                yield time, picture
                if not self.is_open:
                    raise ValueError("the reader was closed while its frames were being read")
        self._damage.is_truncated |= packets.is_broken
        promised = promised_end(self._container, self._stream)
        if promised is not None and time is not None:
            missing = promised - (time + clock.step) * video.time_base
            self._damage.is_truncated |= missing > _TRUNCATED_SECONDS

    def _decode(self, packet: Packet[Stream], gaps: _Gaps) -> list[VideoFrame]:
        gaps.count(is_corrupt=packet.is_corrupt)
        try:
            return cast("list[VideoFrame]", packet.decode())
        except DAMAGE:
            self._damage.bad_packets += 1
            gaps.count(is_corrupt=True)
            return []

    def shown_times(self) -> list[int] | None:
        """Read when packets are shown, sorted, without decoding; None if they do not tell."""
        times: list[int] = []
        latest, second = 0, round(1 / self._info.video.time_base)
        for packet in MendedPackets(self._container, [self._stream], self._info.timeline):
            if packet.size and not packet.is_discard:
                if packet.pts is None or (times and packet.pts < latest - second):
                    return None  # the clock starts anew in the middle
                times.append(packet.pts)
                latest = max(times[-1], latest) if len(times) > 1 else times[-1]
        return sorted(times)

    def close(self) -> None:
        """Let go of the film."""
        if self.is_open:
            self.is_open = False
            self._stream.codec_context.flush_buffers()  # a half-read threaded decoder may hang
            self._container.close()


class _Gaps:
    """Counts pictures that are missing behind damaged packets."""

    def __init__(self, rate: Fraction) -> None:
        """Expect ``rate`` pictures for each unit of time."""
        self._rate = rate
        self._num_quiet = _REACH_OF_TROUBLE
        self._last: int | None = None

    def count(self, *, is_corrupt: bool) -> None:
        """Take note of a packet."""
        self._num_quiet = 0 if is_corrupt else self._num_quiet + 1

    def before(self, time: int, *, is_corrupt: bool) -> int:
        """Return how many pictures are missing between the last and that at ``time``."""
        last, self._last = self._last, time
        if last is None or not (is_corrupt or self._num_quiet < _REACH_OF_TROUBLE):
            return 0
        return max(0, round((time - last) * self._rate) - 1)


def _has_no_time(picture: VideoFrame) -> bool:
    return picture.pts is None and picture.dts is None
