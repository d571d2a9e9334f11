"""A path becomes an open container: one place for FFmpeg's traps when a film is opened.

Nothing is decoded here. ``av.logging`` is never touched: with a log level set, FFmpeg's decoding
threads take the interpreter's lock and can deadlock with a decoder that is being closed.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.container
import av.stream
import av.video.stream
from av.packet import Packet
from av.stream import Stream

from vidrestore.errors import MediaError, MediaOpenError

# Covers and thumbnails travel as video streams of one picture.
NOT_A_FILM = (
    av.stream.Disposition.attached_pic
    | av.stream.Disposition.timed_thumbnails
    | av.stream.Disposition.still_image
)
# What decoders and muxers say of single packets that are damaged or stranger than they can bear.
DAMAGE = (
    av.InvalidDataError,
    av.PatchWelcomeError,
    av.BugError,
    av.ExternalError,
    av.ArgumentError,
    av.UndefinedError,
)
_STILL_FORMATS = frozenset({"image2", "image2pipe", "ico"})
_MOST_TRIES = 1000
# A play list may name local files only; nothing is fetched behind the user's back.
_CONTAINER_OPTIONS = {"protocol_whitelist": "file"}


def explain(error: av.FFmpegError) -> str:
    """Return FFmpeg's reason as a few words for the user."""
    return (error.strerror or type(error).__name__).rstrip(".")


def open_source(path: Path) -> av.container.InputContainer:
    """Open a film for reading.

    Raises:
        MediaOpenError: The path is missing, is no regular file, or holds nothing FFmpeg knows.
    """
    _require_file(path)
    # With "file:" before it, a name such as "tape:1.mp4" is not taken for a protocol.
    url = f"file:{path.absolute()}"
    try:
        try:
            container = av.open(url, "r", container_options=_CONTAINER_OPTIONS)
        except UnicodeDecodeError:  # tags written by old recorders are not UTF-8
            container = av.open(
                url,
                "r",
                container_options=_CONTAINER_OPTIONS,
                metadata_encoding="cp1252",
                metadata_errors="replace",
            )
    except av.FFmpegError as error:
        raise MediaOpenError(f"cannot open {path} as a video: {explain(error)}") from error
    # PyAV asks for invented timestamps; for DivX with packed B-frames they come out of order.
    container.flags &= ~cast(int, av.container.Flags.gen_pts.value)
    return container


def _require_file(path: Path) -> None:
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise MediaOpenError(f"no such file: {path}") from None
    except OSError as error:
        raise MediaOpenError(f"cannot open {path}: {error.strerror}") from error
    if stat.S_ISDIR(facts.st_mode):
        raise MediaOpenError(f"{path} is a folder, not a video")
    if not stat.S_ISREG(facts.st_mode):
        raise MediaOpenError(f"{path} is not a regular file; copy the video to a file first")
    if facts.st_size == 0:
        raise MediaOpenError(f"{path} is empty (0 bytes)")


def is_still(container: av.container.InputContainer) -> bool:
    """Tell whether the file is a photograph rather than a film."""
    name = container.format.name
    return name in _STILL_FORMATS or name.endswith("_pipe")


def film_stream(container: av.container.InputContainer) -> av.video.stream.VideoStream | None:
    """Choose the stream that holds the film's pictures; cover art never counts."""
    usable = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None
        and stream.codec_context.width > 0
        and not stream.disposition & NOT_A_FILM
    ]
    best = container.streams.best("video")
    for stream in usable:
        if best is not None and stream.index == best.index:
            return stream
    return usable[0] if usable else None


def require_film_stream(
    container: av.container.InputContainer, path: Path
) -> av.video.stream.VideoStream:
    """Choose the stream of pictures.

    Raises:
        MediaOpenError: There is none; the text says what the file holds instead.
    """
    if is_still(container):
        raise MediaOpenError(f"{path} is a still picture, not a video")
    stream = film_stream(container)
    if stream is not None and container.format.name != "tty":  # tty: any text can be "decoded"
        return stream
    if container.streams.audio:
        raise MediaOpenError(f"{path} holds sound but no video")
    if any(s.type == "video" and s.codec_context is None for s in container.streams):
        raise MediaOpenError(f"{path} holds video in a format that cannot be decoded here")
    raise MediaOpenError(f"{path} holds no video")


def origin_of(container: av.container.InputContainer) -> Fraction:
    """Return the time at which the film begins: its earliest sound or picture, in seconds.

    Containers start anywhere (a capture of a broadcast even below zero). One number is subtracted
    from everything, so that picture and sound keep their distance.
    """
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.type in ("video", "audio")
        and stream.start_time is not None
        and stream.time_base
        and not (stream.type == "video" and stream.disposition & NOT_A_FILM)
    ]
    return min(starts, default=Fraction(0))


class Packets:
    """The packets of some streams of a container, as far as they can be read.

    Where a damaged container asks to be tried again it is; where it cannot be read on the streams
    end, and their decoders are told so.
    """

    def __init__(self, container: av.container.InputContainer, streams: Sequence[Stream]) -> None:
        self._container, self._streams = container, streams
        self.is_broken = False
        """The end was not the end of the file."""

    def __iter__(self) -> Iterator[Packet[Stream]]:
        num_tries = 0
        while num_tries < _MOST_TRIES:
            try:
                for packet in self._container.demux(self._streams):
                    num_tries = 0
                    yield packet
            except av.BlockingIOError:  # MPEG-TS has lost its step
                num_tries += 1
            except av.InvalidDataError:
                break
            else:
                return
        self.is_broken = True
        for stream in self._streams:
            last: Packet[Stream] = Packet()
            last.stream = stream
            yield last


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors while ``path`` is read into a MediaError with the path."""
    try:
        yield
    except av.FFmpegError as error:
        raise MediaError(f"reading {path} failed: {explain(error)}") from error
