"""Runs part of a chain of generators on a thread of its own; the only place that starts threads.

A chain of stages is a chain of generators, which runs on one thread: the one that pulls. Put
``buffered`` between two of them and what stands before it runs on another thread, a few items
ahead, so that decoding, computing and encoding overlap. Nothing else changes: order, exceptions
and closing are those of the plain chain.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

# A blocked wait ends at once when there is something to take. Only where signals do not interrupt
# locks (Windows) does it matter how often the wait is renewed: Ctrl-C is noticed within this time.
_RENEW_SECONDS = 0.25


@contextmanager
def buffered(items: Iterator[T], depth: int, name: str) -> Iterator[Iterator[T]]:
    """Iterate ``items`` on a thread of its own, at most ``depth`` items ahead.

    To be entered with ``with`` or into an ``ExitStack``; the value is an iterator, to be pulled by
    one thread. The thread starts with the first pull and is gone when the block is left, however it
    is left: it stops after the item it is working on, closes ``items`` (if that has ``close()``)
    and ends. Leaving the last of several chained blocks stops all their threads at once. Only a
    source that blocks for ever can hold this up.

    Exceptions of ``items``, those that are no ``Exception`` included, reach the puller in their
    place in the order and with the traceback they were raised with.

    Args:
        items: A generator or other iterator. It is pulled and closed on the new thread only.
        depth: How many items may wait or be under way beyond those already taken. 0 starts no
            thread: the puller's own does the work, and ``items`` is closed when the block is left.
        name: Name of the thread, for debuggers and messages.

    Yields:
        The same items in the same order.

    Raises:
        ValueError: ``depth`` is negative.
        BaseException: What closing ``items`` raised. If the block is being left by an exception
            already, that one stays and gets a note instead.
    """
    if depth < 0:
        raise ValueError(f"depth of '{name}' is {depth}: use 0 or more")
    source: _Direct[T] | _Ahead[T] = _Ahead(items, depth, name) if depth else _Direct(items)
    try:
        yield source
    except BaseException as error:
        failure = source.finish()
        if failure is not None:
            error.add_note(f"closing '{name}' failed as well: {failure!r}")
        raise
    failure = source.finish()
    if failure is not None:
        raise failure


class _StoppedError(BaseException):
    """Unwinds a stage that pulls on a thread which is to stop; never leaves this module.

    Not an Exception, so that stages do not mistake it for trouble with an item, and not the end of
    the iteration, so that they do not flush what they hold back.
    """


class _End:
    """Put after the last item."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Direct(Iterator[T]):
    """The items as they are, on the puller's thread."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items

    def __next__(self) -> T:
        return next(self._items)

    def finish(self) -> BaseException | None:
        """Close the items and return what that raised."""
        return _close(self._items)


class _Ahead(Iterator[T]):
    """The items of another thread.

    Two queues between the two threads: ``_ready`` brings items, ``_room`` brings back the right to
    work on one more. They are the only thing both threads wait for, and a stop wakes either.
    """

    def __init__(self, items: Iterator[T], depth: int, name: str) -> None:
        self._items = items
        self._ready: SimpleQueue[T | _End] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(depth):
            self._room.put(None)
        self._worker = _Worker(self._work, name)
        self._is_started = False
        self._is_over = False
        self._close_failure: BaseException | None = None

    def __next__(self) -> T:
        if self._is_over:
            raise StopIteration
        self._check_not_stopped()
        if not self._is_started:
            self._start()
        item = _take(self._ready)
        if isinstance(item, _End):
            self._check_not_stopped()
            self._is_over = True
            if item.error is None:
                raise StopIteration
            if item.error is self._close_failure:
                self._close_failure = None
            try:
                raise item.error
            finally:
                del item  # its traceback refers to this frame, which would keep the items alive
        self._room.put(None)
        return item

    def stop(self) -> None:
        """Tell this thread, and those it pulls from, to end; wake them and their puller."""
        self._worker.is_stopping = True
        self._room.put(None)
        self._ready.put(_End(None))
        for source in self._worker.sources:
            source.stop()

    def finish(self) -> BaseException | None:
        """Stop, wait until the thread is gone, and return what closing the items raised."""
        self.stop()
        if not self._is_started:
            self._is_started = True
            return _close(self._items)
        while self._worker.is_alive():
            self._worker.join(_RENEW_SECONDS)
        while not self._ready.empty():
            self._ready.get()  # items nobody took: not to be kept by a variable that outlives us
        failure, self._close_failure = self._close_failure, None
        return failure

    def _start(self) -> None:
        puller = threading.current_thread()
        if isinstance(puller, _Worker):
            puller.sources.append(self)
            if puller.is_stopping:  # after the append: one of the two sees the other
                raise _StoppedError
        self._is_started = True
        self._worker.start()

    def _check_not_stopped(self) -> None:
        if not self._worker.is_stopping:
            return
        puller = threading.current_thread()
        if isinstance(puller, _Worker) and puller.is_stopping:
            raise _StoppedError
        raise RuntimeError(f"'{self._worker.name}' was pulled after its block was left")

    def _work(self) -> None:
        """Hand over everything, close the items, say how it ended: the thread's whole life."""
        error = self._hand_over()
        if error is not None and _is_unwinding(error):
            self._close_failure = error
        failure = _close(self._items)
        if failure is not None:
            self._close_failure = failure
        self._ready.put(_End(error or failure))
        del error, failure  # their tracebacks lead back to this frame: a cycle that holds items

    def _hand_over(self) -> BaseException | None:
        try:
            while True:
                _take(self._room)
                if self._worker.is_stopping:
                    return None
                self._ready.put(next(self._items))  # no variable: it would keep the item alive
        except (StopIteration, _StoppedError):
            return None
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the puller's
            return error


class _Worker(threading.Thread):
    """A thread that knows whether it is to stop and whom it pulls from."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        super().__init__(target=work, name=name)
        self.is_stopping = False
        self.sources: list[_Ahead[Any]] = []


def _take(queue: SimpleQueue[T]) -> T:
    while True:
        try:
            return queue.get(timeout=_RENEW_SECONDS)
        except Empty:
            continue


def _is_unwinding(error: BaseException) -> bool:
    """Tell whether the exception was raised while a stop unwound the stage, by its clean-up."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, _StoppedError):
        cause = cause.__context__
    return cause is not None


def _close(items: object) -> BaseException | None:
    close = getattr(items, "close", None)
    if close is None:
        return None
    try:
        close()
    except BaseException as error:  # noqa: BLE001 - the caller decides where it is raised
        return error
    return None
