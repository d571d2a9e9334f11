"""Notices that nothing happens any more: a codec that hangs cannot be interrupted, only left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def watching(
    progress: Callable[[], object], seconds: float, on_silence: Callable[[], None]
) -> Iterator[None]:
    """Watch over the block.

    Args:
        progress: Returns something that changes as long as work goes on. Called from another
            thread, several times in ``seconds``.
        seconds: How long it may stay the same.
        on_silence: Called once, from that other thread, when it stayed the same for longer.
    """
    over = threading.Event()

    def watch() -> None:
        seen, since = progress(), time.monotonic()
        while not over.wait(seconds / 8):
            now = progress()
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since >= seconds:
                on_silence()
                return

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
