"""The process that does the work: what goes wrong in it, or is stopped, leaves the page standing.

It waits for tasks with everything loaded, runs one after another, and ends with its parent.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType

from vidrestore.errors import MediaError, VidrestoreError
from vidrestore.jobs.progress import Progress
from vidrestore.web.tasks import Outcome, Task

_STEP_SECONDS = 0.2
"""Progress is sent no more often than this."""
_GRACE_SECONDS = 20.0
"""A stopped task tidies up for at most so long."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A task could not be done."""

    reason: str
    """One line for people."""


Message = Progress | Outcome | Failed


def load_code() -> None:
    """Load what every task needs, which takes seconds, before the first one comes."""
    import vidrestore.jobs.restore  # noqa: F401


class Worker:
    """A work process, from its start to its end.

    Args:
        warm_up: What it does before it waits for tasks.
    """

    def __init__(self, warm_up: Callable[[], None] = load_code) -> None:
        context = multiprocessing.get_context("spawn")  # the page has threads: forking is unsafe
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, warm_up), name="vidrestore-work"
        )
        self._process.start()
        theirs.close()  # so that its end is seen here

    @property
    def pid(self) -> int | None:
        """The number of the process."""
        return self._process.pid

    def give(self, task: Task) -> None:
        """Send a task.

        Raises:
            OSError: The process has ended.
        """
        self._connection.send(task)

    def hear(self, seconds: float) -> Message | None:
        """Return what the process has to say; None if it says nothing for so long.

        Raises:
            EOFError: The process has ended.
            OSError: Likewise.
        """
        if not self._connection.poll(seconds):
            return None
        message: Message = self._connection.recv()
        return message

    def stop(self) -> None:
        """End the process: what is at work tidies up, what does not end in time is killed."""
        if self._process.is_alive():
            self._process.terminate()
            deadline = time.monotonic() + _GRACE_SECONDS
            while self._process.is_alive() and time.monotonic() < deadline:
                self._drain()
                self._process.join(0.05)
            if self._process.is_alive():
                self._process.kill()
        self._process.join()
        self._process.close()
        self._connection.close()

    def _drain(self) -> None:
        """Take what the process still says, so that it cannot wait for room in the pipe."""
        try:
            while self._connection.poll():
                self._connection.recv()
        except (EOFError, OSError):
            return


def _serve(connection: Connection, warm_up: Callable[[], None]) -> None:
    """Do tasks until the other side is gone or says stop."""
    for number in _ending_signals():
        signal.signal(number, _interrupt_once)
    try:
        warm_up()
        while True:
            task: Task = connection.recv()
            connection.send(_do(task, connection))
    except (KeyboardInterrupt, EOFError, BrokenPipeError, ConnectionResetError):
        return


def _do(task: Task, connection: Connection) -> Outcome | Failed:
    said = 0.0

    def on_progress(progress: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= _STEP_SECONDS:
            said = time.monotonic()
            connection.send(progress)

    def on_hang(reason: str) -> None:
        connection.send(Failed(reason))
        os._exit(MediaError.exit_code)  # a thread that hangs in a codec cannot be ended otherwise

    try:
        return task.run(on_progress, on_hang)
    except VidrestoreError as error:
        return Failed(" ".join(str(error).split()))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return Failed("the disk is full: free some space and try again")


def _ending_signals() -> list[int]:
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    for other in _ending_signals():
        signal.signal(other, signal.SIG_IGN)  # Ctrl-C comes twice: from the terminal and the page
    raise KeyboardInterrupt
