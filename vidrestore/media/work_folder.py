"""The folder beside an output in which it grows, and which outlives a run that was cut short.

::

    out.mp4.unfinished/
        job.json      what is made here: film, settings, models, versions
        00000.nut     a segment; it counts once its manifest is there
        00000.json    its manifest, and what else the run learnt while it was made
        lock          held by the process at work

Every file is written under another name, brought to the disk, and renamed. Only files of these
names are ever removed; a folder that holds anything else is not touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vidrestore.errors import OutputError, SettingsError
from vidrestore.media.segments import Segment

_JOB, _LOCK = "job.json", "lock"
_OWN_NAMES = re.compile(
    r"job\.json(\.part)?|lock|\d{5}\.(nut|json)(\.part)?|joined\.\w+\.part|rehearsal\.part"
)
_SAMPLES, _SAMPLE_BYTES = 16, 1 << 18

Plain = Mapping[str, Any]
"""Data as JSON gives it back."""


def work_path(target: Path) -> Path:
    """Return the folder in which an output grows that a later run may go on with."""
    return target.with_name(f"{target.name}.unfinished")


def scratch_path(target: Path) -> Path:
    """Return the folder in which an output grows that no later run goes on with."""
    return target.with_name(f".{target.name}.unfinished")


class WorkFolder:
    """One work folder, held by this process alone."""

    def __init__(self, path: Path, target: Path) -> None:
        """Create the folder if need be, and take hold of it.

        Args:
            path: From ``work_path`` or ``scratch_path``.
            target: The output, for messages.

        Raises:
            OutputError: Something else has that name, or another process is at work in it.
            OSError: It cannot be created.
        """
        self.path = path
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise OutputError(f"{path} is in the way: move it elsewhere")
        if not path.exists():
            path.mkdir()
            sync_folder(path.parent)
        self._refuse_foreign_files()
        self._lock = FileLock(path / _LOCK, timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise OutputError(f"another run is writing {target} at this moment") from None

    def take_up(self, job: Plain) -> list[tuple[Segment, Plain]]:
        """Return the finished segments of the same job, each with what was kept beside it.

        Nothing is changed. Where there are none, ``start_over`` is to follow.

        Args:
            job: Everything that decides how the pictures come out, in nested mappings.

        Raises:
            SettingsError: The folder holds another job.
            OutputError: It holds segments, but no longer says of what.
            OSError: It cannot be read.
        """
        earlier = _read(self.path / _JOB)
        if earlier is None:
            if any(self.path.glob("*.nut")):
                raise OutputError(
                    f"{self.path} holds finished work, but its {_JOB} is damaged: start over with "
                    "--fresh, or move the folder elsewhere"
                )
            return []
        differing = sorted(_differences(earlier, job))
        if differing and not self.num_manifests():
            return []  # nothing was finished that could be lost
        if differing:
            what = "; ".join(differing[:4]) + (" …" if len(differing) > 4 else "")
            raise SettingsError(
                f"{self.path} holds an unfinished run that began otherwise ({what}): "
                "run it with what it began with, or start over with --fresh"
            )
        return list(self._finished())

    def num_manifests(self) -> int:
        """Return how many segments were once finished, intact or not."""
        return sum(1 for path in self.path.glob("*.json") if path.name != _JOB)

    def start_over(self, job: Plain) -> None:
        """Remove what an earlier run left."""
        self._clear()
        self._write(_JOB, job)

    def keep_first(self, count: int) -> None:
        """Remove the segments from a number on."""
        for path in list(self.path.iterdir()):
            if path.name[:5].isdigit() and int(path.name[:5]) >= count:
                path.unlink()

    def publish(self, draft: Path, segment: Segment, state: Plain) -> None:
        """Make a finished segment count."""
        draft.replace(self.path / segment.file_name)
        self._write(_manifest_name(segment.number), {"segment": segment.to_json(), "state": state})

    def remove(self) -> None:
        """Let go of the folder and delete it."""
        with suppress(OSError):  # the drive may be gone; the output is what counts
            self._clear()
        self.release()
        with suppress(OSError):
            (self.path / _LOCK).unlink(missing_ok=True)
            self.path.rmdir()

    def release(self) -> None:
        """Let go of the folder; what is finished stays."""
        self._lock.release()

    def _clear(self) -> None:
        for path in list(self.path.iterdir()):
            if path.name != _LOCK:
                path.unlink()

    def _refuse_foreign_files(self) -> None:
        foreign = [p.name for p in self.path.iterdir() if not _OWN_NAMES.fullmatch(p.name)]
        if foreign:
            raise OutputError(
                f"{self.path} is in the way: it holds '{foreign[0]}', which is not of this program"
            )

    def _finished(self) -> Iterator[tuple[Segment, Plain]]:
        """Read the manifests in order, up to the first that is missing or not true."""
        number = 0
        while (data := _read(self.path / _manifest_name(number))) is not None:
            try:
                segment, state = Segment.from_json(data["segment"]), data["state"]
            except (KeyError, TypeError, ValueError):
                return
            if not _is_intact(self.path / segment.file_name, segment):
                return
            yield segment, state
            number += 1

    def _write(self, name: str, data: Plain) -> None:
        draft = self.path / f"{name}.part"
        text = json.dumps(data)
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path / name)
        sync_folder(self.path)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk, where folders can be synced."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network drives cannot
            os.fsync(handle)
    finally:
        os.close(handle)


def fingerprint(path: Path) -> dict[str, Any]:
    """Return what tells a film from another: its size, and a digest of samples spread over it.

    Raises:
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for k in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * k // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return {"num_bytes": size, "samples_sha256": digest.hexdigest()}


def _manifest_name(number: int) -> str:
    return f"{number:05}.json"


def _read(path: Path) -> Plain | None:
    """Read a mapping; None if there is none, or it is mangled."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _is_intact(path: Path, segment: Segment) -> bool:
    if not path.is_file() or path.stat().st_size != segment.num_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == segment.sha256


def _differences(earlier: object, now: object, name: str = "") -> Iterator[str]:
    """Name what differs between two trees, with both values where they are short."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in {**earlier, **now}:
            yield from _differences(earlier.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif isinstance(earlier, Sequence) and isinstance(now, Sequence) and list(earlier) == list(now):
        return
    elif earlier != now:
        yield f"{name.removeprefix('settings.')} was {_short(earlier)}, is {_short(now)}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:20]}…"
