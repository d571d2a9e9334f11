"""Makes one page of a report: for any browser, without network, scripts or further files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from itertools import pairwise
from pathlib import PurePath

from vidrestore.jobs.drawing import as_clock
from vidrestore.jobs.report_faces import people_html, read_tracks, timeline_html
from vidrestore.jobs.report_plots import Line, plot_course, plot_stages
from vidrestore.jobs.report_reading import Tree
from vidrestore.report import plain
from vidrestore.settings import RestoreSettings

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_FEWEST_POINTS = 2
_MEGABYTE = 1e6

_FILM_AXIS, _RUN_AXIS = "time in the film", "time of the run"


def render_page(report: Tree) -> str:
    """Return the page as HTML.

    Args:
        report: From ``read_report``; what older versions did not record is left out.
    """
    tracks = read_tracks(report)
    title = PurePath(report["input"]["path"].text()).name or "a film"
    sections = [
        _section(
            "The film",
            "Each bar is a face, from its first picture to its last. Click one to see that face.",
            timeline_html(report, tracks),
        ),
        _section(
            "The people",
            "Above as in the film, below as written. A percentage says that the face is shown "
            "only in part, because it would be harmed, or the settings say so.",
            people_html(tracks),
        ),
        _section("What you should know", "", _list(report["warnings"], "warn")),
        _section("Chosen automatically", "", _list(report["choices"])),
        _section("Steadiness", "", _cards(_steadiness(report))),
        _section("The run", "", _cards(_run(report))),
        _section("Particulars", "", _particulars(report)),
    ]
    style = files("vidrestore.jobs").joinpath("report_page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}: vidrestore report</title><style>\n{style}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>{_subtitle(report)}{_facts(report)}\n"
        + "\n".join(filter(None, sections))
        + "\n</body></html>\n"
    )


def _section(title: str, lead: str, content: str) -> str:
    if not content:
        return ""
    told = f'<p class="soft">{escape(lead)}</p>' if lead else ""
    return f"<h2>{escape(title)}</h2>{told}{content}"


def _subtitle(report: Tree) -> str:
    film, output = report["input"]["video"], report["output"]
    rate = film["nominal_rate"].number()
    parts = [
        f"{film['width'].text()}×{film['height'].text()}" if film["width"].number() else "",
        f"{rate:.4g} pictures a second" if rate else "",
        film["codec"].text(),
        f"written to {PurePath(output['path'].text()).name}" if output["path"].text() else "",
    ]
    return f'<p class="soft">{escape(", ".join(filter(None, parts)))}</p>'


def _facts(report: Tree) -> str:
    """Show the figures that everybody asks for first."""
    frames, timings = report["frames"], report["timings"]
    written, painted = frames["written"].number(), frames["painted"].number()
    wall, speed = timings["wall_seconds"].number(), timings["frames_per_second"].number()
    memory, size = timings["peak_memory_bytes"].number(), report["output"]["num_bytes"].number()
    kept = frames["kept"].number()
    facts = [
        (written, "{:.0f}", "pictures written"),
        (painted, "{:.0f}", "of them with a restored face"),
        (kept or None, "{:.0f}", "kept from a run that was cut short"),
        (speed, "{:.3g}", "pictures a second"),
        (memory and memory / _MEGABYTE, "{:.0f} MB", "of memory at most"),
        (size and size / _MEGABYTE, "{:.1f} MB", "size of the new film"),
    ]
    cells = [
        f"<div><b>{form.format(n)}</b><span>{what}</span></div>" for n, form, what in facts if n
    ]
    if wall is not None:
        cells.insert(2, f"<div><b>{as_clock(wall)}</b><span>of work</span></div>")
    return f'<div class="facts">{"".join(cells)}</div>'


def _list(items: Tree, kind: str = "") -> str:
    found = "".join(f"<li>{escape(item.text())}</li>" for item in items.rows() if item.text())
    return f'<ul class="{kind}">{found}</ul>' if found else ""


Plot = tuple[str, str, str]
"""Title, explanation and ``<svg>``."""


def _cards(plots: Iterable[Plot]) -> str:
    cards = "".join(
        f'<section class="card plot"><h3>{escape(title)}</h3><p class="soft">{escape(told)}</p>'
        f"{svg}</section>"
        for title, told, svg in plots
    )
    return f'<div class="cards">{cards}</div>' if cards else ""


def _steadiness(report: Tree) -> Iterable[Plot]:
    found = [row.numbers(5) for row in report["history"]["steadiness"].rows()]
    rows = _with_gaps([[row[0], *row[1:]] for row in found if row[0] is not None])
    for title, told, unit, column in (
        (
            "Trembling",
            "How much the places of eyes, nose and mouth tremble from one sight to the next, as "
            "measured and as used; less is steadier. Movement of the head counts too.",
            "pixels of a 512 crop",
            1,
        ),
        (
            "Flicker",
            "How much a face's brightness changes from picture to picture where it should stay the "
            "same. More after than before would mean that the new detail is restless.",
            "steps of 255",
            3,
        ),
    ):
        kept = [(x, row[column], row[column + 1]) for x, row in rows]
        if sum(before is not None for _, before, _ in kept) < _FEWEST_POINTS:
            continue
        labels = ("measured", "used") if column == 1 else ("before", "after")
        lines = [
            Line(labels[0], "before", [before for _, before, _ in kept]),
            Line(labels[1], "after", [after for _, _, after in kept]),
        ]
        yield title, told, plot_course([x for x, _, _ in kept], lines, _FILM_AXIS, unit)


def _with_gaps(
    rows: Sequence[Sequence[float | None]],
) -> list[tuple[float, Sequence[float | None]]]:
    """Return times and rows, with an empty row where no face was seen for some time."""
    timed = [(row[0], row) for row in rows if row[0] is not None]
    step = min((b[0] - a[0] for a, b in pairwise(timed)), default=0.0)
    found: list[tuple[float, Sequence[float | None]]] = []
    for time, row in timed:
        if found and time - found[-1][0] > 1.5 * step:
            found.append(((time + found[-1][0]) / 2, [None] * len(row)))
        found.append((time, row))
    return found


def _run(report: Tree) -> Iterable[Plot]:
    rows = [row.numbers(3) for row in report["history"]["speed"].rows()]
    known = [(x, n, m) for x, n, m in rows if x is not None and n is not None]
    steps = [(a, b) for a, b in pairwise(known) if b[0] > a[0]]
    if len(steps) >= _FEWEST_POINTS:
        speeds: list[float | None] = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in steps]
        line = Line("speed", "after", speeds)
        svg = plot_course([b[0] for _, b in steps], [line], _RUN_AXIS, "pictures a second")
        yield "Speed", "Pictures without faces go by faster.", svg
    memory = [(x, m / _MEGABYTE) for x, _, m in known if m]
    if len(memory) >= _FEWEST_POINTS:
        line = Line("memory", "after", [m for _, m in memory])
        svg = plot_course([x for x, _ in memory], [line], _RUN_AXIS, "MB")
        yield "Memory", "It should not grow with the length of the film.", svg
    stages = [
        (row["name"].text(), row["busy_seconds"].number(), row["waiting_seconds"].number())
        for row in report["timings"]["stages"].rows()
    ]
    if any(busy for _, busy, _ in stages):
        svg = plot_stages(
            [name for name, _, _ in stages],
            [busy or 0.0 for _, busy, _ in stages],
            [waiting or 0.0 for _, _, waiting in stages],
        )
        slowest = report["timings"]["slowest_stage"].text()
        told = f"The parts of the program work side by side; the slowest was '{slowest}'."
        yield "Where the time went", told, svg


def _particulars(report: Tree) -> str:
    usual = RestoreSettings(record_history=True)  # as in every run with a report
    default = dict(Tree(plain(dataclasses.asdict(usual))).leaves())
    settings = report["settings"].leaves() if report["settings"].fields() else []
    rows = [(name, text, default.get(name, text) != text) for name, text in settings]
    tables = [
        ("Settings (changed ones in bold)", rows),
        ("Models", _unmarked(report["models"])),
        ("What became of each track", _streams(report)),
        ("Figures", _unmarked(report["frames"])),
        ("Machine", _unmarked(report["machine"])),
        ("Versions", _unmarked(report["versions"])),
    ]
    return "".join(
        f"<details><summary>{escape(title)}</summary><table>{_table(found)}</table></details>"
        for title, found in tables
        if found
    )


Row = tuple[str, str, bool]
"""Name, text, and whether it is marked."""


def _unmarked(tree: Tree) -> list[Row]:
    return [(name, text, False) for name, text in tree.leaves()] if tree.fields() else []


def _streams(report: Tree) -> list[Row]:
    rows = []
    for stream in report["output"]["streams"].rows():
        name = " ".join(filter(None, (stream["kind"].text(), stream["codec"].text())))
        done = " ".join(filter(None, (stream["action"].text(), stream["reason"].text())))
        rows.append((name, done, False))
    return rows


def _table(rows: Iterable[Row]) -> str:
    return "".join(
        f'<tr{" class=changed" if is_marked else ""}><td class="name">{escape(name)}</td>'
        f"<td>{escape(text) or '–'}</td></tr>"
        for name, text, is_marked in rows
    )
