"""The contract of ``buffered``, line by line."""

from __future__ import annotations

import faulthandler
import gc
import itertools
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from vidrestore.runtime.executor import buffered

CHAIN = 5


@pytest.fixture(autouse=True)
def _hang_is_a_failure() -> Iterator[None]:
    """A broken executor hangs rather than fails: say where, and end the run."""
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


def executor_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("worker-")]


class Source:
    """Counts up, for ever or to ``limit``, and remembers what happened to it, and where."""

    def __init__(self, limit: int | None = None, close_error: BaseException | None = None) -> None:
        self.limit = limit
        self.close_error = close_error
        self.num_pulled = 0
        self.pulled_on: set[int] = set()
        self.closed_on: int | None = None

    def __iter__(self) -> Iterator[int]:
        try:
            for number in itertools.count() if self.limit is None else range(self.limit):
                self.pulled_on.add(threading.get_ident())
                self.num_pulled += 1
                yield number
        finally:
            self.closed_on = threading.get_ident()
            if self.close_error is not None:
                raise self.close_error


def plus_one(items: Iterator[int], closed: list[int] | None = None) -> Iterator[int]:
    try:
        for item in items:
            yield item + 1
    finally:
        if closed is not None:
            closed.append(threading.get_ident())


def echo(items: Iterator[int], closed: list[int]) -> Iterator[int]:
    try:
        yield from items
    finally:
        closed.append(threading.get_ident())


def chain_of_five(
    stack: ExitStack, source: Iterator[int], depth: int, closed: list[int] | None = None
) -> Iterator[int]:
    items = source
    for number in range(CHAIN):
        items = stack.enter_context(buffered(items, depth, f"worker-{number}"))
        if number < CHAIN - 1:
            items = plus_one(items, closed)
    return items


# Order and bounds


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_every_item_arrives_once_and_in_order(depth: int) -> None:
    with ExitStack() as stack:
        received = list(chain_of_five(stack, iter(Source(500)), depth))
    assert received == list(range(CHAIN - 1, 500 + CHAIN - 1))


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_no_more_than_depth_items_are_fetched_ahead(depth: int) -> None:
    source = Source()
    with buffered(iter(source), depth, "worker-0") as items:
        for taken in (1, 2, 3):
            next(items)
            assert wait_for(lambda most=taken + depth: source.num_pulled == most)
            time.sleep(0.02)
            assert source.num_pulled == taken + depth


def test_items_are_fetched_on_one_other_thread_while_the_puller_is_away() -> None:
    source = Source()
    with buffered(iter(source), 2, "worker-0") as items:
        next(items)
        assert wait_for(lambda: source.num_pulled == 3)
    assert len(source.pulled_on) == 1
    assert threading.get_ident() not in source.pulled_on


def test_depth_zero_stays_on_the_pullers_thread_and_fetches_nothing_ahead() -> None:
    source = Source()
    with buffered(iter(source), 0, "worker-0") as items:
        assert next(items) == 0
        assert source.num_pulled == 1
        assert executor_threads() == []
    assert source.pulled_on == {threading.get_ident()}
    assert source.closed_on == threading.get_ident()


def test_negative_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="use 0 or more"), buffered(iter([1]), -1, "worker-0"):
        pass


def test_nothing_is_fetched_before_the_first_pull_and_the_source_is_closed_all_the_same() -> None:
    class Closable(Iterator[int]):
        is_closed = False

        def __next__(self) -> int:
            raise AssertionError("nobody asked")

        def close(self) -> None:
            self.is_closed = True

    source = Closable()
    with buffered(source, 2, "worker-0"):
        assert executor_threads() == []
    assert source.is_closed


def test_an_ended_iteration_stays_ended() -> None:
    with buffered(iter([1]), 2, "worker-0") as items:
        assert list(items) == [1]
        assert list(items) == []
        assert next(items, None) is None


def test_an_iterator_without_close_is_accepted() -> None:
    with buffered(iter([1, 2, 3]), 1, "worker-0") as items:
        assert next(items) == 1


def test_handing_over_does_not_poll() -> None:
    def microseconds_an_item() -> float:
        with buffered(iter(range(2000)), 2, "worker-0") as items:
            start = time.perf_counter()
            for _ in items:
                pass
            return (time.perf_counter() - start) / 2000 * 1e6

    # about 5 on an idle machine; the limit leaves room for a busy one and none for a sleep
    assert min(microseconds_an_item() for _ in range(5)) < 200


class Picture:
    """Stands for something large."""


def pictures(
    made: list[weakref.ref[Picture]], limit: int, then: Callable[[], object]
) -> Iterator[Picture]:
    for _ in range(limit):
        picture = Picture()
        made.append(weakref.ref(picture))
        yield picture
        del picture
    then()


