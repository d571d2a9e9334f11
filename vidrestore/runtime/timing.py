"""Where the time and the memory go: seconds of each stage, and the peak of the process.

Stages are generators that pull from each other, so time nests: the time a stage takes for one item
contains the time its input took. A stage is therefore measured on both sides. What passes inside
its output is the stage's time with its input's; what passes inside its input is the waiting; the
difference is the stage's own work.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What one stage did so far."""

    name: str
    busy_seconds: float
    """Time in the stage's own code, whatever thread or device it used meanwhile."""
    waiting_seconds: float
    """Time the stage waited for its input. If the input runs on the same thread this is the time
    the input worked; behind ``buffered`` it is the time this thread had nothing to do."""
    num_items: int
    """Items the stage gave out."""
    num_faces: int = 0
    """Faces in them, where they are counted."""
    num_with_faces: int = 0
    """Items with at least one face."""


class StageClock:
    """Measures the stages of one run.

    A stage's figures are written by the thread that runs it and by no other, and may be read at
    any time. What a thread spends blocked because nobody takes its items is counted nowhere: it is
    what is missing to the wall time.

    >>> clock = StageClock()
    >>> numbers = clock.source("count", iter(range(3)))
    >>> doubled = clock.measure("double", lambda items: (2 * i for i in items), numbers)
    >>> list(clock.measure("collect", iter, doubled))
    [0, 2, 4]
    >>> [(t.name, t.num_items) for t in clock.times()]
    [('count', 3), ('double', 3), ('collect', 3)]
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Start with no stages.

        Args:
            now: Returns the time in seconds from any fixed moment, never going back.
        """
        self._now = now
        self._tallies: dict[str, _Tally] = {}

    def source(self, name: str, items: Iterator[Out]) -> Iterator[Out]:
        """Measure the first stage, which has no input: all of its time is its own.

        Closing the result closes ``items``.

        Raises:
            ValueError: A stage of this name is measured already.
        """
        return _Output(items, None, self._add(name), self._now, None)

    def measure(
        self,
        name: str,
        stage: Callable[[Iterator[In]], Iterator[Out]],
        items: Iterator[In],
        count_faces: Callable[[Out], int] | None = None,
    ) -> Iterator[Out]:
        """Build a stage on its input and measure it.

        Closing the result closes the stage, then ``items``, if they can be closed.

        Args:
            name: The stage's name.
            stage: Makes the stage's output from its input, e.g.
                ``lambda frames: detect_faces(frames, detector)``.
            items: The input.
            count_faces: Says how many faces an item of the output has; None: they do not count.

        Returns:
            What ``stage`` returned, item for item. It is an iterator for one thread.

        Raises:
            ValueError: A stage of this name is measured already.
        """
        tally = self._add(name)
        source = _Input(items, tally, self._now)
        return _Output(stage(source), source, tally, self._now, count_faces)

    @contextmanager
    def busy(self, name: str) -> Iterator[None]:
        """Add the time of a block to a stage, new or known, such as the flush of an encoder.

        To be used on the stage's thread, or when the stage is over.
        """
        tally = self._tallies.setdefault(name, _Tally())
        start = self._now()
        try:
            yield
        finally:
            tally.inside += self._now() - start

    def times(self) -> tuple[StageTimes, ...]:
        """Return what each stage did so far, in the order in which the stages were added."""
        return tuple(
            StageTimes(
                name,
                max(0.0, tally.inside - tally.waiting),
                tally.waiting,
                tally.num_items,
                tally.num_faces,
                tally.num_with_faces,
            )
            for name, tally in tuple(self._tallies.items())
        )

    def _add(self, name: str) -> _Tally:
        if name in self._tallies:
            raise ValueError(f"the stage '{name}' is measured already")
        tally = self._tallies[name] = _Tally()
        return tally


class _Tally:
    """Running sums of one stage, in seconds: all its time, and the part spent in its input."""

    __slots__ = ("inside", "num_faces", "num_items", "num_with_faces", "waiting")

    def __init__(self) -> None:
        self.inside = 0.0
        self.waiting = 0.0
        self.num_items = self.num_faces = self.num_with_faces = 0


# The wrappers below are classes, not generators: a generator would hold on to its last item while
# it fetches the next, and an item is a decoded picture.


class _Input(Iterator[In]):
    """A stage's input."""

    def __init__(self, items: Iterator[In], tally: _Tally, now: Callable[[], float]) -> None:
        self._items, self._tally, self._now = items, tally, now

    def __next__(self) -> In:
        start = self._now()
        try:
            return next(self._items)
        finally:
            self._tally.waiting += self._now() - start

    def close(self) -> None:
        _close(self._items)


class _Output(Iterator[Out]):
    """A stage's output."""

    def __init__(
        self,
        items: Iterator[Out],
        source: _Input[Any] | None,
        tally: _Tally,
        now: Callable[[], float],
        count_faces: Callable[[Out], int] | None,
    ) -> None:
        self._items, self._source, self._tally, self._now = items, source, tally, now
        self._count_faces = count_faces

    def __next__(self) -> Out:
        tally = self._tally
        start = self._now()
        try:
            item = next(self._items)
        finally:
            tally.inside += self._now() - start
        tally.num_items += 1
        if self._count_faces is not None:
            num_faces = self._count_faces(item)
            tally.num_faces += num_faces
            tally.num_with_faces += num_faces > 0
        return item

    def close(self) -> None:
        try:
            _close(self._items)
        finally:
            _close(self._source)


def _close(items: object) -> None:
    close = getattr(items, "close", None)
    if close is not None:
        close()


def peak_memory_bytes() -> int | None:
    """Return the most memory this process ever had resident; None where nothing tells.

    Memory of a GPU is not in it.
    """
    if sys.platform == "win32":
        return None
    import resource  # Unix only

    # Linux: getrusage would also count the program that started this one, because its figure
    # survives exec (fs/exec.c, exec_mmap); the kernel's status page counts this program alone.
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere
