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
from av.codec.hwaccel import HWAccel
from av.packet import Packet
from av.stream import Stream

from vidrestore.errors import DeviceError, MediaError, MediaOpenError

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
MOST_SIDE, MOST_PIXELS = 16_384, 1 << 27
"""The largest pictures that are read; what claims to be larger is damaged, or would not fit."""
_LIMITS = {"max_pixels": str(MOST_PIXELS)}
_STILL_FORMATS = frozenset({"image2", "image2pipe", "ico"})
_MOST_TRIES = 1000
_BOXES = frozenset(
    {b"ftyp", b"mdat", b"moov", b"wide", b"free", b"skip", b"uuid", b"udta", b"meta"}
)
_MOST_BOXES = 1000
# A play list may name local files only; nothing is fetched behind the user's back.
_CONTAINER_OPTIONS = {"protocol_whitelist": "file"}


def explain(error: av.FFmpegError) -> str:
    """Return FFmpeg's reason as a few words for the user."""
    return (error.strerror or type(error).__name__).rstrip(".")


def open_source(path: Path, *, nvdec: bool = False) -> av.container.InputContainer:
    """Open a film for reading.

    Args:
        path: The film.
        nvdec: Decode its pictures on an NVIDIA card.

    Raises:
        DeviceError: There is no such card.
        MediaOpenError: The path is missing, is no regular file, or holds nothing FFmpeg knows.
    """
    _require_file(path)
    # With "file:" before it, a name such as "tape:1.mp4" is not taken for a protocol.
    url = f"file:{path.absolute()}"
    hwaccel = HWAccel("cuda", allow_software_fallback=False) if nvdec else None
    try:
        try:
            container = av.open(
                url,
                "r",
                options=_LIMITS,
                container_options=_CONTAINER_OPTIONS,
                hwaccel=hwaccel,
            )
        except UnicodeDecodeError:  # tags written by old recorders are not UTF-8
            container = av.open(
                url,
                "r",
                options=_LIMITS,
                container_options=_CONTAINER_OPTIONS,
                metadata_encoding="cp1252",
                metadata_errors="replace",
                hwaccel=hwaccel,
            )
    except av.FFmpegError as error:
        if nvdec and isinstance(error, PermissionError):
            raise DeviceError(
                "NVDEC needs an NVIDIA card and a driver; there is none: leave --nvdec out"
            ) from error
        reason = f" as a video: {explain(error)}"
        try:
            reason = _why_not(path) or reason
        except OSError as failure:
            reason = f": {failure.strerror}"
        raise MediaOpenError(f"cannot open {path}{reason}") from error
    # PyAV asks for invented timestamps; for DivX with packed B-frames they come out of order.
    container.flags &= ~cast(int, av.container.Flags.gen_pts.value)
    return container


def _why_not(path: Path) -> str:
    """Say what an MP4 or MOV that cannot be opened lacks; empty if it is none."""
    size, at, is_cut = path.stat().st_size, 0, False
    names: list[bytes] = []
    with path.open("rb") as file:
        while at + 8 <= size and len(names) < _MOST_BOXES:
            file.seek(at)
            head = file.read(16)
            length, name = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:], "big")
            if name not in _BOXES or (length < 8 and length != 0):
                break
            names.append(name)
            is_cut = at + length > size
            at = at + length if length else size
    if not names or names[0] not in (b"ftyp", b"mdat", b"wide"):
        return ""
    if b"moov" not in names:
        lost = ", and it is cut off" if is_cut else ""
        return f": its index (moov) is missing{lost}; the recording was not finished"
    return ": it is cut off within its index (moov)" if is_cut else ""


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


def limit_size(stream: av.video.stream.VideoStream) -> None:
    """Make a decoder refuse pictures of absurd size before it asks for memory."""
    stream.codec_context.options = {**stream.codec_context.options, **_LIMITS}


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
        raise MediaOpenError(f"{path} is a still picture, not a film: use `vidrestore photo`")
    stream = film_stream(container)
    if stream is not None and container.format.name != "tty":  # tty: any text can be "decoded"
        return stream
    missing = _why_not(path)
    if missing:
        raise MediaOpenError(f"cannot open {path}{missing}")
    if any(_has_no_size(other) for other in container.streams.video):
        raise MediaOpenError(
            f"{path} does not say how large its pictures are, or says they are larger than "
            f"{MOST_PIXELS >> 20} million pixels; is it damaged?"
        )
    if container.streams.audio:
        raise MediaOpenError(f"{path} holds sound but no video")
    if any(s.type == "video" and s.codec_context is None for s in container.streams):
        raise MediaOpenError(f"{path} holds video in a format that cannot be decoded here")
    raise MediaOpenError(f"{path} holds no video")


def _has_no_size(stream: av.video.stream.VideoStream) -> bool:
    is_film = stream.codec_context is not None and not stream.disposition & NOT_A_FILM
    return is_film and stream.codec_context.width <= 0


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
            except IndexError:  # PyAV fails at the end if tracks came up that were not announced
                return
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
