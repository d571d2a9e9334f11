"""How a run ends that does not end by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vidrestore.cli.console import complain
from vidrestore.errors import MediaError

_ENDING_SIGNALS = ("SIGTERM", "SIGHUP")
"""Asked to end by the system, and the terminal was closed."""


@contextmanager
def ending_like_ctrl_c() -> Iterator[None]:
    """Let the signals that ask a program to end do what Ctrl-C does while the block runs.

    On threads other than the main one, which may not say what signals do, nothing changes.
    """
    before = {}
    with suppress(ValueError):
        for name in _ENDING_SIGNALS:
            number = getattr(signal, name, None)
            # who runs it with `nohup` wants it to outlive the terminal
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_hanging(reason: str) -> None:
    """End the process at once: a thread that hangs in a codec cannot be ended otherwise."""
    complain(reason)
    os._exit(MediaError.exit_code)
