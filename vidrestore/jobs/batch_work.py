"""What a worker process of a batch does with one film or photograph."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vidrestore.errors import MediaError, VidrestoreError
from vidrestore.jobs.batch_record import State
from vidrestore.jobs.space import is_disk_full
from vidrestore.media.target import claim_target
from vidrestore.settings import RestoreSettings

if TYPE_CHECKING:  # PyTorch takes seconds, and counts the cores
    from vidrestore.jobs.photo import PhotoRestorer

EXIT_BUG = 70
"""``EX_SOFTWARE`` of sysexits.h, as the command line ends with."""

Tell = Callable[[object], None]


@dataclass(frozen=True, slots=True)
class BatchTask:
    """One input, and what is to become of it."""

    name: str
    """Path from the folder of the inputs, with slashes."""
    source: Path
    target: Path
    is_photograph: bool
    settings: RestoreSettings


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task."""

    state: State
    seconds: float
    exit_code: int = 0
    error: str | None = None
    notes: tuple[str, ...] = ()
    """What was added to the error: what is kept, and how to go on."""
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    is_disk_full: bool = False
    """Others would fail in the same way."""


@dataclass(frozen=True, slots=True)
class Hung:
    """A codec hangs; the process ends itself after these words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Logged:
    """What a run logs while it is at work."""

    level: int
    text: str


@contextmanager
def restoring_items() -> Iterator[Callable[[BatchTask, Tell], Outcome]]:
    """Yield a function that restores one film or photograph after the other.

    The networks of photographs stay loaded until a film comes, which loads its own.
    """
    with ExitStack() as networks:
        yield _Restorer(networks)


class _Restorer:
    """Restores one item after the other; never raises but to end the process."""

    def __init__(self, networks: ExitStack) -> None:
        self._networks = networks
        self._photographs: PhotoRestorer | None = None

    def __call__(self, task: BatchTask, tell: Tell) -> Outcome:
        begun = time.perf_counter()

        def outcome(state: State, error: BaseException, exit_code: int, text: str) -> Outcome:
            return Outcome(
                state=state,
                seconds=time.perf_counter() - begun,
                exit_code=exit_code,
                error=" ".join(text.split()),
                notes=tuple(getattr(error, "__notes__", ())),
                is_disk_full=is_disk_full(error),
            )

        try:
            with _logging_to(tell):
                counts, warnings = self._restore(task, tell)
        except VidrestoreError as error:
            return outcome(State.FAILED, error, error.exit_code, str(error))
        except KeyboardInterrupt as error:
            return outcome(State.INTERRUPTED, error, 130, "interrupted")
        except Exception as error:  # noqa: BLE001 - the others go on, and the parent reports it
            text = f"an error of the program itself: {type(error).__name__}: {error}"
            return outcome(State.FAILED, error, EXIT_BUG, text)
        seconds = time.perf_counter() - begun
        return Outcome(State.DONE, seconds, counts=counts, warnings=warnings)

    def _restore(self, task: BatchTask, tell: Tell) -> tuple[dict[str, int], tuple[str, ...]]:
        if task.is_photograph:
            return self._restore_photograph(task)
        from vidrestore.jobs.restore import restore_video  # late: the cores are shared out by now

        self._networks.close()
        self._photographs = None

        def leave(reason: str) -> None:
            tell(Hung(reason))
            os._exit(MediaError.exit_code)

        report = restore_video(task.source, task.target, task.settings, tell, leave)
        found = report.frames
        counts = {key: found[key] for key in ("written", "painted", "faces", "kept")}
        return counts, tuple(report.warnings)

    def _restore_photograph(self, task: BatchTask) -> tuple[dict[str, int], tuple[str, ...]]:
        claim_target(task.target, task.source, overwrite=task.settings.encode.overwrite)
        if self._photographs is None:
            self._photographs = self._networks.enter_context(_photograph_restorer(task.settings))
        result = self._photographs.restore(task.source, task.target)
        counts = {
            "faces": len(result.faces),
            "painted": sum(face.strength > 0 for face in result.faces),
        }
        return counts, result.notes


def _photograph_restorer(settings: RestoreSettings) -> AbstractContextManager[PhotoRestorer]:
    """Load networks for photographs; whether one may be replaced is asked for each of them."""
    from vidrestore.jobs.photo import photo_restorer

    encode = dataclasses.replace(settings.encode, overwrite=True)
    return photo_restorer(dataclasses.replace(settings, encode=encode))


class _Forwarder(logging.Handler):
    """Sends log records to the parent."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        self._tell(Logged(record.levelno, record.getMessage()))


@contextmanager
def _logging_to(tell: Tell) -> Iterator[None]:
    logger = logging.getLogger("vidrestore")
    handler, before = _Forwarder(tell), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
