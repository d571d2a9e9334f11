"""Which files of a folder are films and photographs, and what their outputs are called."""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vidrestore.errors import MediaError, OutputError, SettingsError
from vidrestore.media.containers import CONTAINERS, suffixes_for_video
from vidrestore.settings import EncodeSettings, TrackChoice

logger = logging.getLogger(__name__)

PHOTOGRAPH_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
FILM_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m1v", ".m2t", ".m2ts"}
    | {".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov", ".mp4", ".mpe", ".mpeg"}
    | {".mpg", ".mpv", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod"}
    | {".ts", ".vob", ".webm", ".wmv"}
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a folder holds."""

    names: tuple[str, ...]
    """Films and photographs: paths from the folder, with slashes, in order."""
    unreadable: Mapping[str, str]
    """Folders below it that cannot be read, and why."""
    num_others: int
    """Files that are neither, by their names."""


def check_folders(source: Path, target: Path) -> None:
    """Refuse folders that outputs must not be made of, or put into.

    Raises:
        MediaError: ``source`` is no folder.
        SettingsError: ``target`` is ``source``, or holds it.
        OutputError: ``target`` is a file.
    """
    if not source.exists():
        raise MediaError(f"no such folder: {source}")
    if not source.is_dir():
        raise MediaError(f"{source} is a file: for one film, use 'vidrestore IN OUT'")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is a file: name a folder for the outputs")
    inside, outside = source.resolve(), target.resolve()
    if inside == outside or (target.exists() and target.samefile(source)):
        raise SettingsError(f"{target} is the input folder itself: name another for the outputs")
    if inside.is_relative_to(outside):
        raise SettingsError(
            f"the outputs in {target} would get among the inputs in {source}: name another folder"
        )


def find_inputs(source: Path, target: Path, pattern: str | None, *, recursive: bool) -> Inputs:
    """Look through a folder; links to other folders are not followed, hidden files left out.

    Args:
        source: The folder.
        target: Folder of the outputs; nothing in it is taken.
        pattern: Takes files whose name matches it, or whose path if it has a slash; a suffix that
            it spells out counts as that of a film. Capitals are like small letters.
        recursive: Look into the folders below, too.

    Raises:
        MediaError: The folder cannot be read.
    """
    names, unreadable, num_others = [], {}, 0
    is_wanted = _Matcher(pattern)

    def remember(error: OSError) -> None:
        folder = Path(error.filename or source)
        if folder == source:
            raise MediaError(f"cannot read {source}: {error.strerror}") from error
        unreadable[folder.relative_to(source).as_posix()] = error.strerror or "unreadable"

    outputs = target.resolve()
    for path, folders, files in os.walk(source, onerror=remember):
        here = Path(path)
        folders[:] = sorted(
            name for name in folders if recursive and not _is_own(here / name, outputs)
        )
        for name in (here.relative_to(source) / file for file in files):
            if name.name.startswith("."):  # the notes that macOS leaves beside each file, for one
                continue
            verdict = is_wanted(name.as_posix())
            num_others += verdict is None
            if verdict:
                names.append(name.as_posix())
    return Inputs(tuple(sorted(names)), unreadable, num_others)


def _is_own(folder: Path, outputs: Path) -> bool:
    """Tell whether a folder is hidden, holds outputs, or the segments of an unfinished one."""
    name = folder.name
    return name.startswith(".") or name.endswith(".unfinished") or folder.resolve() == outputs


def has_photograph_suffix(name: str) -> bool:
    """Tell photographs from films by the name."""
    return PurePosixPath(name).suffix.lower() in PHOTOGRAPH_SUFFIXES


class _Matcher:
    """Takes names that match a pattern; None for those that are no films or photographs."""

    def __init__(self, pattern: str | None) -> None:
        self._pattern = None if pattern is None else pattern.lower()
        spelt = frozenset() if pattern is None else {PurePosixPath(pattern.lower()).suffix}
        self._suffixes = FILM_SUFFIXES | PHOTOGRAPH_SUFFIXES | (spelt - {""})

    def __call__(self, name: str) -> bool | None:
        path = PurePosixPath(name.lower())
        if self._pattern is not None:
            compared = str(path) if "/" in self._pattern else path.name
            if not fnmatch.fnmatchcase(compared, self._pattern):
                return False
        return True if path.suffix in self._suffixes else None


def name_outputs(
    names: Sequence[str], encode: EncodeSettings, known: Mapping[str, str]
) -> dict[str, str]:
    """Give each input an output of its own: the same path, with a suffix that can be written.

    Where two would get the same name, one of them keeps its own suffix in front of the new one:
    ``tape.avi`` and ``tape.mpg`` become ``tape.mp4`` and ``tape.mpg.mp4``. Capitals are taken for
    small letters, as some drives do.

    Args:
        names: From `Inputs`.
        encode: How films are written.
        known: Outputs that inputs had before; they keep them, and nobody else gets them.
    """
    taken = {name.casefold() for name in known.values()}
    outputs = {}
    # who keeps the own name comes first, so that it does not depend on who else is there
    for name in sorted(names, key=lambda name: (_natural(name, encode) != name, name)):
        natural = _natural(name, encode)
        suffix = PurePosixPath(natural).suffix
        before = known.get(name)
        if before is not None and PurePosixPath(before).suffix == suffix:
            outputs[name] = before
            continue
        output = next(n for n in _candidates(name, natural) if n.casefold() not in taken)
        taken.add(output.casefold())
        outputs[name] = output
    return {name: outputs[name] for name in names}


def _candidates(name: str, natural: str) -> Iterator[str]:
    suffix = PurePosixPath(natural).suffix
    yield natural
    yield name + suffix
    number = 2
    while True:
        yield f"{name}-{number}{suffix}"
        number += 1


def _natural(name: str, encode: EncodeSettings) -> str:
    """Return the name of an output if it were alone."""
    path = PurePosixPath(name)
    if has_photograph_suffix(name):
        return name
    held = suffixes_for_video(encode.codec)
    container = CONTAINERS.get(path.suffix.lower())
    if container is not None and container.suffix in held:
        return name
    # who wants every track as it is gets the container that holds most
    insists = TrackChoice.COPY in (encode.audio, encode.subtitles, encode.attachments)
    return str(path.with_suffix(".mkv" if insists or ".mp4" not in held else ".mp4"))