@pytest.fixture
def _no_gc() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_gc")
def test_a_taken_item_is_kept_alive_by_nobody() -> None:
    made: list[weakref.ref[Picture]] = []
    release = threading.Event()
    with buffered(pictures(made, 1, lambda: release.wait(30)), 2, "worker-0") as items:
        next(items)
        is_free = wait_for(lambda: made[0]() is None, seconds=2)
        release.set()
        assert is_free


@pytest.mark.usefixtures("_no_gc")
def test_items_that_were_not_taken_are_released_when_the_block_is_left() -> None:
    made: list[weakref.ref[Picture]] = []
    with buffered(pictures(made, 100, lambda: None), 3, "worker-0") as items:
        next(items)
        assert wait_for(lambda: len(made) == 4)
    assert [ref() for ref in made] == [None] * 4
    assert items is not None  # still there, and empty


# Exceptions from upstream


def fail_at(items: Iterator[int], number: int, error: BaseException) -> Iterator[int]:
    for item in items:
        if item == number:
            raise error
        yield item


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_upstream_exception_arrives_in_its_place_with_its_traceback(depth: int) -> None:
    original = OSError("bad sector")
    received: list[int] = []
    with ExitStack() as stack:
        items = chain_of_five(stack, fail_at(iter(Source()), 7, original), depth)
        with pytest.raises(OSError, match="bad sector") as caught:
            received.extend(items)
    assert caught.value is original
    assert received == list(range(CHAIN - 1, 7 + CHAIN - 1))
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "fail_at"
    assert names.count("plus_one") == CHAIN - 1
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("error", [SystemExit(3), MemoryError(), KeyboardInterrupt()])
def test_what_is_no_exception_arrives_as_well(error: BaseException) -> None:
    with (
        pytest.raises(type(error)) as caught,
        ExitStack() as stack,
    ):
        list(chain_of_five(stack, fail_at(iter(Source()), 2, error), 2))
    assert caught.value is error


def test_after_an_upstream_exception_the_iteration_is_over() -> None:
    with buffered(fail_at(iter(Source()), 1, OSError("once")), 2, "worker-0") as items:
        assert next(items) == 0
        with pytest.raises(OSError, match="once"):
            next(items)
        assert list(items) == []


@pytest.mark.usefixtures("_no_gc")
def test_a_failed_iteration_leaves_no_reference_cycle() -> None:
    def fail() -> None:
        raise OSError("bad sector")

    def run(made: list[weakref.ref[Picture]]) -> None:
        with buffered(pictures(made, 1, fail), 2, "worker-0") as items:
            for _ in items:
                pass

    made: list[weakref.ref[Picture]] = []
    with suppress(OSError):
        run(made)
    assert made[0]() is None


# Leaving early


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("num_taken", [0, 1, 10])
def test_abandoning_stops_a_chain_blocked_on_full_queues(depth: int, num_taken: int) -> None:
    source, closed = Source(), list[int]()
    with ExitStack() as stack:
        items = chain_of_five(stack, iter(source), depth, closed)
        for _ in range(num_taken):
            next(items)
        if num_taken:
            most = num_taken + CHAIN * depth
            assert wait_for(lambda: source.num_pulled == most)  # every queue is full
            assert len(executor_threads()) == CHAIN
        start = time.perf_counter()
    assert time.perf_counter() - start < 2
    assert executor_threads() == []
    if num_taken:
        assert len(set(closed)) == CHAIN - 1


def test_a_downstream_exception_stops_every_worker_and_is_the_one_that_is_seen() -> None:
    def encode() -> None:
        with ExitStack() as stack:
            for item in chain_of_five(stack, iter(Source()), 2):
                _ = 1 // (item - 20)

    with pytest.raises(ZeroDivisionError) as caught:
        encode()
    assert executor_threads() == []
    assert caught.value.__context__ is None
    assert not hasattr(caught.value, "__notes__")


def test_the_source_is_closed_on_the_thread_that_pulled_it() -> None:
    source = Source()
    with buffered(iter(source), 2, "worker-0") as items:
        next(items)
        assert wait_for(lambda: source.num_pulled == 3)
        assert source.closed_on is None
    assert {source.closed_on} == source.pulled_on
    assert source.closed_on != threading.get_ident()


def test_leaving_waits_for_the_item_under_way_and_closes_only_then() -> None:
    started, events = threading.Event(), list[str]()

    def slow() -> Iterator[int]:
        try:
            yield 0
            started.set()
            time.sleep(0.1)
            events.append("item done")
            yield 1
        finally:
            events.append("closed")

    with buffered(slow(), 1, "worker-0") as items:
        next(items)
        assert started.wait(5)
    assert events == ["item done", "closed"]


