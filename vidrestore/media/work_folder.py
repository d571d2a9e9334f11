"""The folder beside an output in which it grows, and which outlives a run that was cut short.

::

    out.mp4.unfinished/
        job.json      what is made here: film, settings, models, versions
        00000.nut     a segment; it counts once its manifest is there
        00000.json    its manifest
        00000.state   what else the run knew at its end; kept for the newest only
        lock          held by the process at work

Every file is written under another name, brought to the disk, and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vidrestore.errors import OutputError, SettingsError
from vidrestore.media.segments import Segment

_JOB, _LOCK = "job.json", "lock"
_SAMPLES, _SAMPLE_BYTES = 16, 1 << 18

Plain = Mapping[str, Any]
"""Data as JSON gives it back."""


def work_path(target: Path) -> Path:
    """Return the folder in which an output grows."""
    return target.with_name(f"{target.name}.unfinished")


class WorkFolder:
    """One work folder, held by this process alone."""

    def __init__(self, target: Path) -> None:
        """Create the folder if need be, and take hold of it.

        Raises:
            OutputError: Another process is at work in it.
            OSError: It cannot be created.
        """
        self.path = work_path(target)
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"{self.path} is in the way: move it elsewhere")
        self.path.mkdir(exist_ok=True)
        self._lock = FileLock(self.path / _LOCK, timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise OutputError(f"another run is writing {target} at this moment") from None

    def take_up(self, job: Plain) -> tuple[list[Segment], Plain | None]:
        """Return the finished segments of the same job, and the state after the last of them.

        Where there are none, ``start_over`` is to follow.

        Args:
            job: Everything that decides how the pictures come out, in nested mappings.

        Raises:
            SettingsError: The folder holds another job.
        """
        earlier = _read(self.path / _JOB)
        if earlier is not None:
            differing = sorted(_differences(earlier, job))
            if differing:
                what = "; ".join(differing[:4]) + (" …" if len(differing) > 4 else "")
                raise SettingsError(
                    f"{self.path} holds an unfinished run that began otherwise ({what}): "
                    "run it with what it began with, or start over with --fresh"
                )
            segments = list(self._segments())
            while segments:
                state = _read(self.path / _state_name(segments[-1].number))
                if state is not None:
                    return segments, state
                segments.pop()
        return [], None

    def start_over(self, job: Plain) -> None:
        """Remove what an earlier run left."""
        for path in self.path.iterdir():
            if path.name != _LOCK:
                path.unlink()
        self._write(_JOB, job)

    def publish(self, draft: Path, segment: Segment, state: Plain) -> None:
        """Make a finished segment count."""
        draft.replace(self.path / segment.file_name)
        self._write(_state_name(segment.number), state)
        self._write(_manifest_name(segment.number), segment.to_json())
        (self.path / _state_name(segment.number - 1)).unlink(missing_ok=True)

    def remove(self) -> None:
        """Let go of the folder and delete it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()
        with suppress(OSError):
            self.path.rmdir()  # the lock's own file may have come back

    def release(self) -> None:
        """Let go of the folder; what is finished stays."""
        self._lock.release()

    def _segments(self) -> Iterator[Segment]:
        """Read the manifests in order, up to the first that is missing or not true."""
        number = 0
        while (data := _read(self.path / _manifest_name(number))) is not None:
            try:
                segment = Segment.from_json(data)
            except (KeyError, TypeError, ValueError):
                return
            if not _is_intact(self.path / segment.file_name, segment):
                return
            yield segment
            number += 1

    def _write(self, name: str, data: Plain) -> None:
        draft = self.path / f"{name}.part"
        with draft.open("w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path / name)
        self._sync()

    def _sync(self) -> None:
        """Bring the renames to the disk, where folders can be synced."""
        if os.name == "posix":
            handle = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def fingerprint(path: Path) -> dict[str, Any]:
    """Return what tells a film from another: its size, and a digest of samples spread over it."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for k in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * k // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return {"num_bytes": size, "samples_sha256": digest.hexdigest()}


def _manifest_name(number: int) -> str:
    return f"{number:05}.json"


def _state_name(number: int) -> str:
    return f"{number:05}.state"


def _read(path: Path) -> Plain | None:
    """Read a mapping; None if there is none that can be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _is_intact(path: Path, segment: Segment) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content).hexdigest() == segment.sha256


def _differences(earlier: object, now: object, name: str = "") -> Iterator[str]:
    """Name what differs between two trees, with both values where they are short."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in {**earlier, **now}:
            yield from _differences(earlier.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif isinstance(earlier, Sequence) and isinstance(now, Sequence) and list(earlier) == list(now):
        return
    elif earlier != now:
        yield f"{name} was {_short(earlier)}, is {_short(now)}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:20]}…"
