"""The command that makes a page of a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from vidrestore.cli.console import say, talking
from vidrestore.cli.options import OUTPUT, TalkOptions
from vidrestore.cli.report_file import write_report
from vidrestore.errors import OutputError, SettingsError

report_app = App(name="report", help="Make a page of a run's report.", help_format="plaintext")


@report_app.default
def report(
    source: Annotated[Path, Parameter(name="REPORT", help="The .json that --report wrote.")],
    target: Annotated[
        Path | None, Parameter(name="OUT", help="Default: NAME.html beside REPORT.")
    ] = None,
    /,
    *,
    overwrite: Annotated[
        bool,
        Parameter(group=OUTPUT, negative="", show_default=False, help="Replace an existing page."),
    ] = False,
    talk: TalkOptions | None = None,
) -> int:
    """Make one page of a run's report, for any browser: faces before and after, plots, times."""
    from vidrestore.jobs.report_page import render_page
    from vidrestore.jobs.report_reading import read_report

    talk = talk or TalkOptions()
    path = source.with_suffix(".html") if target is None else target
    if path.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"the page is HTML: call it {path.with_suffix('.html').name}")
    with talking(talk):
        found = read_report(source)
        if path.exists() and not overwrite:
            raise OutputError(f"the page {path} exists: use --overwrite to replace it")
        write_report(path, render_page(found))
    if not talk.quiet:
        say(f"{path}: open it in a browser")
    return 0
