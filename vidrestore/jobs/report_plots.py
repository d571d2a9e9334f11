"""Draws the plots of a report's page as SVG that takes its colours from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from vidrestore.jobs.drawing import as_clock

_INK, _GRID = "#010101", "#020202"
_COLOURS = {
    "before": "#030303",
    "after": "#040404",
    "calm": "#050505",
}
_CSS = {
    _INK: "currentColor",
    _GRID: "var(--line)",
    **{colour: f"var(--{name})" for name, colour in _COLOURS.items()},
}
"""What the page puts in place of each colour, so that plots are light or dark as it is."""
_SIZE_INCHES = (4.6, 2.4)
_FEW_POINTS = 40
_FONT_SIZE = 10


@dataclass(frozen=True, slots=True)
class Line:
    """One course in a plot."""

    label: str
    colour: str
    """``before``, ``after`` or ``calm``."""
    values: Sequence[float | None]
    """None: a gap."""


def plot_course(times: Sequence[float], lines: Sequence[Line], axis: str, unit: str) -> str:
    """Draw courses over time.

    Args:
        times: In seconds, rising.
        lines: Of as many values; the axis begins at 0.
        axis: What the horizontal axis is.
        unit: What the vertical one is.

    Returns:
        An ``<svg>`` element.
    """
    figure, axes = _figure()
    marker = "." if len(times) <= _FEW_POINTS else ""
    for line in lines:
        # matplotlib leaves a gap where a number is not one
        values = [float("nan") if value is None else value for value in line.values]
        axes.plot(
            list(times),
            values,
            color=_COLOURS[line.colour],
            label=line.label,
            linewidth=1.8,
            marker=marker,
        )
    known = [value for line in lines for value in line.values if value is not None]
    axes.set_ylim(0, 1.1 * max(known, default=0.0) or 1.0)
    axes.set_xlabel(axis, color=_INK)
    axes.set_ylabel(unit, color=_INK)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 6, 10], integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: as_clock(seconds)))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if len(lines) > 1:
        _add_legend(figure, axes)
    return _svg(figure, unit)


def plot_stages(names: Sequence[str], busy: Sequence[float], waiting: Sequence[float]) -> str:
    """Draw how long each stage worked and waited, in seconds, as an ``<svg>`` element."""
    figure, axes = _figure()
    rows = range(len(names))
    axes.barh(rows, busy, color=_COLOURS["after"], label="working", height=0.7)
    axes.barh(rows, waiting, left=list(busy), color=_COLOURS["calm"], label="waiting", height=0.7)
    axes.set_yticks(list(rows), labels=list(names), color=_INK)
    axes.invert_yaxis()
    axes.set_xlabel("seconds", color=_INK)
    axes.grid(visible=False, axis="y")
    _add_legend(figure, axes)
    return _svg(figure, "stages")


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(colors=_GRID, labelcolor=_INK, labelsize=_FONT_SIZE)
    axes.grid(visible=True, color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_color(_GRID)
        spine.set_visible(side in ("left", "bottom"))
    return figure, axes


def _add_legend(figure: Figure, axes: Axes) -> None:
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper left",
        ncols=2,
        frameon=False,
        labelcolor=_INK,
        fontsize=_FONT_SIZE,
    )


def _svg(figure: Figure, salt: str) -> str:
    """Write a figure as an element to stand in a page: scalable, in the page's font and colours."""
    text = io.StringIO()
    # text stays text; the salt keeps the names inside apart from those of other plots
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(text, format="svg")
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(
        r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.S
    )
    svg = re.sub(r'\s(?:xmlns(?::xlink)?|version)="[^"]*"', "", svg)
    svg = re.sub(r'(<svg\b[^>]*?)\swidth="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg\b[^>]*?)\sheight="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r' id="[a-z_]+_\d+"', "", svg)
    for colour, css in _CSS.items():
        svg = svg.replace(colour, css)
    return svg.strip()
