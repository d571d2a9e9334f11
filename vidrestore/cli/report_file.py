"""The file that --report names, and the sentence that sums a run up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vidrestore.cli.options import RestoreOptions
from vidrestore.errors import OutputError, SettingsError

if TYPE_CHECKING:  # the report loads numpy, which --help does not need
    from vidrestore.report import RestoreReport


def check_report(options: RestoreOptions, source: Path, target: Path | None) -> None:
    """Refuse, before the work begins, a report that could not be written or would do harm.

    Raises:
        SettingsError: It would replace a film, or options speak of it that was not asked for.
        OutputError: It exists, or cannot be written.
    """
    path = options.report
    if path is None:
        if options.report_landmarks:
            raise SettingsError("--report-landmarks says what is in the report: add --report FILE")
        return
    for film in filter(None, (source, target)):
        is_same = path.exists() and film.exists() and path.samefile(film)
        if is_same or path.absolute() == film.absolute():
            raise SettingsError(f"the report would replace the film {film}: give it another name")
    if path.is_file() and not options.overwrite:
        raise OutputError(f"the report {path} exists: use --overwrite to replace it")
    is_new = not path.exists()
    try:
        path.open("ab").close()  # what is there stays until there is a new report
        if is_new:
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot write the report {path}: {error.strerror}") from error


def write_report(path: Path | None, text: str) -> None:
    """Write the report if one was asked for.

    Raises:
        OutputError: The disk is full, or the folder has gone.
    """
    if path is None:
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write the report {path}: {error.strerror}") from error


def summary(report: RestoreReport) -> str:
    """Say in one line what a run did."""
    from vidrestore.cli.facts import held_back

    frames, timings = report.frames, report.timings
    faces = f"faces restored in {frames['painted']} of {frames['written']} frames"
    if not frames["faces"]:
        faces = f"no faces found; {frames['written']} frames passed through"
    speed = f"{timings['wall_seconds']} s, {timings['frames_per_second']} frames/s"
    return "; ".join([faces, *held_back(report.tracks), speed])
