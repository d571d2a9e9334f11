"""A folder of films and photographs in, a folder of restored ones out."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from vidrestore.errors import MediaError, OutputError
from vidrestore.jobs.batch_plan import BatchPlan, PlannedItem, plan_batch
from vidrestore.jobs.batch_record import RECORD_NAME, Entry, State, held
from vidrestore.jobs.batch_result import BatchResult, BatchRow, describe_outcome, tally
from vidrestore.jobs.batch_work import (
    BatchTask,
    Hung,
    Logged,
    Outcome,
    restoring_items,
)
from vidrestore.jobs.progress import Progress
from vidrestore.media.work_folder import work_path
from vidrestore.runtime.workers import (
    Died,
    Finished,
    Told,
    Workers,
    counting_end_requests,
)
from vidrestore.settings import BatchSettings, RestoreSettings

logger = logging.getLogger(__name__)

_LISTEN_SECONDS = 0.25
"""A request to end is noticed within this time."""

OnItemProgress = Callable[[str, Progress | None], None]
"""Called with an input's name and how far it is; None when its work has ended."""


def restore_folder(
    source: str | Path,
    target: str | Path,
    settings: RestoreSettings | None = None,
    batch: BatchSettings | None = None,
    on_progress: OnItemProgress | None = None,
) -> BatchResult:
    """Restore all films and photographs of a folder, each in the same place of another folder.

    What is complete already, made from the same input with the same settings, is left as it is;
    ``batch.json`` among the outputs says so. A film that was cut short goes on. What fails is
    logged, and the others go on; only a full disk ends the whole. The work is done in processes
    of their own, so a program that calls this needs ``if __name__ == "__main__":``.

    Args:
        source: Folder of the inputs; it is only read.
        target: Folder of the outputs; created if need be.
        settings: None takes the defaults.
        batch: Which files, and how many at once; None takes the defaults.
        on_progress: Called as films move on.

    Returns:
        What became of each input.

    Raises:
        MediaError: The folder cannot be read, or holds neither film nor photograph.
        SettingsError: The folders lie within each other, or an option is for one film only.
        WeightsError: A model is not installed.
        OutputError: The folder of the outputs cannot be written.
        KeyboardInterrupt: Someone asked for the end; its notes say what is left.
    """
    source, target = Path(source), Path(target)
    settings, batch = settings or RestoreSettings(), batch or BatchSettings()
    plan_batch(source, target, settings, batch)  # refuses before the folder is created
    with held(target):
        plan = plan_batch(source, target, settings, batch)
        return _Run(plan, batch, on_progress).run()


