"""What a batch has to do, found out without changing anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidrestore.errors import MediaError, OutputError, SettingsError, VidrestoreError
from vidrestore.jobs.batch_inputs import (
    check_folders,
    find_inputs,
    has_photograph_suffix,
    name_outputs,
)
from vidrestore.jobs.batch_record import BatchRecord, Entry, State
from vidrestore.jobs.batch_work import BatchTask
from vidrestore.jobs.networks import ChosenModels, choose_models
from vidrestore.jobs.resuming import describe_job
from vidrestore.media.probe import probe
from vidrestore.settings import BatchSettings, RestoreSettings, TimeSpan

_OF_PHOTOGRAPHS = frozenset(
    {"--strength", "--gates", "--faces", "--detect-threshold", "detect-max-side", "detect-min-face"}
)
"""Options that decide how a photograph comes out; the others are about films."""


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """One input of a batch."""

    task: BatchTask
    output: str
    """Path below the folder of the outputs, with slashes."""
    started: Entry | None
    """What is recorded when the work begins; None where it will not."""
    refusal: VidrestoreError | None = None
    """Why it cannot be done."""

    @property
    def is_complete(self) -> bool:
        """Its output is there already."""
        return self.started is None and self.refusal is None


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Everything a batch would do."""

    target: Path
    items: tuple[PlannedItem, ...]
    """Photographs first: they are done soon."""
    unreadable: Mapping[str, str]
    """Folders among the inputs that cannot be read, and why."""
    num_others: int
    """Files that are neither films nor photographs, by their names."""
    record: BatchRecord


def plan_batch(
    source: Path, target: Path, settings: RestoreSettings, batch: BatchSettings
) -> BatchPlan:
    """Find the inputs of a folder and what is to become of each; writes nothing.

    Raises:
        MediaError: The folder cannot be read, or holds neither film nor photograph.
        SettingsError: The folders lie within each other, or an option is for one film only.
        WeightsError: A model is not installed.
        OutputError: ``batch.json`` cannot be read.
    """
    _require_general(settings)
    check_folders(source, target)
    models = _describe_models(choose_models(settings.model))
    record = BatchRecord(target)
    inputs = find_inputs(source, target, batch.pattern, recursive=batch.recursive)
    if not inputs.names and not inputs.unreadable:
        raise MediaError(_nothing(source, batch, inputs.num_others))
    known = {name: entry.output for name, entry in record.entries.items()}
    outputs = name_outputs(inputs.names, settings.encode, known)
    items = []
    for name in inputs.names:
        task = BatchTask(
            name=name,
            source=source / name,
            target=target / outputs[name],
            is_photograph=has_photograph_suffix(name),
            settings=settings,
        )
        items.append(_plan_item(task, source, outputs[name], record.entries.get(name), models))
    items.sort(key=lambda item: not item.task.is_photograph)
    return BatchPlan(target, tuple(items), inputs.unreadable, inputs.num_others, record)


def film_seconds(item: PlannedItem) -> Fraction | None:
    """Return the length of a film; None for photographs, and where the file does not tell.

    Raises:
        MediaError: It cannot be read.
    """
    return None if item.task.is_photograph else probe(item.task.source).duration_seconds


def _require_general(settings: RestoreSettings) -> None:
    if settings.blend.faces_file is not None:
        raise SettingsError("a faces file is of one film: leave --faces-file out of a batch")
    if settings.span != TimeSpan():
        raise SettingsError("a range is of one film: a batch restores whole films")


def _nothing(source: Path, batch: BatchSettings, num_others: int) -> str:
    others = f" (other files: {num_others})" if num_others else ""
    deeper = "" if batch.recursive else "; --recursive looks into the folders below, too"
    what = "no film and no photograph"
    if batch.pattern is not None:
        what += f" that matches '{batch.pattern}'"
    return f"{source} holds {what}{others}{deeper}"


def _describe_models(chosen: ChosenModels) -> dict[str, Any]:
    return {
        "restorer": [chosen.restorer.name, chosen.restorer.weights.sha256],
        "detector": [chosen.detector.name, chosen.detector.weights.sha256],
    }


def _plan_item(
    task: BatchTask, source: Path, output: str, entry: Entry | None, models: Mapping[str, Any]
) -> PlannedItem:
    try:
        job = describe_job(task.source, task.settings, models, None)
        started = Entry(
            output=output,
            folder=str(source.resolve()),
            source=job["film"],
            settings=_digest(task, job),
            state=State.STARTED,
        )
        if entry is None or entry.output != output:
            return _planned_anew(task, started)
        return _planned_again(task, started, entry)
    except VidrestoreError as error:
        return PlannedItem(task, output, None, error)


def _digest(task: BatchTask, job: Mapping[str, Any]) -> str:
    """Return what differs when an output would come out otherwise."""
    encode = task.settings.encode
    options = {**job["settings"], "tracks": [encode.audio, encode.subtitles, encode.attachments]}
    if task.is_photograph:
        options = {k: v for k, v in job["settings"].items() if k in _OF_PHOTOGRAPHS}
    text = json.dumps([options, job["models"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _planned_anew(task: BatchTask, started: Entry) -> PlannedItem:
    if task.target.exists() and not task.settings.encode.overwrite:
        raise OutputError(f"{task.target} exists, and is not of this batch: {_REPLACE}")
    return PlannedItem(task, started.output, started)


def _planned_again(task: BatchTask, started: Entry, entry: Entry) -> PlannedItem:
    num_bytes = task.target.stat().st_size if task.target.is_file() else None
    is_same = (started.source, started.settings) == (entry.source, entry.settings)
    if is_same and entry.state is State.DONE and num_bytes == entry.output_bytes:
        return PlannedItem(task, entry.output, None)
    if num_bytes is not None and not task.settings.encode.overwrite:
        _require_own(task, started, entry, num_bytes)
        encode = replace(task.settings.encode, overwrite=True)
        task = replace(task, settings=replace(task.settings, encode=encode))
    # the size tells the old output from a file of the user's, should this run be cut short
    started = replace(started, output_bytes=entry.output_bytes if num_bytes is not None else None)
    return PlannedItem(task, entry.output, started)


def _require_own(task: BatchTask, started: Entry, entry: Entry, num_bytes: int) -> None:
    """Refuse to replace what may be all that is left of something else."""
    # between the start and the end of the work an output may appear that nobody could record
    if entry.state is not State.STARTED and num_bytes != entry.output_bytes:
        raise OutputError(f"{task.target} is not as this batch left it: {_REPLACE}")
    if started.folder != entry.folder and started.source != entry.source:
        raise OutputError(
            f"{task.target} was made of another file of that name, in {entry.folder}: {_REPLACE}"
        )


_REPLACE = "--overwrite replaces it"


def durations(plan: BatchPlan) -> Iterator[tuple[PlannedItem, Fraction | None, str | None]]:
    """Look into each film that a batch would restore.

    Yields:
        The item, its length in seconds if it is known, and why it cannot be read, if so.
    """
    for item in plan.items:
        seconds, error = None, None if item.refusal is None else str(item.refusal)
        if item.started is not None:
            try:
                seconds = film_seconds(item)
            except MediaError as failure:
                error = str(failure)
        yield item, seconds, error
