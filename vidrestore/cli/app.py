"""The commands. Each imports what it needs when it is called, so that ``--help`` is quick."""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

from vidrestore import __version__
from vidrestore.cli.batch import batch
from vidrestore.cli.benching import bench_app
from vidrestore.cli.console import (
    ProgressBar,
    complain,
    complain_notes,
    say,
    talking,
)
from vidrestore.cli.ending import ending_like_ctrl_c, leave_hanging
from vidrestore.cli.evaluation import evaluate_app
from vidrestore.cli.exporting import export
from vidrestore.cli.options import (
    ModelOptions,
    NumberOptions,
    RangeOptions,
    RestoreOptions,
    TalkOptions,
)
from vidrestore.cli.photo import photo, restore_as_photo
from vidrestore.cli.previewing import preview
from vidrestore.cli.report_file import check_report, summary, write_report
from vidrestore.cli.reporting import report_app
from vidrestore.cli.training import train_app
from vidrestore.cli.web import web
from vidrestore.errors import SettingsError, VidrestoreError

_EXIT_INTERRUPTED = 130
_EXIT_BUG = 70
"""``EX_SOFTWARE`` of sysexits.h."""

_HELP = """Restore the faces in an old home video; everything else stays as it is.

vidrestore in.mp4 out.mp4                           the whole film
vidrestore preview in.mp4 --start 1:30 --end 1:36   before and after
"""

app = App(
    name="vidrestore",
    help=_HELP,
    help_format="plaintext",
    version=__version__,
    group_commands=Group("Commands", sort_key=0),
    help_formatter="plain",
    suppress_keyboard_interrupt=False,
)
weights_app = App(name="weights", help="List, fetch and verify models.", help_format="plaintext")
app.command(weights_app)
app.command(evaluate_app)
app.command(bench_app)
app.command(train_app)
app.command(report_app)
app.command(batch)
app.command(photo)
app.command(export)
app.command(web)

FilmIn = Annotated[Path, Parameter(name="IN", help="The film; it is only read.")]
FilmOut = Annotated[Path, Parameter(name="OUT", help="The result: .mp4, .m4v, .mov or .mkv.")]


@app.default
def restore(
    source: FilmIn,
    target: FilmOut,
    /,
    *,
    span: RangeOptions | None = None,
    model: ModelOptions | None = None,
    options: RestoreOptions | None = None,
    talk: TalkOptions | None = None,
) -> int:
    """Restore the faces of a film."""
    from vidrestore.jobs.restore import restore_video
    from vidrestore.media.images import is_photograph

    span, model = span or RangeOptions(), model or ModelOptions()
    options, talk = options or RestoreOptions(), talk or TalkOptions()
    _hint_at_command(source)
    if is_photograph(source):
        return restore_as_photo(source, target, span, model, options, talk)
    with talking(talk):
        settings = options.settings(span.span(), model.settings())
        check_report(options, source, target)
        with ProgressBar(talk.quiet) as progress:
            report = restore_video(source, target, settings, progress, leave_hanging)
        write_report(options.report, report.to_json())
        if not talk.quiet:
            say(f"{target}: {summary(report)}")
    return 0


app.command(restore, name="restore", show=False)
app.command(preview)


@app.command
def inspect(
    source: FilmIn,
    /,
    *,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="Print JSON.")] = False,
    numbers: NumberOptions | None = None,
    model: ModelOptions | None = None,
    talk: TalkOptions | None = None,
) -> int:
    """Show what a film holds and what a run would keep; number its faces.

    With --faces-file it goes through the whole film and numbers its faces:

    vidrestore inspect tape.mp4 --faces-file tape.faces.toml

    Look up the numbers in tape.faces.png, and restore some of the faces:

    vidrestore tape.mp4 out.mp4 --faces 2,5 --faces-file tape.faces.toml
    """
    from vidrestore.cli.facts import inspection_lines, numbered_lines
    from vidrestore.jobs.faces import number_faces
    from vidrestore.jobs.inspection import inspect_video

    numbers = numbers or NumberOptions()
    settings = numbers.settings((model or ModelOptions()).settings())
    numbered = None
    with talking(talk or TalkOptions(quiet=True)):
        if numbers.faces_file is not None:
            with ProgressBar(talk is not None and talk.quiet) as progress:
                numbered = number_faces(
                    source, numbers.faces_file, settings, progress, leave_hanging
                )
        inspection = inspect_video(source, settings.model)
    say(inspection.to_json() if json else "\n".join(inspection_lines(inspection)))
    if numbered is not None and not json:
        say("\n".join(numbered_lines(numbered)))
    return 0


