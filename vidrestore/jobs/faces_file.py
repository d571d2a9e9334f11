"""The faces file: a TOML file that numbers the faces of one film, to be edited by hand.

::

    film = "film.mp4"             which film it is
    num_bytes = 52428800
    samples_sha256 = "…"

    [found_with]                  the settings that decide which faces are found
    detect-every = 3

    [[face]]
    id = 1
    restore = true
    strength = 1.0
    from = 0.0                    for reading only: what counts is `seen`
    to = 12.36
    seen = [[0.0, 312.5, 120.2, 45.1], …]      seconds, centre x, y, width; display pixels
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidrestore.core.face_index import Floats, KnownFace
from vidrestore.errors import MediaError, SettingsError
from vidrestore.media.work_folder import fingerprint
from vidrestore.settings import RestoreSettings

_FILE_KEYS = ("film", "num_bytes", "samples_sha256", "found_with", "face")
_FACE_KEYS = ("id", "restore", "strength", "from", "to", "seen")
_ROUNDING_SECONDS = 0.01
_ROWS_A_LINE = 4

_PREAMBLE = """\
# The faces of a film, numbered as in the picture beside this file. To restore some of them:
#   vidrestore FILM OUT --faces-file THIS --faces 1,3
# Or change `restore` and `strength` (0 to 1) here and leave --faces away. The rest is measured.
"""


@dataclass(frozen=True, slots=True, eq=False)
class FacesFile:
    """What a faces file says."""

    film: str
    """Name of the film, for people."""
    fingerprint: Mapping[str, Any]
    """What tells the film from another; see ``media.work_folder.fingerprint``."""
    found_with: Mapping[str, Any]
    """From ``describe_search``."""
    faces: tuple[KnownFace, ...]

    def digest(self) -> str:
        """Return what differs when the pictures of a run may differ, comments aside."""
        rows = [[f.face_id, f.restore, f.strength, f.seen.tolist()] for f in self.faces]
        return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()[:16]

    def differences(self, search: Mapping[str, Any]) -> list[str]:
        """Say what a run looks for otherwise than the run that found the faces."""
        return [
            f"{key} was {earlier}, is {search[key]}"
            for key, earlier in self.found_with.items()
            if key in search and search[key] != earlier
        ]

    def to_toml(self) -> str:
        """Return the text of the file."""
        lines = [_PREAMBLE, f"film = {_quoted(self.film)}"]
        lines += [f"{key} = {_value(value)}" for key, value in self.fingerprint.items()]
        lines += ["", "[found_with]"]
        lines += [f"{key} = {_value(value)}" for key, value in self.found_with.items()]
        for face in self.faces:
            lines += [
                "",
                "[[face]]",
                f"id = {face.face_id}",
                f"restore = {_value(face.restore)}",
                f"strength = {_value(face.strength)}",
                f"from = {face.seen[0, 0]:.3f}",
                f"to = {face.seen[-1, 0]:.3f}",
                f"seen = [{_rows(face.seen)}]",
            ]
        return "\n".join(lines) + "\n"


def identify(film: Path) -> dict[str, Any]:
    """Return the fingerprint of a film.

    Raises:
        MediaError: It cannot be read.
    """
    try:
        return fingerprint(film)
    except OSError as error:
        raise MediaError(f"cannot read {film}: {error.strerror}") from error


def describe_search(
    settings: RestoreSettings, detector: str, *, has_embedder: bool
) -> dict[str, Any]:
    """Return what decides which faces are found, under the names a user knows.

    Args:
        settings: Of the run.
        detector: Name of the detector's model.
        has_embedder: People are told apart by how they look, too.
    """
    return {
        "detector": detector,
        "embedding": has_embedder,
        "detect-every": settings.detect.every,
        "detect-threshold": settings.detect.threshold,
        "detect-max-side": settings.detect.max_side,
        "detect-min-face": settings.detect.min_face_px,
        "lookahead": settings.track.lookahead,
        "deinterlace": str(settings.read.deinterlace),
        "fields": settings.read.fields,
    }


def read_faces_file(path: Path) -> FacesFile:
    """Read and check a faces file.

    Raises:
        SettingsError: It cannot be read or says what makes no sense; tells the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise SettingsError(
            f"there is no faces file {path}: 'vidrestore inspect FILM --faces-file {path}' makes it"
        ) from None
    except OSError as error:
        raise SettingsError(f"cannot read the faces file {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # neither TOML nor, perhaps, text
        raise SettingsError(f"{path} is not a TOML file: {error}") from error
    whole = _Table(data, str(path), _FILE_KEYS)
    fingerprint_ = {
        "num_bytes": whole.get("num_bytes", int),
        "samples_sha256": whole.get("samples_sha256", str),
    }
    tables = whole.get("face", list, [])
    faces: dict[int, KnownFace] = {}
    for table, where in zip(tables, _places(path, text, len(tables)), strict=True):
        face = _read_face(table, where)
        if face.face_id in faces:
            raise SettingsError(f"{where}: there is a face {face.face_id} already")
        faces[face.face_id] = face
    found_with = whole.get("found_with", dict, {})
    return FacesFile(whole.get("film", str), fingerprint_, found_with, tuple(faces.values()))


class _Table:
    """A table of the file, and where it stands."""

    def __init__(self, data: object, where: str, keys: Sequence[str]) -> None:
        if not isinstance(data, dict):
            raise SettingsError(f"{where}: write each face as a table under [[face]]")
        for key in data:
            if key not in keys:
                raise SettingsError(f"{where}: unknown key '{key}': use {', '.join(keys)}")
        self._data, self._where = data, where

    def get(self, key: str, kind: type, default: Any = None) -> Any:  # noqa: ANN401 - checked here
        """Return the value of a key; without a default it must be there."""
        value = self._data.get(key, default)
        if value is None:
            self.refuse(f"'{key}' is missing")
        if kind is float and type(value) is int:
            value = self._as_float(value)
        if type(value) is not kind:
            names = {bool: "true or false", int: "a whole number", float: "a number"}
            names |= {str: "a text in quotes", list: "a list", dict: "a table"}
            self.refuse(f"{key} is {_short(value)}: use {names[kind]}")
        return value

    def _as_float(self, value: int) -> float:
        try:
            return float(value)
        except OverflowError:
            return math.inf

    def refuse(self, text: str) -> None:
        """Raise an error that says where."""
        raise SettingsError(f"{self._where}: {text}")


def _read_face(data: object, where: str) -> KnownFace:
    table = _Table(data, where, _FACE_KEYS)
    number = table.get("id", int)
    if number < 1:
        table.refuse(f"id is {number}: use 1 or more")
    strength = table.get("strength", float, 1.0)
    if not 0 <= strength <= 1:
        table.refuse(f"strength is {strength}: use 0 to 1")
    seen = _read_seen(table)
    for key, end in (("from", seen[0, 0]), ("to", seen[-1, 0])):
        if not abs(table.get(key, float, float(end)) - end) <= _ROUNDING_SECONDS:
            table.refuse(f"'{key}' is only for reading, and by 'seen' it is {end:.3f}")
    return KnownFace(number, seen, table.get("restore", bool, True), strength)


def _read_seen(table: _Table) -> Floats:
    rows = table.get("seen", list)
    is_well = rows and all(
        isinstance(row, list) and len(row) == 4 and all(type(v) in (int, float) for v in row)
        for row in rows
    )
    try:
        seen = np.array(rows if is_well else [[np.nan] * 4], np.float64)
    except OverflowError:  # a whole number beyond all floats
        seen = np.array([[np.nan] * 4])
    is_well = np.isfinite(seen).all() and (seen[:, 3] > 0).all() and (np.diff(seen[:, 0]) > 0).all()
    if not is_well:
        table.refuse("seen is not a list of [seconds, x, y, width] with increasing seconds")
    return seen


def _places(path: Path, text: str, count: int) -> Iterator[str]:
    """Name the line at which each face begins, where that can be told."""
    headers = r"^[ \t]*\[\[[ \t]*face[ \t]*\]\]"
    starts = [match.start() for match in re.finditer(headers, text, re.MULTILINE)]
    for k in range(count):
        if len(starts) == count:
            yield f"{path}, the face at line {text.count(chr(10), 0, starts[k]) + 1}"
        else:
            yield f"{path}, face number {k + 1} of {count}"


def _rows(seen: Floats) -> str:
    rows = [f"[{t:.6f}, {x:.1f}, {y:.1f}, {width:.1f}]" for t, x, y, width in seen]
    if len(rows) <= _ROWS_A_LINE:
        return ", ".join(rows)
    lines = [", ".join(rows[k : k + _ROWS_A_LINE]) for k in range(0, len(rows), _ROWS_A_LINE)]
    return "\n    " + ",\n    ".join(lines) + ",\n"


def _value(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """Write a basic string of TOML; bytes of a name that are no text become question marks."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]} ..."
