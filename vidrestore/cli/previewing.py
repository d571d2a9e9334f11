"""The preview command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vidrestore.cli.console import ProgressBar, as_time, say, talking
from vidrestore.cli.ending import leave_hanging
from vidrestore.cli.options import (
    MAIN,
    ModelOptions,
    RangeOptions,
    RestoreOptions,
    TalkOptions,
)
from vidrestore.cli.report_file import check_report, summary, write_report
from vidrestore.errors import SettingsError
from vidrestore.settings import Compare, Moment, RestoreSettings, TimeSpan

if TYPE_CHECKING:  # the jobs load PyAV, which --help does not need
    from vidrestore.jobs.preview import Preview
    from vidrestore.jobs.preview_frame import FramePreview


def preview(
    source: Annotated[Path, Parameter(name="IN", help="The film; it is only read.")],
    target: Annotated[
        Path | None, Parameter(name="OUT", help="Default: NAME-preview-START.mp4 beside IN.")
    ] = None,
    /,
    *,
    span: RangeOptions | None = None,
    at: Annotated[
        str | None,
        Parameter(group=MAIN, help="One frame instead of a clip, as PNG: 90, 1:30 or @FRAME."),
    ] = None,
    compare: Annotated[
        Compare | None,
        Parameter(
            group=MAIN,
            help="Before and after beside each other, or in one picture. [default: side]",
        ),
    ] = None,
    model: ModelOptions | None = None,
    options: RestoreOptions | None = None,
    talk: TalkOptions | None = None,
) -> int:
    """Show a range before and after, and estimate the full run.

    Without --start, --end and --at it looks for three telling moments: faces large, many, bad.
    """
    options, talk = options or RestoreOptions(), talk or TalkOptions()
    wanted = (span or RangeOptions()).span()
    with talking(talk):
        settings = options.settings(wanted, (model or ModelOptions()).settings())
        check_report(options, source, target)
        if at is not None:
            _refuse_beside_at(wanted, compare, options)
            lines = _frame(source, target, Moment.parse(at), settings)
        else:
            if options.report is not None and wanted == TimeSpan():
                raise SettingsError("--report tells of one clip: name it with --start and --end")
            lines = _clips(source, target, settings, compare or Compare.SIDE, options.report, talk)
        if not talk.quiet:
            say("\n".join(lines))
    return 0


def _refuse_beside_at(wanted: TimeSpan, compare: Compare | None, options: RestoreOptions) -> None:
    others = {
        "--start or --end": wanted != TimeSpan(),
        "--compare": compare is not None,
        "--report": options.report is not None,
    }
    for name, is_given in others.items():
        if is_given:
            raise SettingsError(f"--at shows a single frame: it cannot go with {name}")


def _frame(source: Path, target: Path | None, at: Moment, settings: RestoreSettings) -> list[str]:
    from vidrestore.jobs.preview_frame import preview_frame

    return frame_lines(preview_frame(source, at, target, settings))


def _clips(
    source: Path,
    target: Path | None,
    settings: RestoreSettings,
    compare: Compare,
    report: Path | None,
    talk: TalkOptions,
) -> list[str]:
    from vidrestore.jobs.preview import preview_video

    with ProgressBar(talk.quiet) as progress:
        made = preview_video(source, target, settings, progress, leave_hanging, compare=compare)
    write_report(report, made.report.to_json())
    return clip_lines(made)


def frame_lines(made: FramePreview) -> list[str]:
    """Say what became of one frame."""
    lines = [f"{made.path}: the frame at {made.seconds:.2f} s, before and after"]
    for face in made.faces:
        held = f", held back: {face.held_back}" if face.held_back else ""
        lines.append(f"face of {face.width_px:.0f} px: shown at {face.strength:.0%}{held}")
    return lines if made.faces else [*lines, "no faces found in it"]


def clip_lines(made: Preview) -> list[str]:
    """Say what became of each clip, and what the whole film would take."""
    from vidrestore.jobs.space import as_size

    lines = []
    for clip in made.clips:
        lines.append(f"{clip.path}: {summary(clip.report)}")
        if clip.why is not None:
            lines.append(f"  chosen for {clip.why}")
        lines.append(f"  its pictures: {clip.sheet}")
    if made.estimate is not None:
        size = made.bytes_for_film
        room = "" if size is None else f" and {as_size(size)}"
        lines.append(
            f"the whole film would take about {as_time(made.estimate.seconds)}{room} "
            f"({made.estimate.basis})"
        )
    return lines
