"""The films and photographs that people have brought, each in a folder of its own."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from vidrestore.errors import OutputError, SettingsError
from vidrestore.jobs.batch_inputs import FILM_SUFFIXES
from vidrestore.settings import RestoreSettings

KEPT_SECONDS = 24 * 3600.0
"""What nobody has looked at for so long is deleted."""
_MOST_LISTED = 500
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Item:
    """A film or photograph."""

    token: str
    """Whoever knows it may see what belongs to it; cannot be guessed."""
    source: Path
    folder: Path
    """For what is made of it."""
    name: str
    """What people call it."""

    @property
    def faces_file(self) -> Path:
        """Where its faces are numbered."""
        return self.folder / "people" / "faces.toml"

    def target(self, settings: RestoreSettings, ending: str = ".mp4") -> Path:
        """Return where a run puts its result: the same place for the same settings alone.

        So a run that was stopped goes on when it is started again, and one with other settings
        begins anew.
        """
        digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
        folder = self.folder / f"run-{digest}"
        folder.mkdir(exist_ok=True)
        return folder / f"{Path(self.name).stem or 'film'}-restored{ending}"


class Shelf:
    """Keeps items in a temporary folder, which is removed at the end.

    Args:
        root: Films below this folder may be named instead of brought.
        kept_seconds: What nobody has looked at for so long may be swept away.
    """

    def __init__(self, root: Path | None = None, kept_seconds: float = KEPT_SECONDS) -> None:
        self.root = None if root is None else root.resolve()
        self._kept_seconds = kept_seconds
        self._temporary = tempfile.TemporaryDirectory(
            prefix="vidrestore-web-", ignore_cleanup_errors=True
        )
        self._lock = threading.Lock()
        self._items: dict[str, Item] = {}
        self._last_used: dict[str, float] = {}
        for folder in (self.incoming, self._made):
            folder.mkdir()

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *exc: object) -> None:
        self._temporary.cleanup()

    @property
    def incoming(self) -> Path:
        """Where files arrive."""
        return Path(self._temporary.name) / "incoming"

    @property
    def _made(self) -> Path:
        return Path(self._temporary.name) / "made"

    def room_bytes(self) -> int:
        """Return how much more fits on the disk."""
        return shutil.disk_usage(self._temporary.name).free

    def bring(self, arrived: Path) -> Item:
        """Take a file that has arrived; it is moved.

        Raises:
            SettingsError: It is not one of those that have arrived.
            OutputError: The disk is full, or the like.
        """
        arrived = arrived.resolve()
        if not arrived.is_relative_to(self.incoming.resolve()) or not arrived.is_file():
            raise SettingsError("this file was not uploaded here: choose it again")
        name = _plain_name(arrived.name)
        item = self._new(name, None)
        try:
            arrived.replace(item.source)
        except OSError as error:
            raise OutputError(f"cannot keep {name}: {error.strerror}") from error
        return item

    def name_film(self, text: str) -> Item:
        """Take a film below the root; it stays where it is.

        Args:
            text: Its path from the root, or a whole path that leads there.

        Raises:
            SettingsError: There is no such film there, or it is not below the root.
        """
        if self.root is None:
            raise SettingsError("no folder of films was opened: start again with --root")
        try:
            path = (self.root / text.strip()).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            raise SettingsError(f"there is no film '{text}' in {self.root}") from None
        if not path.is_relative_to(self.root) or not path.is_file():
            raise SettingsError(f"there is no film '{text}' in {self.root}")
        return self._new(_plain_name(path.name), path)

    def films(self) -> list[str]:
        """List films below the root, by path from there; the first some hundred."""
        found: list[str] = []
        if self.root is None:
            return found
        for folder, folders, files in os.walk(self.root):  # follows no links
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            here = Path(folder).relative_to(self.root)
            found += [
                str(here / name) for name in sorted(files) if _is_offered(Path(folder) / name)
            ]
            if len(found) >= _MOST_LISTED:
                break
        return found[:_MOST_LISTED]

    def find(self, token: str | None) -> Item | None:
        """Return an item, and take note that somebody looks at it."""
        with self._lock:
            item = self._items.get(token or "")
            if item is not None:
                self._last_used[item.token] = time.monotonic()
            return item

    def stale(self) -> list[Item]:
        """Return what nobody has looked at for long."""
        latest = time.monotonic() - self._kept_seconds
        with self._lock:
            return [item for t, item in self._items.items() if self._last_used[t] < latest]

    def remove(self, item: Item) -> None:
        """Delete an item and what was made of it; a film below the root stays."""
        with self._lock:
            self._items.pop(item.token, None)
            self._last_used.pop(item.token, None)
        shutil.rmtree(item.folder, ignore_errors=True)

    def _new(self, name: str, source: Path | None) -> Item:
        token = secrets.token_urlsafe(18)
        folder = self._made / secrets.token_hex(16)
        try:
            for part in ("source", "people", "frame"):
                (folder / part).mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"cannot make a folder for {name}: {error.strerror}") from error
        item = Item(token, source or folder / "source" / name, folder, name)
        with self._lock:
            self._items[token] = item
            self._last_used[token] = time.monotonic()
        return item


def _is_offered(path: Path) -> bool:
    """Say whether a film is listed; any may be named. Links may lead out of the root."""
    is_film = path.suffix.lower() in FILM_SUFFIXES and not path.name.startswith(".")
    return is_film and not path.is_symlink()


def _plain_name(name: str) -> str:
    """Return a file name that is safe in folders, addresses and headers."""
    stem, suffix = Path(name).stem, Path(name).suffix
    stem = re.sub(r"[^\w .()-]", "_", stem).strip(" .")[:_LONGEST_NAME]
    return (stem or "film") + re.sub(r"[^\w.]", "", suffix)[:10]
