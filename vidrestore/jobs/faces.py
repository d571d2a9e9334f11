"""Goes through a whole film, numbers its faces, and writes the faces file and its pictures."""

from __future__ import annotations

import logging
import os
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidrestore.contracts import TrackedFrame
from vidrestore.core.face_index import KnownFace, place_of, thinned
from vidrestore.core.portraits import Album, FoundFace, take_portrait
from vidrestore.errors import MediaOpenError, OutputError, SettingsError
from vidrestore.jobs.face_sheet import draw_sheets, sheet_path
from vidrestore.jobs.faces_file import (
    FacesFile,
    describe_search,
    identify,
    read_faces_file,
)
from vidrestore.jobs.networks import choose_models, load_embedder, loaded_detector
from vidrestore.jobs.progress import OnProgress, Progress
from vidrestore.jobs.restore import OnHang, num_frames_in
from vidrestore.media.read import VideoReader
from vidrestore.media.target import claim_target
from vidrestore.pipeline import Span
from vidrestore.runtime.executor import buffered
from vidrestore.runtime.watchdog import watching
from vidrestore.settings import RestoreSettings
from vidrestore.stages.decode import decode_frames
from vidrestore.stages.detect import detect_faces
from vidrestore.stages.track import track_faces

logger = logging.getLogger(__name__)