@app.command
def doctor(*, talk: TalkOptions | None = None) -> int:
    """Check devices, codecs, versions and models."""
    from vidrestore.cli.facts import diagnosis_lines
    from vidrestore.jobs.doctor import diagnose

    with talking(talk or TalkOptions(quiet=True)):
        diagnosis = diagnose()
    say("\n".join(diagnosis_lines(diagnosis)))
    return 0 if diagnosis.is_able else 1


@weights_app.command(name="list")
def list_weights(*, weights_dir: Path | None = None) -> int:
    """List the models, their licences, and which are installed."""
    from vidrestore.cli.facts import model_lines
    from vidrestore.models.weights import WeightsStore

    say("\n".join(model_lines(WeightsStore(weights_dir).installed())))
    return 0


@weights_app.command
def fetch(
    name: Annotated[str, Parameter(help="A name of `weights list`.")], /, *, to: Path | None = None
) -> int:
    """Download the weights of one model; nothing else ever downloads."""
    from vidrestore.cli.console import ByteBar
    from vidrestore.models.registry import model_spec
    from vidrestore.models.weights import fetch as fetch_weights
    from vidrestore.models.weights import notice

    terms = notice(model_spec(name))
    if terms is not None:
        say(terms)
    with ByteBar(name) as progress:
        path = fetch_weights(name, progress, to)
    say(f"{name}: {path}")
    return 0


@weights_app.command
def verify(*, weights_dir: Path | None = None) -> int:
    """Check the SHA-256 of every installed weights file."""
    from vidrestore.cli.facts import verification_lines
    from vidrestore.models.weights import WeightsStore

    rows = [row for row in WeightsStore(weights_dir).installed() if row.path is not None]
    say("\n".join(verification_lines(rows)))
    return 4 if any(row.is_intact is False for row in rows) else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        argv: The words after the program's name; None takes those of the process.

    Returns:
        0; 2 for a wrong command line; for other errors the code of ``vidrestore.errors``; 130 if
        interrupted; 70 for an error of the program's own.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    is_debugging = "--debug" in words
    if not words:
        words = ["--help"]
    try:
        with ending_like_ctrl_c():
            result = app(
                words, print_error=False, exit_on_error=False, result_action="return_value"
            )
        return result if isinstance(result, int) else 0
    except CycloptsError as error:
        complain(" ".join(str(error).split()) + " (see vidrestore --help)")
        return SettingsError.exit_code
    except VidrestoreError as error:
        if is_debugging:
            traceback.print_exc()
        complain(" ".join(str(error).split()))
        complain_notes(error)
        return error.exit_code
    except KeyboardInterrupt as error:
        complain("interrupted")
        complain_notes(error)
        return _EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place that reports bugs
        if is_debugging:
            traceback.print_exc()
        complain(
            f"an error of the program itself: {type(error).__name__}: {error}. "
            "Run again with --debug and report what it prints"
        )
        complain_notes(error)
        return _EXIT_BUG


def _hint_at_command(source: Path) -> None:
    """Tell a mistyped command from a missing film."""
    names = ["preview", "inspect", "photo", "batch", "weights", "doctor", "web", "report", "bench"]
    close = difflib.get_close_matches(source.name, names, n=1, cutoff=0.75)
    if close and not source.exists():
        raise SettingsError(f"there is no film '{source}'; did you mean 'vidrestore {close[0]}'?")
