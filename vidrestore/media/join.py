"""Segments become one film, together with everything of the source that is not its pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from vidrestore.errors import OutputError
from vidrestore.media.clock import Window
from vidrestore.media.containers import Container
from vidrestore.media.encoders import fine_time_base
from vidrestore.media.passthrough import Passthrough
from vidrestore.media.plan import TrackPlan
from vidrestore.media.probe import SourceInfo
from vidrestore.media.segments import (
    Segment,
    header_digest,
    segment_packets,
    segment_times,
)

# Tags that MP4 and MOV store in their own way; any other needs QuickTime's list of free names.
_PLAIN_TAGS = frozenset(
    {
        *("title", "artist", "album", "album_artist", "composer", "date", "comment", "genre"),
        *("copyright", "description", "synopsis", "show", "track", "disc", "creation_time"),
    }
)
_NOT_TAGS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "duration"})


@dataclass(frozen=True, slots=True)
class FilmPlan:
    """What the film consists of beside its pictures, and where it goes."""

    source: SourceInfo
    container: Container
    tracks: Sequence[TrackPlan]
    window: Window
    add_video: Callable[[OutputContainer], VideoStream]
    """Adds the stream of pictures; its encoder is opened for its header alone."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of the tracks."""

    numbers: dict[int, int]
    """For the source's track numbers those in the output."""
    notes: list[str]


def join_segments(
    folder: Path,
    segments: Sequence[Segment],
    plan: FilmPlan,
    path: Path,
    on_picture: Callable[[], None],
) -> Joined:
    """Write the film: the segments' packets as they are, and the other tracks in step with them.

    Args:
        folder: Where the segments lie.
        segments: In order, at least one.
        plan: Everything else.
        path: The file to write.
        on_picture: Called after each picture.

    Raises:
        OutputError: A segment does not fit, or a track could not be coded.
        MediaError: The source cannot be read.
    """
    with _opened(plan, path) as (out, video, rest):
        _require_alike(video, segments)
        tick = video.codec_context.time_base
        for packet in _one_film(folder, segments):
            assert packet.pts is not None
            time = packet.pts * tick
            packet.stream, packet.time_base = video, tick
            out.mux(packet)
            rest.pump(time)
            on_picture()
        rest.finish()
    return Joined(rest.numbers, rest.notes)


def rehearse(plan: FilmPlan, segments: Sequence[Segment], path: Path) -> None:
    """Open a film as ``join_segments`` will, and remove it: whatever refuses does so now.

    Raises:
        OutputError: The encoder or the container refuses a track, or segments that are there
            already were coded otherwise.
        MediaError: The source cannot be read.
    """
    with _opened(plan, path) as (_, video, _):
        _require_alike(video, segments)
    path.unlink()


def _require_alike(video: VideoStream, segments: Sequence[Segment]) -> None:
    header = header_digest(video)
    video.encode(None)  # nothing came: SVT-AV1 complains where its end is not told
    if any(segment.header != header for segment in segments):
        raise OutputError(
            "the segments that are finished were coded in another way than this program does "
            "here and now: start over with --fresh"
        )


@contextmanager
def _opened(
    plan: FilmPlan, path: Path
) -> Iterator[tuple[OutputContainer, VideoStream, Passthrough]]:
    """Open a film with all its tracks; it is completed, or gone, when the block is left."""
    out = av.open(
        str(path.absolute()),
        "w",
        format=plan.container.format,
        container_options=_container_options(plan),
    )
    with ExitStack() as stack:
        try:
            video = plan.add_video(out)
            rest = Passthrough(plan.source, plan.tracks, plan.window, out)
            stack.callback(rest.close)
            out.start_encoding()
            yield out, video, rest
            out.close()
        except BaseException:
            # Without the file, closing does not move a long film's pictures behind its index.
            with suppress(PermissionError):  # Windows does not remove open files
                path.unlink(missing_ok=True)
            with suppress(av.FFmpegError):  # a full disk fails once more
                out.close()
            path.unlink(missing_ok=True)
            raise


def _container_options(plan: FilmPlan) -> dict[str, str]:
    if not plan.container.is_quicktime:
        return {}
    names = {name.lower() for name in plan.source.tags} - _NOT_TAGS
    free = "" if names <= _PLAIN_TAGS else "+use_metadata_tags"
    # the clock of the edit lists: as fine as the pictures', so that a late start stays exact
    scale = fine_time_base(plan.source.video.time_base).denominator
    return {"movflags": f"+faststart{free}", "movie_timescale": str(scale)}


def _one_film(folder: Path, segments: Sequence[Segment]) -> Iterator[Packet[VideoStream]]:
    """Give all packets one sequence of decoding times: each segment's coder began its own anew.

    A picture is decoded when the one ``delay`` places before it in the order of showing is shown,
    where ``delay`` is the deepest reordering in the film; so the times increase and none is late.
    """
    delay = max(segment.reorder for segment in segments)
    earlier: deque[int] = deque()
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        path = folder / segment.file_name
        times = segment_times(path, segment)
        shown = sorted(times)
        end = segment.last + segment.last_duration if following is None else following.begin
        lengths = {a: b - a for a, b in pairwise([*shown, end])}
        if not earlier:
            step = min(lengths.values()) or 1
            earlier.extend(shown[0] - k * step for k in range(delay, 0, -1))
        decoded = [*earlier, *shown]
        for place, packet in enumerate(segment_packets(path, times)):
            packet.dts, packet.duration = decoded[place], lengths[times[place]]
            yield packet
        earlier = deque(decoded[len(decoded) - delay :])