NUM_PORTRAITS = 3
"""Portraits that are kept of each face."""
_DEPTH = 4
"""Frames that each thread may be ahead of the next."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundFaces:
    """All faces of a film."""

    faces: tuple[FoundFace, ...]
    """In order of appearance, from left to right where they appear together; ids from 1."""
    found_with: dict[str, object]
    """Detector and settings, from ``describe_search``."""


@dataclass(frozen=True, slots=True, eq=False)
class NumberedFaces:
    """What ``number_faces`` leaves behind."""

    path: Path
    sheets: tuple[Path, ...]
    """The contact sheet, page by page."""
    found: FoundFaces


def number_faces(
    source: str | Path,
    path: str | Path,
    settings: RestoreSettings | None = None,
    on_progress: OnProgress | None = None,
    on_hang: OnHang | None = None,
) -> NumberedFaces:
    """Find all faces of a film and write the faces file and, beside it, its contact sheet.

    A run with ``BlendSettings(faces=(2, 5), faces_file=path)`` then restores some of them.

    Args:
        source: The film; it is read from end to end, but nothing is restored.
        path: The faces file, ``….toml``; the sheet is ``….png``, further pages ``…-2.png`` etc.
        settings: How faces are found and followed, as for ``restore_video``;
            ``encode.overwrite`` replaces what there is. The span is not heeded.
        on_progress: Called after each frame.
        on_hang: Called when nothing moves any more; see ``restore_video``.

    Raises:
        MediaError: The film cannot be read.
        WeightsError: The detector is not installed.
        OutputError: The files exist already, or cannot be written.
        SettingsError: The name is not that of a TOML file.
    """
    source, path, settings = Path(source), Path(path), settings or RestoreSettings()
    if path.suffix != ".toml":
        raise SettingsError(f"the faces file is TOML: call it {path.with_suffix('.toml').name}")
    old_pages = _pages_of(path)
    are_ours = _is_faces_file(path)
    for target in (path, sheet_path(path, 1), *old_pages):
        claim_target(target, source, overwrite=settings.encode.overwrite)
    found = find_faces(source, settings, on_progress, on_hang)
    pages = draw_sheets(found.faces, source.name)
    sheets = tuple(sheet_path(path, k + 1) for k in range(len(pages)))
    known = tuple(face.known for face in found.faces)
    text = FacesFile(source.name, identify(source), found.found_with, known).to_toml()
    _write_all({**dict(zip(sheets, pages, strict=True)), path: text.encode()})
    for left_over in set(old_pages) - set(sheets) if are_ours else ():
        with suppress(OSError):
            left_over.unlink()
    return NumberedFaces(path, sheets, found)


def find_faces(
    source: Path,
    settings: RestoreSettings,
    on_progress: OnProgress | None = None,
    on_hang: OnHang | None = None,
) -> FoundFaces:
    """Find all faces of a film; see ``number_faces``."""
    chosen = choose_models(settings.model)
    embedder, why = load_embedder()
    with (
        VideoReader(source, settings.read) as reader,
        loaded_detector(chosen, settings.model, settings.detect) as (detector, facts, choices),
    ):
        for choice in (*chosen.choices[1:], *reader.notes, *choices, why):
            logger.info("%s", choice)
        num_expected = num_frames_in(reader, Span())
        register = _Register()
        with ExitStack() as stack:
            stack.enter_context(_guarded(reader, settings.patience_seconds, on_hang))
            depth = _DEPTH if settings.overlap else 0
            decoded = decode_frames(reader, None, None)
            decoded = stack.enter_context(buffered(decoded, depth, "decode"))
            detected = detect_faces(decoded, detector, settings.detect, embedder)
            detected = stack.enter_context(buffered(detected, depth, "detect"))
            count = 0
            for item in track_faces(detected, settings.detect, settings.track, embedder):
                register.add(item)
                count += 1
                if on_progress is not None:
                    on_progress(Progress(count, num_expected, item.frame.seconds))
        if not count:
            raise MediaOpenError(f"{source}: no frame could be decoded")
    found_with = describe_search(settings, facts["name"], has_embedder=embedder is not None)
    return FoundFaces(register.faces(), found_with)


class _Register:
    """Gathers where each track was seen, and its portraits."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[array[float], Album]] = {}
        """Of the shot that is going on, by the tracker's ids."""
        self._closed: list[FoundFace] = []

    def add(self, item: TrackedFrame) -> None:
        if item.is_cut:
            self._close()
        for track in item.tracks:
            path, album = self._open.setdefault(track.track_id, (array("d"), Album()))
            path.extend((item.frame.seconds, *place_of(track.landmarks)))
            if track.measured is not None or album.is_empty:
                portrait = take_portrait(item.frame, track)
                if portrait is not None:
                    album.offer(portrait)

    def faces(self) -> tuple[FoundFace, ...]:
        """Return all faces, with their final ids."""
        self._close()
        ordered = sorted(self._closed, key=lambda face: tuple(face.known.seen[0, :2]))
        return tuple(
            FoundFace(KnownFace(k + 1, face.known.seen), face.portraits)
            for k, face in enumerate(ordered)
        )

    def _close(self) -> None:
        for path, album in self._open.values():
            seen = thinned(np.array(path).reshape(-1, 4))
            self._closed.append(FoundFace(KnownFace(0, seen), album.best(NUM_PORTRAITS)))
        self._open.clear()


@contextmanager
def _guarded(reader: VideoReader, seconds: float, on_hang: OnHang | None) -> Iterator[None]:
    """Raise the alarm when no picture is decoded for too long."""

    def alarm() -> None:
        text = f"nothing has moved for {seconds:.0f} s: a codec hangs"
        if on_hang is None:
            logger.error("%s", text)
        else:
            on_hang(text)

    with watching(lambda: reader.damage.num_pictures, seconds, alarm):
        yield


def _is_faces_file(path: Path) -> bool:
    try:
        read_faces_file(path)
    except SettingsError:
        return False
    return True


def _pages_of(path: Path) -> list[Path]:
    """Return the further pages of an earlier contact sheet."""
    pages: list[Path] = []
    while (page := sheet_path(path, len(pages) + 2)).exists():
        pages.append(page)
    return pages


def _write_all(files: dict[Path, bytes]) -> None:
    """Write files under other names, then give them their names, the last one last."""
    drafts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in files}
    try:
        for path, content in files.items():
            drafts[path].write_bytes(content)
        for path, draft in drafts.items():
            draft.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {error.filename}: {error.strerror}") from error
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
