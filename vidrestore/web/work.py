"""What the work process does with the tasks of the page."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vidrestore.errors import MediaError, VidrestoreError
from vidrestore.jobs.progress import Progress
from vidrestore.jobs.space import is_disk_full
from vidrestore.runtime.workers import Tell
from vidrestore.web.tasks import Outcome, Task

_STEP_SECONDS = 0.2
"""Progress is sent no more often than this."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A task could not be done."""

    reason: str
    """One line for people."""


@contextmanager
def doing_tasks() -> Iterator[Callable[[Task, Tell], Outcome | Failed]]:
    """Load what every task needs, which takes seconds, and yield what does them."""
    import vidrestore.jobs.restore  # noqa: F401

    yield do


def do(task: Task, tell: Tell) -> Outcome | Failed:
    """Do a task; ``tell`` is given its progress, or why the process ends itself."""
    said = 0.0

    def on_progress(progress: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= _STEP_SECONDS:
            said = time.monotonic()
            tell(progress)

    def on_hang(reason: str) -> None:
        tell(Failed(reason))
        os._exit(MediaError.exit_code)  # a thread that hangs in a codec cannot be ended otherwise

    try:
        return task.run(on_progress, on_hang)
    except VidrestoreError as error:
        return Failed(" ".join(str(error).split()))
    except OSError as error:
        if not is_disk_full(error):
            raise
        return Failed("the disk is full: free some space and try again")
