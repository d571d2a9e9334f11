"""Everything of the source that is not the film's pictures, carried over packet by packet.

It reads from a handle of its own, step by step with the pictures, so that nothing piles up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from vidrestore.media.clock import Window
from vidrestore.media.containers import language_for
from vidrestore.media.mending import MendedPackets
from vidrestore.media.opening import open_source, reading
from vidrestore.media.plan import TrackAction, TrackPlan
from vidrestore.media.probe import SourceInfo, stream_tag, stream_title
from vidrestore.media.subtitles import ConvertedSubtitles
from vidrestore.media.timecode import timecode_after
from vidrestore.media.timed import TimedPacket, Track
from vidrestore.media.tracks import CodedTrack, CopiedPictures, CopiedTrack

if TYPE_CHECKING:
    from av.container.core import Chapter

# What containers write of themselves, or what will not be true of the output.
_NOT_STREAM_TAGS = re.compile(
    r"bps|duration|encoder|filename|mimetype|name|number_of_.*|vendor_id|.*_statistics_.*|bps-.*"
    r"|duration-.*|source_id.*",
    re.IGNORECASE,
)
_FORMAT_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
_UNKNOWN_TYPE = "application/octet-stream"
_SEEK_BACK = (1, 10, 60)
"""Seconds before a range at which reading may begin; containers land late now and then."""
_MARGIN = 5
"""Seconds of pictures beyond a range after which its sound is taken to be over."""


class Passthrough:
    """Carries over the tracks that are kept, in step with the pictures."""

    def __init__(
        self,
        source: SourceInfo,
        plans: Sequence[TrackPlan],
        window: Window,
        out: OutputContainer,
    ) -> None:
        """Open the source once more; add tracks, tags and chapters to the output.

        Args:
            source: The film.
            plans: What to do with each of its tracks.
            window: Which part of it is wanted.
            out: The output, whose header is not yet written.

        Raises:
            MediaOpenError: The source has gone meanwhile.
            OutputError: A track could not be coded.
        """
        self._source, self._window, self._out = source, window, out
        self._container = open_source(source.path)
        self._tracks: dict[int, Track] = {}
        self._covers: list[Packet[Stream]] = []
        self._packets: Iterator[Packet[Stream]] | None = None
        self._next: TimedPacket | None = None
        self.numbers: dict[int, int] = {}
        """For the source's track numbers those in the output."""
        for plan in plans:
            if plan.action is not TrackAction.DROPPED:
                self._add(plan)
        out.metadata.update(format_tags(self._container.metadata))
        out.set_chapters(self._chapters())
        if source.video.timecode:
            out.streams.video[0].metadata["timecode"] = self._timecode(source.video.timecode)

    def _timecode(self, timecode: str) -> str:
        """Return the time code of the first picture wanted; the muxers write a track of it."""
        video = self._source.video
        start = self._window.shift - self._source.origin - video.start_seconds
        return timecode_after(
            timecode, max(0, ceil(start * video.nominal_rate)), video.nominal_rate
        )

    def _add(self, plan: TrackPlan) -> None:
        source = self._container.streams[plan.source_index]
        stream = self._add_track(source, plan)
        tags = {name.lower(): value for name, value in source.metadata.items() if value}
        title = stream_title(source)
        if title:
            tags["title"] = title
        if "language" in tags:
            tags["language"] = language_for(self._out.format.name, tags["language"])
        for name, value in tags.items():
            if not _NOT_STREAM_TAGS.fullmatch(name):
                stream.metadata[name] = value
        self.numbers[plan.source_index] = stream.index

    def _add_track(self, source: Stream, plan: TrackPlan) -> Stream:
        if isinstance(source, AttachmentStream):
            return self._out.add_attachment(
                source.name or "attachment", source.mimetype or _UNKNOWN_TYPE, source.data
            )
        if plan.kind == "cover":
            return self._add_cover(source)
        track = self._new_track(source, plan)
        self._tracks[plan.source_index] = track
        track.stream.disposition = source.disposition
        return track.stream

    def _new_track(self, source: Stream, plan: TrackPlan) -> Track:
        if plan.action is TrackAction.ENCODED_TO_AAC and isinstance(source, AudioStream):
            return CodedTrack(self._out, source, self._window)
        if plan.action is TrackAction.CONVERTED and isinstance(source, SubtitleStream):
            words = "mov_text" if self._out.format.name in ("mp4", "mov") else "subrip"
            return ConvertedSubtitles(self._out, source, words, self._window)
        if isinstance(source, VideoStream):
            return CopiedPictures(self._out, source, self._window)
        return CopiedTrack(self._out, source, self._window)

    def _add_cover(self, source: Stream) -> Stream:
        out = self._out
        with open_source(self._source.path) as container:
            packets = container.demux(container.streams[source.index])
            image = next((bytes(packet) for packet in packets if packet.size), b"")
        if out.format.name == "matroska":
            kind = "png" if source.codec_context.name == "png" else "jpeg"
            name = stream_tag(source, "filename") or f"cover.{kind}"
            return out.add_attachment(name, f"image/{kind}", image)
        stream = out.add_stream_from_template(source, opaque=True)
        stream.disposition = Disposition.attached_pic
        packet: Packet[Stream] = Packet(image)
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        self._covers.append(packet)
        return stream

    def _chapters(self) -> list[Chapter]:
        chapters = []
        for chapter in self._container.chapters():
            base = chapter["time_base"] or Fraction(1, 1000)
            begin = chapter["start"] * base - self._window.shift
            end = chapter["end"] * base - self._window.shift
            if self._window.overlaps(begin, end):
                begin = max(begin, Fraction(0))
                end = end if self._window.length is None else min(end, self._window.length)
                chapter["start"], chapter["end"] = round(begin / base), round(end / base)
                chapters.append(chapter)
        return chapters

    def pump(self, until: Fraction | None) -> None:
        """Write the packets of all tracks up to an output time; None: all that are left.

        The output's header must have been written.
        """
        self._out.mux(self._covers)
        self._covers = []
        while (timed := self._upcoming()) is not None:
            if until is not None and timed.begin > until:
                self._next = timed
                break
            self._tracks[timed.packet.stream.index].take(timed)
        if until is not None:
            for track in self._tracks.values():
                track.advance(until)

    def _upcoming(self) -> TimedPacket | None:
        """Return the packet held back the last time, or read one; None at the end."""
        if self._next is not None:
            timed, self._next = self._next, None
            return timed
        if not self._tracks:
            return None
        if self._packets is None:
            self._packets = self._wanted_packets()
        with reading(self._source.path):
            packet = next(self._packets, None)
        return None if packet is None else self._tracks[packet.stream.index].when(packet)

    def finish(self) -> None:
        """Write what is left, to the end of the film or of the range."""
        self.pump(None)
        for track in self._tracks.values():
            track.flush()

    def close(self) -> None:
        """Let go of the source."""
        self._next = self._packets = None
        self._container.close()

    @property
    def notes(self) -> list[str]:
        """What went wrong on the way."""
        notes = []
        for index, track in self._tracks.items():
            if track.num_bad_packets:
                notes.append(
                    f"{track.num_bad_packets} damaged packets of track {index} were left out"
                )
            if isinstance(track, CopiedPictures) and track.late_start is not None:
                notes.append(
                    f"the pictures of track {index} begin {float(track.late_start):.2f} s into the "
                    "range: copied pictures can only begin with a key frame"
                )
        return notes

    def _time_of(self, packet: Packet[Stream]) -> Fraction | None:
        """Return the output time of a packet, None if it has none."""
        moment = packet.dts if packet.dts is not None else packet.pts
        return None if moment is None else moment * packet.time_base - self._window.shift

    def _wanted_packets(self) -> Iterator[Packet[Stream]]:
        """Read the packets of the kept tracks, within the range and not much beyond."""
        length, film = self._window.length, self._source.video.index
        unfinished = self._steady_indices()
        for packet in self._packets_from_start():
            time = self._time_of(packet)
            if length is not None and time is not None and time >= length:
                unfinished.discard(packet.stream.index)
                if not unfinished or (packet.stream.index == film and time > length + _MARGIN):
                    return
            if packet.size and packet.stream.index in self._tracks:
                yield packet

    def _steady_indices(self) -> set[int]:
        """Tell which tracks always have a next packet soon."""
        return {
            index
            for index in self._tracks
            if isinstance(self._container.streams[index], AudioStream | VideoStream)
        }

    def _sound_indices(self) -> set[int]:
        return {
            index
            for index in self._steady_indices()
            if isinstance(self._container.streams[index], AudioStream)
        }

    def _packets_from_start(self) -> Iterator[Packet[Stream]]:
        """Read from the start of the range or a little before it."""
        start = self._window.shift
        if self._window.has_start and self._source.timeline.can_seek:
            for back in _SEEK_BACK:
                if start - back <= self._source.origin:
                    break
                packets = self._packets_after_seek(start - back)
                if packets is not None:
                    return packets
            self._container.close()  # some formats cannot be read on after a failed seek
            self._container = open_source(self._source.path)
        return self._demux()

    def _packets_after_seek(self, moment: Fraction) -> Iterator[Packet[Stream]] | None:
        """Seek, and make sure that no sound of the range was skipped; None if some was."""
        try:
            self._container.seek(int(moment * av.time_base))
        except av.FFmpegError:
            return None
        unheard, ahead = self._sound_indices(), []
        packets = self._demux()
        while unheard:
            packet = next(packets, None)
            if packet is None:
                return None
            ahead.append(packet)
            time = self._time_of(packet)
            if time is not None and time > 0:
                return None
            unheard.discard(packet.stream.index)
        return chain(ahead, packets)

    def _demux(self) -> Iterator[Packet[Stream]]:
        # In a range the film's own packets tell how far the reading has come.
        wanted = set(self._tracks)
        if self._window.has_start or self._window.length is not None:
            wanted.add(self._source.video.index)
        for stream in self._container.streams:
            if stream.index not in wanted:
                stream.discard = Discard.all
        streams = [self._container.streams[i] for i in sorted(wanted)]
        return iter(MendedPackets(self._container, streams, self._source.timeline))


def format_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Choose the container's tags that are true of the output too."""
    kept = {}
    for name, value in tags.items():
        base, _, language = name.rpartition("-")
        is_double = len(language) == 3 and base in tags  # "location-eng" beside "location"
        if name.lower() not in _FORMAT_TAGS and not is_double:
            # Matroska writes all names in capitals, and QuickTime's are known in small letters only
            kept[name.lower() if name.isupper() else name] = value
    return kept
