"""Runs tasks in processes of their own, so that one that dies takes nothing else with it.

A worker is a fresh interpreter that takes one task after the other, and keeps what it has loaded
in between. Nothing here knows what a task is. One thread of the parent speaks with all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, Generic, TypeVar

from vidrestore.runtime.cores import usable_cores

Task = TypeVar("Task")
Result = TypeVar("Result")
Tell = Callable[[object], None]
"""Sends the parent something while a task is under way; callable from any thread."""
Work = Callable[[Task, Tell], Result]

_ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_LEAVING_SECONDS = 20.0
"""How long a worker that has nothing left to do may take to free its device."""


@dataclass(frozen=True, slots=True)
class Told(Generic[Task]):
    """A worker says something while it works."""

    task: Task
    message: object


@dataclass(frozen=True, slots=True)
class Finished(Generic[Task, Result]):
    """A task is done."""

    task: Task
    result: Result


@dataclass(frozen=True, slots=True)
class Died(Generic[Task]):
    """A worker ended before its task was done."""

    task: Task
    reason: str
    """How it ended, as the end of a sentence: ``was killed (SIGKILL)``."""


class EndRequest:
    """How often someone asked the program to end."""

    count = 0


@contextmanager
def counting_end_requests() -> Iterator[EndRequest]:
    """Let Ctrl-C, SIGTERM and SIGHUP be counted while the block runs, instead of raising.

    An exception that comes from anywhere could tear a message of a worker apart. On threads other
    than the main one, which may not say what signals do, nothing changes.
    """
    request = EndRequest()

    def count(number: int, frame: FrameType | None) -> None:
        request.count += 1

    before: dict[int, Any] = {}
    with suppress(ValueError):
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` means to outlive
                before[number] = signal.signal(number, count)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Workers(Generic[Task, Result]):
    """Some worker processes, each started when it is first needed.

    Args:
        open_work: Called in each worker once; what it yields is called with each task. It must be
            importable by name, and so must be the types of tasks, messages and results.
        count: How many tasks may be under way at once; the cores are shared among them.
    """

    def __init__(
        self, open_work: Callable[[], AbstractContextManager[Work[Task, Result]]], count: int
    ) -> None:
        self._open_work = open_work
        self._count = count
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Task]] = {}

    def __enter__(self) -> Workers[Task, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self.interrupt()
        for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
            worker.leave()

    @property
    def has_room(self) -> bool:
        """Another task can be started."""
        return len(self._busy) < self._count

    @property
    def num_busy(self) -> int:
        """How many tasks are under way."""
        return len(self._busy)

    def start(self, task: Task) -> None:
        """Hand a task to a worker; only while there is room."""
        while self._idle:
            worker = self._idle.pop()
            with suppress(OSError):  # it died while it had nothing to do
                worker.pipe.send(task)
                break
            worker.leave()
        else:
            worker = self._hire()
            with suppress(OSError):  # found out by `listen`
                worker.pipe.send(task)
        self._busy[worker.pipe] = worker, task

    def prepare(self) -> None:
        """Have one worker load what it needs before the next task comes; only while there is room.

        A worker that has nothing to do is ready already.
        """
        if not self._idle:
            self._idle.append(self._hire())

    def _hire(self) -> _Worker:
        taken = {worker.place for worker, _ in self._busy.values()}
        return _Worker(self._open_work, min(set(range(self._count)) - taken), self._count)

    def listen(
        self, timeout_seconds: float
    ) -> list[Told[Task] | Finished[Task, Result] | Died[Task]]:
        """Return what workers have to say; empty if nobody spoke in time."""
        events: list[Told[Task] | Finished[Task, Result] | Died[Task]] = []
        for pipe in wait(list(self._busy), timeout_seconds):
            assert isinstance(pipe, Connection)
            worker, task = self._busy[pipe]
            try:
                is_result, content = pipe.recv()
            except (EOFError, OSError):
                del self._busy[pipe]
                events.append(Died(task, worker.leave()))
                continue
            if is_result:
                del self._busy[pipe]
                if worker.is_ending:
                    worker.leave()
                else:
                    self._idle.append(worker)
            events.append(Finished(task, content) if is_result else Told(task, content))
        return events

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in each worker under way; on Windows, end it at once."""
        for worker, _ in self._busy.values():
            worker.is_ending = True
            worker.process.terminate()

    def kill(self) -> None:
        """End all workers at once."""
        for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
            worker.process.kill()


class _Worker:
    """One process, seen from its parent."""

    def __init__(
        self, open_work: Callable[[], AbstractContextManager[Work[Any, Any]]], place: int, of: int
    ) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy locks and devices
        self.place = place
        self.is_ending = False
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, open_work, place, of), name=f"worker {place}", daemon=True
        )
        with _signals_held_back():
            self.process.start()
        theirs.close()

    def leave(self) -> str:
        """Let the process end, wait for it, and say how it ended."""
        self.pipe.close()
        self.process.join(_LEAVING_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was killed ({_signal_name(-code)})"


def _signal_name(number: int) -> str:
    names: Mapping[int, str] = {member.value: member.name for member in signal.Signals}
    return names.get(number, f"signal {number}")


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let a process that is started in the block begin with the signals to end held back.

    Ctrl-C reaches every process of the terminal; a fresh interpreter would die of it untidily.
    """
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    pipe: Connection,
    open_work: Callable[[], AbstractContextManager[Work[Any, Any]]],
    place: int,
    of: int,
) -> None:
    """Be a worker: take tasks until there are no more, or the parent is gone.

    Only the parent ends a worker, by SIGTERM: what the terminal sends to all is left to it.
    """
    for number in _ENDING:
        # SIGTERM is not ignored for a moment: one that is held back would be lost
        is_ours = number == signal.SIGTERM
        signal.signal(number, signal.default_int_handler if is_ours else signal.SIG_IGN)
    lock = threading.Lock()

    def send(is_result: bool, content: object) -> None:
        try:
            with lock:
                pipe.send((is_result, content))
        except OSError:  # the parent is gone: nobody waits for the result
            raise SystemExit(1) from None

    with suppress(EOFError, KeyboardInterrupt):
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        _take_share(place, of)
        with open_work() as work:
            while True:
                task = pipe.recv()
                send(True, work(task, lambda message: send(False, message)))


def _take_share(place: int, of: int) -> None:
    """Use one of ``of`` equal shares of the cores, at least one core.

    All that counts cores then counts these: networks, encoders, decoders. Where a process cannot
    be given cores of its own, PyTorch at least is told.
    """
    if of == 1:
        return
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[place % len(cores) :: of])
    else:
        os.environ["OMP_NUM_THREADS"] = str(max(1, usable_cores() // of))