class _Run:
    """One batch at work."""

    def __init__(
        self, plan: BatchPlan, batch: BatchSettings, on_progress: OnItemProgress | None
    ) -> None:
        self._plan = plan
        self._batch = batch
        self._on_progress = on_progress
        self._items = {item.task.name: item for item in plan.items}
        self._numbers = {name: k for k, name in enumerate(self._items, 1)}
        self._queue: deque[PlannedItem] = deque()
        self._rows: dict[str, BatchRow] = {}
        self._begun: dict[str, float] = {}
        self._hung: dict[str, str] = {}
        self._notes: list[str] = []
        self._is_disk_full = False
        self._is_ending = False

    def run(self) -> BatchResult:
        """Do all that is to be done."""
        begun = time.perf_counter()
        for folder, reason in self._plan.unreadable.items():
            self._refuse(f"{folder}/", "", f"cannot read the folder: {reason}", 3)
        for item in self._plan.items:
            self._sort(item)
        with (
            counting_end_requests() as request,
            Workers(restoring_items, self._batch.jobs) as workers,
        ):
            num_heeded = 0
            while self._queue or workers.num_busy:
                while self._queue and workers.has_room and not request.count:
                    self._start(self._queue[0], workers)
                if request.count > num_heeded:
                    workers.kill() if num_heeded else workers.interrupt()
                    num_heeded, self._is_ending = request.count, True
                if self._is_ending and not workers.num_busy:
                    break
                for event in workers.listen(_LISTEN_SECONDS):
                    self._hear(event)
        for item in self._queue:
            self._leave(item, "not begun")
        result = self._result(time.perf_counter() - begun)
        if request.count:
            raise self._interruption(result)
        return result

    def _sort(self, item: PlannedItem) -> None:
        """Decide whether there is something to do."""
        name = item.task.name
        if item.refusal is not None:
            self._refuse(name, item.output, str(item.refusal), item.refusal.exit_code)
        elif item.is_complete:
            self._rows[name] = BatchRow(name, item.output, "skipped", why="complete already")
            logger.info("%s: complete already", self._title(name))
        else:
            self._queue.append(item)

    def _refuse(self, name: str, output: str, why: str, exit_code: int) -> None:
        self._rows[name] = BatchRow(name, output, "failed", why=why, exit_code=exit_code)
        logger.error("%s: %s", self._title(name), why)

    def _title(self, name: str) -> str:
        number = self._numbers.get(name)
        return name if number is None else f"{number} of {len(self._numbers)}: {name}"

    def _start(self, item: PlannedItem, workers: Workers[BatchTask, Outcome]) -> None:
        """Record that an item is begun, and hand it to a worker."""
        assert item.started is not None
        self._queue.popleft()
        name = item.task.name
        try:
            item.task.target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = f"cannot write to the folder {item.task.target.parent}: {error.strerror}"
            self._refuse(name, item.output, why, OutputError.exit_code)
            return
        self._plan.record.put(name, item.started)
        self._begun[name] = time.perf_counter()
        logger.info("%s: to %s", self._title(name), item.task.target)
        workers.start(item.task)

    def _hear(
        self, event: Told[BatchTask] | Finished[BatchTask, Outcome] | Died[BatchTask]
    ) -> None:
        name = event.task.name
        if isinstance(event, Finished):
            self._end(self._items[name], event.result)
        elif isinstance(event, Died):
            self._end(self._items[name], self._outcome_of_death(name, event.reason))
        elif isinstance(event.message, Hung):
            self._hung[name] = event.message.reason
        elif isinstance(event.message, Logged):
            told = event.message.level >= logging.WARNING
            logger.log(
                event.message.level if told else logging.DEBUG, "%s: %s", name, event.message.text
            )
        elif isinstance(event.message, Progress) and self._on_progress is not None:
            self._on_progress(name, event.message)

    def _outcome_of_death(self, name: str, reason: str) -> Outcome:
        seconds = time.perf_counter() - self._begun[name]
        if name in self._hung:
            return Outcome(State.FAILED, seconds, MediaError.exit_code, self._hung[name])
        state, text = (
            State.FAILED,
            f"its process {reason}: memory may have run out, or a codec failed",
        )
        if self._is_ending:
            state, text = State.INTERRUPTED, f"its process {reason}"
        notes: tuple[str, ...] = ()
        kept = work_path(self._items[name].task.target)
        if kept.exists():
            notes = (f"what is finished is kept in {kept}: the same command goes on from there",)
        return Outcome(state, seconds, 1, text, notes)

    def _end(self, item: PlannedItem, outcome: Outcome) -> None:
        """Record what became of an item, and say it."""
        assert item.started is not None
        task, name = item.task, item.task.name
        if self._on_progress is not None:
            self._on_progress(name, None)
        self._plan.record.put(name, _finished(item.started, task.target, outcome))
        if outcome.state is State.DONE:
            self._rows[name] = BatchRow(name, item.output, "done", outcome)
            logger.info("%s: %s", self._title(name), describe_outcome(outcome))
        elif outcome.state is State.INTERRUPTED or outcome.is_disk_full:
            self._leave(item, outcome.error or "", outcome)
        else:
            why, code = outcome.error or "", outcome.exit_code
            self._rows[name] = BatchRow(name, item.output, "failed", outcome, why, code)
            logger.error("%s: %s", self._title(name), "; ".join([why, *outcome.notes]))
        if outcome.is_disk_full and not self._is_disk_full:
            self._is_disk_full = True
            logger.error(
                "the disk of %s is full: free some space, and the same command goes on",
                self._plan.target,
            )
            for other in self._queue:
                self._leave(other, "the disk is full")
            self._queue.clear()

    def _leave(self, item: PlannedItem, why: str, outcome: Outcome | None = None) -> None:
        code = 0 if outcome is None else outcome.exit_code
        self._rows[item.task.name] = BatchRow(
            item.task.name, item.output, "left", outcome, why, code
        )
        if outcome is not None:
            self._notes += [f"{item.task.name}: {note}" for note in outcome.notes]

    def _result(self, seconds: float) -> BatchResult:
        others = [row for name, row in self._rows.items() if name not in self._items]
        rows = [self._rows[name] for name in self._items]
        return BatchResult((*rows, *others), seconds, self._plan.target / RECORD_NAME)

    def _interruption(self, result: BatchResult) -> KeyboardInterrupt:
        error = KeyboardInterrupt()
        for note in self._notes:
            error.add_note(note)
        error.add_note(f"{tally(result.rows)}: the same command goes on from there")
        return error


def _finished(started: Entry, target: Path, outcome: Outcome) -> Entry:
    return dataclasses.replace(
        started,
        state=outcome.state,
        output_bytes=target.stat().st_size if target.is_file() else None,
        seconds=round(outcome.seconds, 2),
        counts=outcome.counts,
        exit_code=outcome.exit_code,
        error=outcome.error,
        warnings=outcome.warnings,
    )
