"""Tasks for the work process that need no networks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidrestore.errors import MediaOpenError
from vidrestore.jobs.progress import OnProgress, Progress
from vidrestore.runtime.workers import Tell
from vidrestore.web.tasks import Outcome, Task
from vidrestore.web.work import Failed, do

if TYPE_CHECKING:
    from vidrestore.jobs.restore import OnHang


@contextmanager
def light_work() -> Iterator[Callable[[Task, Tell], Outcome | Failed]]:
    """Loads nothing beforehand."""
    yield do


@dataclass(frozen=True, slots=True)
class Count:
    """Counts to some number, slowly; leaves a file behind however it ends."""

    folder: Path
    name: str
    to: int = 3
    step_seconds: float = 0.0
    kind: str = "film"

    def run(self, on_progress: OnProgress, on_hang: OnHang) -> Outcome:
        made = self.folder / self.name
        try:
            for k in range(self.to):
                on_progress(Progress(k + 1, self.to, float(k)))
                time.sleep(self.step_seconds)
            made.write_text("whole")
        except KeyboardInterrupt:
            made.write_text("tidied up")
            raise
        return Outcome({self.name: made}, (f"process {os.getpid()}",))


@dataclass(frozen=True, slots=True)
class Misfortune:
    """Goes wrong in one of several ways."""

    way: str
    kind: str = "film"

    def run(self, on_progress: OnProgress, on_hang: OnHang) -> Outcome:
        if self.way == "refused":
            raise MediaOpenError("holiday.txt is\nnot a film")
        if self.way == "full":
            raise OSError(28, "No space left on device")
        if self.way == "hung":
            on_hang("a codec hangs")
        os._exit(9)