def test_leaving_stops_the_whole_chain_at_once_and_flushes_nothing() -> None:
    source, events = Source(), list[str]()

    def slowly(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            time.sleep(0.002)
            yield item

    def smooth(items: Iterator[int]) -> Iterator[int]:
        """Looks far ahead, as the smoothing of landmarks does."""
        try:
            yield next(items)
            held_back = list(itertools.islice(items, 1_000_000))
            events.append("flushed")
            yield from held_back
        except Exception as error:  # noqa: BLE001 - a stage may be as careless as this
            events.append(f"took the stop for trouble: {error!r}")
        finally:
            events.append("unwound")

    with ExitStack() as stack:
        pulled = stack.enter_context(buffered(slowly(iter(source)), 1, "worker-0"))
        smoothed = stack.enter_context(buffered(smooth(pulled), 1, "worker-1"))
        items = stack.enter_context(buffered(plus_one(smoothed), 1, "worker-2"))
        assert next(items) == 1
        assert wait_for(lambda: source.num_pulled > 20)
    assert events == ["unwound"]
    assert executor_threads() == []


class StuckSource:
    """Gives one item and blocks before the second until it is released."""

    def __init__(self) -> None:
        self.is_blocked = threading.Event()
        self.release = threading.Event()

    def __iter__(self) -> Iterator[int]:
        yield 0
        self.is_blocked.set()
        self.release.wait(30)
        yield 1


def leave_while_blocked(
    source: StuckSource, stage: Callable[[Iterator[int]], Iterator[int]]
) -> None:
    """Pull one item through a stage behind the source, and leave while the stage waits for more.

    The source goes on only when the stage's thread is gone.
    """
    with ExitStack() as stack:
        pulled = stack.enter_context(buffered(iter(source), 1, "worker-0"))
        stack.callback(source.release.set)
        assert next(stack.enter_context(buffered(stage(pulled), 1, "worker-1"))) == 0
        assert source.is_blocked.wait(5)
        time.sleep(0.05)  # until the stage has come to wait as well


def test_a_worker_that_waits_for_its_source_is_woken() -> None:
    start = time.perf_counter()
    closed: list[int] = []
    leave_while_blocked(StuckSource(), lambda items: echo(items, closed))
    assert len(closed) == 1
    assert time.perf_counter() - start < 5


def test_pulling_after_the_block_is_a_mistake_that_is_told() -> None:
    with buffered(iter(Source()), 2, "worker-0") as items:
        next(items)
    with pytest.raises(RuntimeError, match="'worker-0' was pulled after its block was left"):
        next(items)


# Errors while closing


@pytest.mark.parametrize("depth", [0, 2])
def test_an_error_while_closing_is_raised_when_the_block_is_left(depth: int) -> None:
    source = Source(close_error=OSError("cannot close"))
    with pytest.raises(OSError, match="cannot close"), ExitStack() as stack:
        next(chain_of_five(stack, iter(source), depth))
    assert executor_threads() == []


def test_an_error_of_clean_up_code_interrupted_by_the_stop_is_raised() -> None:
    def stage(items: Iterator[int]) -> Iterator[int]:
        try:
            yield from items
        finally:
            raise OSError("cannot clean up")

    with pytest.raises(OSError, match="cannot clean up"):
        leave_while_blocked(StuckSource(), stage)


def test_an_error_while_closing_does_not_hide_the_exception_that_ended_the_block() -> None:
    source = Source(close_error=OSError("cannot close"))

    def encode() -> None:
        with ExitStack() as stack:
            next(chain_of_five(stack, iter(source), 2))
            _ = 1 // 0

    with pytest.raises(ZeroDivisionError) as caught:
        encode()
    assert caught.value.__notes__ == [
        "closing 'worker-0' failed as well: OSError('cannot close')",
    ]


def test_an_error_of_closing_after_the_last_item_arrives_as_the_end_and_only_there() -> None:
    class Closable(Iterator[int]):
        def __next__(self) -> int:
            raise StopIteration

        def close(self) -> None:
            raise OSError("cannot close")

    with buffered(Closable(), 2, "worker-0") as items, pytest.raises(OSError, match="cannot close"):
        next(items)


def test_an_item_that_failed_after_the_iteration_was_abandoned_is_not_reported() -> None:
    reached = threading.Event()

    def failing() -> Iterator[int]:
        yield 0
        reached.set()
        raise OSError("nobody asked for this item")

    with buffered(failing(), 2, "worker-0") as items:
        assert next(items) == 0
        assert reached.wait(5)
    assert executor_threads() == []


# Ctrl-C


@pytest.mark.skipif(sys.platform == "win32", reason="signals of this kind are POSIX only")
def test_ctrl_c_interrupts_a_blocked_pull_at_once() -> None:
    release = threading.Event()
    sent_at: list[float] = []

    def stuck() -> Iterator[int]:
        release.wait(30)
        yield 0

    def press() -> None:
        time.sleep(0.1)
        sent_at.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=press)
    finger.start()
    with ExitStack() as stack:
        pulled = stack.enter_context(buffered(stuck(), 2, "worker-0"))
        stack.callback(release.set)
        items = stack.enter_context(buffered(plus_one(pulled), 2, "worker-1"))
        with pytest.raises(KeyboardInterrupt):
            next(items)
        noticed_at = time.perf_counter()
    finger.join()
    assert noticed_at - sent_at[0] < 0.2
    assert executor_threads() == []
