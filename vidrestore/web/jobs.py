"""The queue of the page: one task at a time, each of them watched, stopped and remembered here."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

from vidrestore.jobs.progress import Progress
from vidrestore.runtime.workers import Died, Finished, Told, Work, Workers
from vidrestore.web.tasks import Outcome, Task
from vidrestore.web.work import Failed, doing_tasks

OpenWork = Callable[[], AbstractContextManager[Work[Task, Outcome | Failed]]]
Event = Told[Task] | Finished[Task, Outcome | Failed] | Died[Task]

_LISTEN_SECONDS = 0.1
_GRACE_SECONDS = 20.0
"""A stopped job tidies up for at most so long."""
_CRASHED = (
    "the work ended unexpectedly, perhaps because memory ran out; what is finished is kept: "
    "press the button again to go on. The window in which the program was started says more"
)


_NOT_BEGUN = "the work could not be begun: close other programs and press the button again"


class JobState(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """Nothing more will happen."""
        return self in (JobState.DONE, JobState.FAILED, JobState.STOPPED)


@dataclass(frozen=True, slots=True)
class Job:
    """A task, and what has become of it so far."""

    task: Task
    owner: str
    """Whose it is: the token of a film or photograph."""
    key: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    """What its files are asked for under; cannot be guessed."""
    state: JobState = JobState.WAITING
    begun: float | None = None
    """On the clock of ``time.monotonic``; likewise the next."""
    ended: float | None = None
    first: tuple[float, Progress] | None = None
    """When the first progress was heard of, for the speed."""
    latest: tuple[float, Progress] | None = None
    outcome: Outcome | None = None
    reason: str = ""
    """Why it failed."""

    @property
    def share_done(self) -> float | None:
        """0..1; None where nobody knows."""
        if self.latest is None:
            return None
        done, expected = self.latest[1].num_frames_done, self.latest[1].num_frames_expected
        return min(1.0, done / expected) if expected else None

    @property
    def frames_a_second(self) -> float | None:
        """Speed so far; None until it is known."""
        if self.first is None or self.latest is None or self.latest[0] <= self.first[0]:
            return None
        num_done = self.latest[1].num_frames_done - self.first[1].num_frames_done
        return num_done / (self.latest[0] - self.first[0])

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end; None until it is known."""
        speed = self.frames_a_second
        if not speed or self.latest is None:
            return None
        done, expected = self.latest[1].num_frames_done, self.latest[1].num_frames_expected
        return max(0, expected - done) / speed if expected else None

    @property
    def seconds_taken(self) -> float | None:
        """Time from its beginning to its end."""
        if self.begun is None or self.ended is None:
            return None
        return self.ended - self.begun


class JobManager:
    """Runs jobs one after another in a work process of its own.

    Args:
        open_work: What the work process begins with; see `Workers`. Another process takes its place
            after a stop or a crash.
    """

    def __init__(self, open_work: OpenWork = doing_tasks) -> None:
        self._open_work = open_work
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._jobs: dict[str, Job] = {}
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name="jobs")
        self._thread.start()

    def __enter__(self) -> JobManager:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop what is at work, forget what waits, and end the work process."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()

    def submit(self, task: Task, owner: str) -> Job:
        """Put a task at the end of the queue; the same owner's waiting ones of its kind go."""
        job = Job(task, owner)
        with self._changed:
            for key in list(self._waiting):
                if (self._jobs[key].owner, self._jobs[key].task.kind) == (owner, task.kind):
                    self._waiting.remove(key)
                    del self._jobs[key]
            self._jobs[job.key] = job
            self._waiting.append(job.key)
            self._changed.notify_all()
        return job

    def stop(self, key: str) -> None:
        """Stop a job, or take it out of the queue; one that is over stays as it is."""
        with self._changed:
            job = self._jobs.get(key)
            if job is not None and job.state is JobState.WAITING:
                self._waiting.remove(key)
                self._jobs[key] = replace(job, state=JobState.STOPPED)
            elif job is not None and job.state is JobState.RUNNING:
                self._jobs[key] = replace(job, state=JobState.STOPPING)

    def find(self, key: str) -> Job | None:
        """Return a job as it is now."""
        return self._jobs.get(key)

    def latest(self, owner: str) -> dict[str, Job]:
        """Return the owner's latest job of each kind."""
        with self._changed:
            return {job.task.kind: job for job in self._jobs.values() if job.owner == owner}

    def is_busy_for(self, owner: str) -> bool:
        """The owner has a job that is not over."""
        return any(not job.state.is_over for job in self.latest(owner).values())

    def num_before(self, key: str) -> int:
        """Return how many jobs come before one that waits, with the one at work."""
        with self._changed:
            at_work = sum(
                job.state in (JobState.RUNNING, JobState.STOPPING) for job in self._jobs.values()
            )
            return at_work + (self._waiting.index(key) if key in self._waiting else 0)

    def forget(self, owner: str) -> None:
        """Drop the jobs of an owner who is gone; none may be waiting or at work."""
        with self._changed:
            self._jobs = {key: job for key, job in self._jobs.items() if job.owner != owner}

    def _work(self) -> None:
        with Workers(self._open_work, 1) as workers:
            while True:
                with suppress(OSError):  # no room for a process: said when there is work for it
                    workers.prepare()
                key = self._next()
                if key is None:
                    return
                try:
                    workers.start(self._jobs[key].task)
                except OSError as error:
                    self._end(key, JobState.FAILED, reason=f"{_NOT_BEGUN} ({error.strerror})")
                self._see_to_its_end(key, workers)

    def _next(self) -> str | None:
        """Wait for a job and return its key; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing or self._waiting)
            if self._is_closing:
                return None
            key = self._waiting.popleft()
            self._jobs[key] = replace(
                self._jobs[key], state=JobState.RUNNING, begun=time.monotonic()
            )
            return key

    def _see_to_its_end(self, key: str, workers: Workers[Task, Outcome | Failed]) -> None:
        kill_at: float | None = None
        while workers.num_busy:
            is_unwanted = self._is_closing or self._jobs[key].state is JobState.STOPPING
            if is_unwanted and kill_at is None:
                workers.interrupt()
                kill_at = time.monotonic() + _GRACE_SECONDS
            elif kill_at is not None and time.monotonic() > kill_at:
                workers.kill()
            for event in workers.listen(_LISTEN_SECONDS):
                self._take(key, event, is_unwanted=kill_at is not None)

    def _take(self, key: str, event: Event, *, is_unwanted: bool) -> None:
        """Take note of what the work process says, or of its end."""
        if isinstance(event, Died):
            if is_unwanted:
                self._end(key, JobState.STOPPED)
            elif not self._jobs[key].state.is_over:  # it said why before
                self._end(key, JobState.FAILED, reason=_CRASHED)
            return
        said = event.result if isinstance(event, Finished) else event.message
        if isinstance(said, Failed):
            self._end(key, JobState.FAILED, reason=said.reason)
        elif isinstance(said, Outcome):
            self._end(key, JobState.DONE, outcome=said)
        elif isinstance(said, Progress):
            heard = time.monotonic(), said
            with self._changed:
                job = self._jobs[key]
                self._jobs[key] = replace(job, first=job.first or heard, latest=heard)

    def _end(
        self, key: str, state: JobState, *, outcome: Outcome | None = None, reason: str = ""
    ) -> None:
        with self._changed:
            self._jobs[key] = replace(
                self._jobs[key],
                state=state,
                outcome=outcome,
                reason=reason,
                ended=time.monotonic(),
            )
