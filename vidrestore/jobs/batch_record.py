"""``batch.json``: what became of each file of a folder, written after each of them.

::

    {"schema_version": 1, "items": {"1994/tape.avi": {
        "output": "1994/tape.mp4",      path below the folder of the outputs
        "folder": "/films",             where the input lay
        "source": {...},                size and digest, which tell it from another
        "settings": "9f…",              digest of all that decides how the output comes out
        "state": "done",                or started, failed, interrupted
        "output_bytes": 123456,         null as long as there was no output
        "seconds": 12.3, "counts": {"frames": 200, ...},
        "exit_code": 0, "error": null, "warnings": []}}}
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vidrestore.errors import OutputError, VidrestoreError
from vidrestore.media.work_folder import sync_folder

RECORD_NAME, _LOCK_NAME = "batch.json", ".batch.lock"
_SCHEMA_VERSION = 1


class State(StrEnum):
    """How far an item is."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one input; see the module's docstring."""

    output: str
    folder: str
    source: Mapping[str, Any]
    settings: str
    state: State
    output_bytes: int | None = None
    seconds: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    exit_code: int = 0
    error: str | None = None
    warnings: tuple[str, ...] = ()


class BatchRecord:
    """The record in a folder of outputs.

    Args:
        folder: Of the outputs; it need not exist as long as nothing is written.

    Raises:
        OutputError: There is one, but it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / RECORD_NAME
        self.entries: dict[str, Entry] = {}
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise OutputError(f"cannot read {self.path}: {error}") from error
        try:
            data = json.loads(text)
            if data["schema_version"] != _SCHEMA_VERSION:
                raise OutputError(f"{self.path} was written by another version of this program")
            self.entries = {name: _entry(row) for name, row in data["items"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _damaged(self.path, error) from error

    def put(self, name: str, entry: Entry) -> None:
        """Change what is known of an input, also on the disk.

        Raises:
            OutputError: It cannot be written.
        """
        self.entries[name] = entry
        rows = {name: dataclasses.asdict(self.entries[name]) for name in sorted(self.entries)}
        draft = self.path.with_name(f"{self.path.name}.part")
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump({"schema_version": _SCHEMA_VERSION, "items": rows}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error


def _damaged(path: Path, error: Exception) -> VidrestoreError:
    return OutputError(
        f"{path} is damaged ({type(error).__name__}): move it elsewhere; the outputs that are "
        "there are then replaced only with --overwrite"
    )


def _entry(row: Mapping[str, Any]) -> Entry:
    entry = Entry(**{**row, "state": State(row["state"]), "warnings": tuple(row["warnings"])})
    texts, num_bytes = (entry.output, entry.folder, entry.settings), entry.output_bytes
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is missing")
    if not isinstance(entry.source, dict) or not isinstance(num_bytes, int | None):
        raise TypeError("the source or the size of the output is no such thing")
    parts = Path(entry.output).parts
    if ".." in parts or Path(entry.output).is_absolute():
        raise ValueError("an output lies elsewhere")
    return entry


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Create a folder of outputs if need be, and hold it for this process alone.

    Raises:
        OutputError: It cannot be created or written to, or another batch is at work in it.
    """
    lock = FileLock(folder / _LOCK_NAME, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputError(f"another batch is at work in {folder} at this moment") from None
    except OSError as error:
        raise OutputError(f"cannot write to the folder {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
        (folder / _LOCK_NAME).unlink(missing_ok=True)
