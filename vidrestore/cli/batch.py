"""The command for whole folders."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vidrestore.cli.console import ProgressBar, as_time, say, talking
from vidrestore.cli.options import MAIN, ModelOptions, RestoreOptions, TalkOptions
from vidrestore.errors import SettingsError
from vidrestore.settings import BatchSettings, TimeSpan

if TYPE_CHECKING:  # the jobs load PyAV, which --help does not need
    from vidrestore.jobs.batch_plan import BatchPlan
    from vidrestore.jobs.batch_result import BatchResult
    from vidrestore.jobs.progress import Progress

_DEFAULT = BatchSettings()
_WORST_EXIT = 1


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, slots=True)
class BatchOptions:
    """Which files of the folder, and how many at once."""

    pattern: Annotated[
        str | None, Parameter(group=MAIN, help="Only files that match, such as *.mpg.")
    ] = _DEFAULT.pattern
    recursive: Annotated[
        bool,
        Parameter(group=MAIN, negative="", show_default=False, help="The folders below, too."),
    ] = _DEFAULT.recursive
    jobs: Annotated[int, Parameter(group=MAIN, help="How many are restored at once.")] = (
        _DEFAULT.jobs
    )
    dry_run: Annotated[
        bool,
        Parameter(
            group=MAIN,
            negative="",
            show_default=False,
            help="Say what would be done; write nothing.",
        ),
    ] = False

    def settings(self) -> BatchSettings:
        """Return the settings that the options ask for."""
        return BatchSettings(self.pattern, self.recursive, self.jobs)


def batch(
    source: Annotated[Path, Parameter(name="IN_DIR", help="The inputs; they are only read.")],
    target: Annotated[Path, Parameter(name="OUT_DIR", help="The results; created if need be.")],
    /,
    *,
    which: BatchOptions | None = None,
    model: ModelOptions | None = None,
    options: RestoreOptions | None = None,
    talk: TalkOptions | None = None,
) -> int:
    """Restore all films and photographs of a folder.

    Given again, it skips what is complete and goes on with what was cut short.
    """
    from vidrestore.jobs.batch import restore_folder
    from vidrestore.jobs.batch_plan import plan_batch

    which, model = which or BatchOptions(), model or ModelOptions()
    options, talk = options or RestoreOptions(), talk or TalkOptions()
    if options.report is not None:
        raise SettingsError("--report is of one film: a batch writes OUT_DIR/batch.json")
    settings = options.settings(TimeSpan(), model.settings())
    if which.dry_run:
        lines, is_well = _dry_lines(plan_batch(source, target, settings, which.settings()))
        say("\n".join(lines))
        return 0 if is_well else _WORST_EXIT
    with talking(talk), _Bars(talk.quiet) as bars:
        result = restore_folder(source, target, settings, which.settings(), bars)
    if not talk.quiet:
        say("\n".join(_summary_lines(result)))
    return 0 if result.is_complete else _WORST_EXIT


class _Bars:
    """Shows the progress of one film at a time, also where several are under way."""

    def __init__(self, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._shown: str | None = None
        self._bar: ProgressBar | None = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, name: str, progress: Progress | None) -> None:
        """Take the state of one film; None when it has ended."""
        if progress is None:
            if name == self._shown:
                self._close()
            return
        if self._bar is None:
            self._shown, self._bar = name, ProgressBar(self._is_quiet)
        if name == self._shown:
            self._bar(progress)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._shown = self._bar = None


def _summary_lines(result: BatchResult) -> list[str]:
    """Show what became of each input, and of all."""
    from vidrestore.jobs.batch_result import describe_outcome, tally

    rows = []
    for row in result.rows:
        text = row.why
        if row.verdict == "done" and row.outcome is not None:
            text = describe_outcome(row.outcome)
        if row.exit_code:
            text += f" (exit code {row.exit_code})"
        rows.append((row.verdict, _arrow(row.name, row.output), text))
    return [
        *_columns(rows),
        f"{tally(result.rows)}; {as_time(result.seconds)}; see {result.record}",
    ]


def _dry_lines(plan: BatchPlan) -> tuple[list[str], bool]:
    """Show what would be done, and whether all of it seems possible."""
    from vidrestore.jobs.batch_plan import durations

    rows, total, num_unknown, is_well = [], Fraction(0), 0, not plan.unreadable
    for item, seconds, error in durations(plan):
        verdict, text = "restore", "photograph"
        if error is not None:
            verdict, text, is_well = "fail", error, False
        elif item.is_complete:
            verdict, text = "skip", "complete already"
        elif not item.task.is_photograph:
            text = "length unknown" if seconds is None else as_time(float(seconds))
            total += seconds or 0
            num_unknown += seconds is None
        rows.append((verdict, _arrow(item.task.name, item.output), text))
    rows += [("fail", f"{folder}/", reason) for folder, reason in plan.unreadable.items()]
    num_films = sum(v == "restore" and t != "photograph" for v, _, t in rows)
    num_photographs = sum(t == "photograph" for _, _, t in rows)
    length = as_time(float(total)) + (f" and {num_unknown} of unknown length" * bool(num_unknown))
    verdicts = [v for v, _, _ in rows]
    others = f"; other files left out: {plan.num_others}" if plan.num_others else ""
    return [
        *_columns(rows),
        f"to restore: films {num_films} ({length}), photographs {num_photographs}; "
        f"{verdicts.count('skip')} complete, {verdicts.count('fail')} cannot be done{others}",
    ], is_well


def _arrow(name: str, output: str) -> str:
    return name if output in (name, "") else f"{name} -> {output}"


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    widths = [max((len(row[k]) for row in rows), default=0) for k in range(2)]
    return [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]
