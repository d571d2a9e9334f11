"""Rules for every test: no network but loopback, no leaked threads, and no silent skips."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
REQUIRED = frozenset(os.environ.get("VIDRESTORE_REQUIRE", "").replace(",", " ").split())


def skip_or_fail(what: str, reason: str) -> None:
    """Skip, unless VIDRESTORE_REQUIRE names ``what``: then its absence is a failure."""
    if what in REQUIRED:
        pytest.fail(f"{what} is required (VIDRESTORE_REQUIRE) but {reason}")
    pytest.skip(f"{what}: {reason}", allow_module_level=True)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with reference numbers, real clips and photographs that the project does not carry."""
    path = Path(os.environ.get("VIDRESTORE_SHARED", REPOSITORY.parent / "shared"))
    if not (path / "golden").is_dir():
        skip_or_fail("shared", f"reference material not found at {path} (set VIDRESTORE_SHARED)")
    return path


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def loopback_only(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        if host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address!r}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", loopback_only)


@pytest.fixture(autouse=True)
def _no_leaked_threads() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        # tqdm's monitor is a daemon that lives for the whole process
        leaked = [t for t in set(threading.enumerate()) - before if type(t).__name__ != "TMonitor"]
        if not leaked:
            return
        time.sleep(0.02)
    pytest.fail(f"threads left behind: {[t.name for t in leaked]}")
