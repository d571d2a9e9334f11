import os
import signal
import sys
import time
from contextlib import contextmanager

import pytest

from vidrestore.runtime.cores import usable_cores
from vidrestore.runtime.workers import Died, Finished, Told, Workers, counting_end_requests

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")


@contextmanager
def working():
    num_done = 0

    def work(task, tell):
        nonlocal num_done
        num_done += 1
        if task == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "cores":
            return usable_cores()
        if task == "endless":
            try:
                tell("begun")
                time.sleep(60)
            except KeyboardInterrupt:
                return "interrupted"
        tell(f"doing {task}")
        return num_done, os.getpid()

    yield work


def events_of(workers, num_results):
    events = []
    deadline = time.monotonic() + 30
    while sum(not isinstance(event, Told) for event in events) < num_results:
        assert time.monotonic() < deadline
        events += workers.listen(1)
    return events


def test_one_worker_does_task_after_task_and_keeps_what_it_has():
    with Workers(working, 1) as workers:
        results = []
        for task in ("a", "b"):
            workers.start(task)
            assert not workers.has_room
            told, finished = events_of(workers, 1)
            assert told == Told(task, f"doing {task}")
            assert isinstance(finished, Finished)
            results.append(finished.result)
    (first, pid), (second, same_pid) = results
    assert (first, second) == (1, 2)
    assert pid == same_pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_that_dies_takes_its_own_task_only():
    with Workers(working, 2) as workers:
        workers.start("die")
        workers.start("a")
        events = events_of(workers, 2)
        assert Died("die", "was killed (SIGKILL)") in events
        assert [e.task for e in events if isinstance(e, Finished)] == ["a"]
        workers.start("b")
        (finished,) = (e for e in events_of(workers, 1) if isinstance(e, Finished))
        assert finished.task == "b"


@LINUX
def test_workers_share_the_cores():
    before = os.sched_getaffinity(0)
    with Workers(working, 2) as workers:
        workers.start("cores")
        workers.start("cores")
        counts = [event.result for event in events_of(workers, 2)]
    assert sum(counts) == max(2, len(before))
    assert os.sched_getaffinity(0) == before


def test_leaving_the_block_ends_a_worker_at_work():
    with Workers(working, 1) as workers:
        workers.start("endless")
        assert workers.listen(30) == [Told("endless", "begun")]
        since = time.monotonic()
    assert time.monotonic() - since < 10


def test_an_interrupted_worker_may_still_say_what_it_has():
    with Workers(working, 1) as workers:
        workers.start("endless")
        assert workers.listen(30) == [Told("endless", "begun")]
        workers.interrupt()
        assert events_of(workers, 1) == [Finished("endless", "interrupted")]
        workers.start("a")  # by another one: the signal may yet be on its way to the first
        *_, finished = events_of(workers, 1)
        assert finished.result[0] == 1


def test_a_worker_that_is_only_starting_is_interrupted_too():
    with Workers(working, 1) as workers:
        workers.start("endless")
        workers.interrupt()
        (event,) = (e for e in events_of(workers, 1) if not isinstance(e, Told))
        assert event in (
            Died("endless", "ended with exit code 0"),
            Finished("endless", "interrupted"),
        )


def test_a_worker_can_be_ready_before_its_first_task():
    with Workers(working, 1) as workers:
        workers.prepare()
        workers.prepare()
        assert workers.has_room
        assert not workers.num_busy
        workers.start("a")
        *_, finished = events_of(workers, 1)
        workers.start("b")
        *_, second = events_of(workers, 1)
        assert finished.result[1] == second.result[1]


def test_requests_to_end_are_counted_and_raise_no_more():
    with counting_end_requests() as request:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.count == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
