"""Notices that nothing happens any more: a codec that hangs cannot be interrupted, only left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOOKS = 8


@contextmanager
def watching(
    progress: Callable[[], object], seconds: float, on_silence: Callable[[], None]
) -> Iterator[None]:
    """Watch over the block.

    Looks are counted, not the clock: a process that was stopped for a while is not suspected.

    Args:
        progress: Returns something that changes as long as work goes on. Called from another
            thread, several times in ``seconds``.
        seconds: How long it may stay the same.
        on_silence: Called once, from that other thread, when it stayed the same for longer.
    """
    over = threading.Event()

    def watch() -> None:
        seen, num_alike = progress(), 0
        while not over.wait(seconds / _LOOKS):
            now = progress()
            num_alike = num_alike + 1 if now == seen else 0
            seen = now
            if num_alike == _LOOKS:
                on_silence()
                return

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
