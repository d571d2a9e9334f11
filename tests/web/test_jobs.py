from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.web.errands import Count, Misfortune, light_work
from vidrestore.jobs.progress import Progress
from vidrestore.web.jobs import Job, JobManager, JobState


@pytest.fixture(scope="module")
def manager() -> Iterator[JobManager]:
    with JobManager(light_work) as manager:
        yield manager


def ended(manager: JobManager, job: Job) -> Job:
    return when(manager, job, lambda now: now.state.is_over)


def when(manager: JobManager, job: Job, is_so: Callable[[Job], bool]) -> Job:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        now = manager.find(job.key)
        assert now is not None
        if is_so(now):
            return now
        time.sleep(0.02)
    pytest.fail(f"still {now}")


def test_jobs_run_one_after_another_in_another_process(manager: JobManager, tmp_path: Path) -> None:
    first = manager.submit(Count(tmp_path, "a"), "ann")
    second = manager.submit(Count(tmp_path, "b"), "bob")
    b, a = ended(manager, second), ended(manager, first)
    assert (a.state, b.state) == (JobState.DONE, JobState.DONE)
    assert a.outcome is not None
    assert b.outcome is not None
    assert a.outcome.notes == b.outcome.notes != (f"process {os.getpid()}",)
    assert a.outcome.files == {"a": tmp_path / "a"}
    assert a.ended is not None
    assert b.begun is not None
    assert a.ended <= b.begun


def test_a_job_waits_for_the_one_at_work_and_says_so(manager: JobManager, tmp_path: Path) -> None:
    long = manager.submit(Count(tmp_path, "long", 1000, 0.05), "ann")
    when(manager, long, lambda job: job.latest is not None)
    waiting = manager.submit(Count(tmp_path, "short"), "bob")
    assert manager.find(waiting.key).state is JobState.WAITING  # type: ignore[union-attr]
    assert manager.num_before(waiting.key) == 1
    assert manager.is_busy_for("bob")
    manager.stop(waiting.key)
    manager.stop(long.key)
    assert ended(manager, waiting).state is JobState.STOPPED
    assert ended(manager, long).state is JobState.STOPPED
    assert (tmp_path / "long").read_text() == "tidied up"
    assert not (tmp_path / "short").exists()
    assert ended(manager, manager.submit(Count(tmp_path, "next"), "ann")).state is JobState.DONE


def test_progress_tells_share_speed_and_time_left(manager: JobManager, tmp_path: Path) -> None:
    job = manager.submit(Count(tmp_path, "x", 40, 0.05), "ann")
    now = when(manager, job, lambda job: job.frames_a_second is not None)
    assert 0 < now.share_done < 1  # type: ignore[operator]
    assert 5 < now.frames_a_second <= 25  # type: ignore[operator]
    assert 0 < now.seconds_left < 8  # type: ignore[operator]
    assert ended(manager, job).seconds_taken >= 2  # type: ignore[operator]


def test_speed_counts_only_what_this_run_did() -> None:
    begun, later = Progress(501, 1000, 20.0, 500), Progress(601, 1000, 24.0, 500)
    job = Job(Count(Path(), ""), "ann", first=(10.0, begun), latest=(20.0, later))
    assert job.frames_a_second == 10
    assert job.seconds_left == pytest.approx(39.9)


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("refused", "holiday.txt is not a film"),
        ("full", "the disk is full"),
        ("hung", "a codec hangs"),
        ("crashed", "ended unexpectedly"),
    ],
)
def test_what_goes_wrong_is_said_and_the_next_job_runs(
    manager: JobManager, tmp_path: Path, way: str, reason: str
) -> None:
    job = ended(manager, manager.submit(Misfortune(way), "ann"))
    assert job.state is JobState.FAILED
    assert reason in job.reason
    if way in ("refused", "crashed"):
        next_job = manager.submit(Count(tmp_path, "next"), "ann")
        assert ended(manager, next_job).state is JobState.DONE


def test_a_machine_without_room_for_a_process_fails_the_job_not_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with JobManager(light_work) as manager:
        ended(manager, manager.submit(Count(tmp_path, "first"), "ann"))
        with monkeypatch.context() as patched:
            patched.setattr("vidrestore.runtime.workers.Workers._hire", refuse)
            ended(manager, manager.submit(Misfortune("crashed"), "ann"))  # its process is gone
            job = ended(manager, manager.submit(Count(tmp_path, "second"), "ann"))
            assert job.state is JobState.FAILED
            assert "Cannot allocate memory" in job.reason
        third = ended(manager, manager.submit(Count(tmp_path, "third"), "ann"))
        assert third.state is JobState.DONE


def test_a_newer_job_takes_the_place_of_a_waiting_one(manager: JobManager, tmp_path: Path) -> None:
    blocker = manager.submit(Count(tmp_path, "blocker", 1000, 0.05), "ann")
    older = manager.submit(Count(tmp_path, "older"), "bob")
    newer = manager.submit(Count(tmp_path, "newer"), "bob")
    manager.stop(blocker.key)
    assert ended(manager, newer).state is JobState.DONE
    assert manager.find(older.key) is None
    assert manager.latest("bob")["film"].key == newer.key
    manager.forget("bob")
    assert manager.latest("bob") == {}


def test_the_end_of_the_manager_ends_the_work(tmp_path: Path) -> None:
    with JobManager(light_work) as manager:
        job = manager.submit(Count(tmp_path, "x", 1000, 0.05), "ann")
        when(manager, job, lambda job: job.latest is not None)
    assert manager.find(job.key).state is JobState.STOPPED  # type: ignore[union-attr]
    assert (tmp_path / "x").read_text() == "tidied up"
