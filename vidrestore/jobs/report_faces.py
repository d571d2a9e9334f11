"""The parts of a report's page about the film: its timeline, and the people in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from vidrestore.jobs.drawing import as_clock
from vidrestore.jobs.report_reading import Tree

_NUM_SHADES = 5
_NUM_MARKS = 5
_NARROW_PERCENT = 6.0
_MOST_LANES = 40


@dataclass(frozen=True, slots=True)
class Track:
    """One face through one shot, as the page shows it."""

    number: int
    person: int | None
    """Number in the faces file."""
    start: float
    end: float
    """Seconds of the film."""
    strength: float
    tree: Tree

    @property
    def name(self) -> str:
        """What the page calls it."""
        return f"Face {self.number}" if self.person is None else f"Person {self.person}"

    def sentence(self) -> str:
        """Say what is known of it."""
        count, width = self.tree["num_frames"].number(), self.tree["mean_width_px"].number()
        parts = [
            f"{as_clock(self.start)} to {as_clock(self.end)}",
            f"{count:.0f} frames" if count is not None else "",
            f"about {width:.0f} pixels wide" if width else "",
            f"restored to {100 * self.strength:.0f} %",
        ]
        held = [(why, n.number() or 0) for why, n in self.tree["held_back"].fields()]
        parts += [f"{why} in {n:.0f} frames" for why, n in held]
        return ", ".join(filter(None, parts))


def read_tracks(report: Tree) -> list[Track]:
    """Return the tracks of a report, by time; those without a time are left out."""
    found = []
    for row in report["tracks"].rows():
        number, person = row["id"].number(), row["face_id"].number()
        start, end = row["start_seconds"].number(), row["end_seconds"].number()
        if number is None or start is None or end is None:
            continue
        strength = min(1.0, max(0.0, row["mean_strength"].number() or 0.0))
        who = None if person is None else int(person)
        found.append(Track(int(number), who, start, max(start, end), strength, row))
    return sorted(found, key=lambda t: (t.start, t.number))


def timeline_html(report: Tree, tracks: Sequence[Track]) -> str:
    """Draw the film from left to right: a bar for each face, cuts, and damaged places."""
    cuts = [seconds for row in report["cuts"].rows() if (seconds := row.number()) is not None]
    damage = [
        (seconds, what.text())
        for row in report["damage"].rows()
        for place, what in [(row.rows() + [Tree(None)] * 2)[:2]]
        if (seconds := place.number()) is not None
    ]
    start = report["output"]["start_seconds"].number() or 0.0
    known = [*cuts, *(t.end for t in tracks), *(seconds for seconds, _ in damage)]
    stop = report["output"]["stop_seconds"].number() or report["input"]["duration_seconds"].number()
    stop = max([stop or 0.0, start + 0.1, *known]) if stop is None else max(stop, start + 0.1)

    def percent(seconds: float) -> float:
        return min(100.0, max(0.0, 100 * (seconds - start) / (stop - start)))

    lanes = _lanes(tracks)
    rows = [
        f'<div class="lane">{"".join(_bar(t, percent) for t in lane)}</div>'
        for lane in lanes[:_MOST_LANES]
    ]
    if damage:
        marks = "".join(
            f'<span class="hurt" style="left:{percent(seconds):.3f}%" '
            f'title="{as_clock(seconds)}: {escape(what)}"></span>'
            for seconds, what in damage
        )
        rows.append(f'<div class="lane">{marks}</div>')
    lines = "".join(
        f'<span class="cut" style="left:{percent(seconds):.3f}%" '
        f'title="new shot at {as_clock(seconds)}"></span>'
        for seconds in cuts
    )
    ticks = [start + (stop - start) * k / (_NUM_MARKS - 1) for k in range(_NUM_MARKS)]
    axis = "".join(
        f'<span style="left:{percent(seconds):.3f}%">{as_clock(seconds)}</span>'
        for seconds in ticks
    )
    return (
        f'<div class="film">{lines}{"".join(rows) or "<p>No faces were found.</p>"}</div>'
        f'<div class="axis">{axis}</div>{_legend(has_cuts=bool(cuts), has_damage=bool(damage))}'
    )


def people_html(tracks: Sequence[Track]) -> str:
    """Show each person's faces before and after; empty if the report has no pictures."""
    people: dict[str, list[Track]] = {}
    for track in tracks:
        people.setdefault(track.name, []).append(track)
    shown = {
        name: pictures
        for name, mine in people.items()
        if (pictures := "".join(_figure(m) for t in mine for m in t.tree["moments"].rows()))
    }
    if not shown:
        return ""
    cards = [_card(name, people[name], pictures) for name, pictures in shown.items()]
    others = [track for name, mine in people.items() if name not in shown for track in mine]
    rest = ""
    if others:
        items = "".join(f"<li>{escape(t.name)}: {escape(t.sentence())}</li>" for t in others)
        rest = (
            f"<details><summary>{len(others)} more, seen for less long</summary>"
            f"<ul>{items}</ul></details>"
        )
    return f'<div class="cards">{"".join(cards)}</div>{rest}'


def _card(name: str, tracks: Sequence[Track], pictures: str) -> str:
    anchors = "".join(f'<a id="face-{track.number}"></a>' for track in tracks)
    told = "<br>".join(escape(_with_flicker(track)) for track in tracks)
    return (
        f'<section class="card">{anchors}<h3>{escape(name)}</h3><p class="soft">{told}</p>'
        f'<div class="strip">{pictures}</div></section>'
    )


def _with_flicker(track: Track) -> str:
    before = track.tree["flicker_before"].number()
    after = track.tree["flicker_after"].number()
    text = track.sentence()
    if before is None or after is None:
        return text
    return f"{text}; flicker {before:.1f} before, {after:.1f} after"


def _figure(moment: Tree) -> str:
    """Show one moment; what is no picture is left out."""
    before, after = moment["before"].text(), moment["after"].text()
    seconds, strength = moment["seconds"].number(), moment["strength"].number()
    if seconds is None or not (_is_base64(before) and _is_base64(after)):
        return ""
    clock = as_clock(seconds)
    pictures = "".join(
        f'<img src="data:image/jpeg;base64,{data}" alt="{what}, at {clock}" title="{what}">'
        for what, data in (("before", before), ("after", after))
    )
    held = moment["held_back"].text()
    note = "" if strength is None or strength > 0.99 else f"<br>{100 * strength:.0f} %"
    title = f' title="{escape(held)}"' if held else ""
    return f"<figure{title}>{pictures}<figcaption>{clock}{note}</figcaption></figure>"


def _is_base64(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", text) is not None


def _lanes(tracks: Iterable[Track]) -> list[list[Track]]:
    """Put tracks side by side where they overlap; a person of the faces file has its own lane."""
    own: dict[int, list[Track]] = {}
    shared: list[list[Track]] = []
    for track in tracks:
        if track.person is not None:
            own.setdefault(track.person, []).append(track)
            continue
        free = next((lane for lane in shared if lane[-1].end < track.start), None)
        if free is None:
            shared.append([track])
        else:
            free.append(track)
    return [own[person] for person in sorted(own)] + shared


def _bar(track: Track, percent: Callable[[float], float]) -> str:
    left, right = percent(track.start), percent(track.end)
    shade = min(_NUM_SHADES - 1, int(track.strength * _NUM_SHADES))
    is_narrow = right - left < _NARROW_PERCENT
    text = f"{track.name}: {track.sentence()}"
    return (
        f'<a class="bar s{shade}{" narrow" if is_narrow else ""}" href="#face-{track.number}" '
        f'style="left:{left:.3f}%;width:{right - left:.3f}%" title="{escape(text)}">'
        f"{'' if is_narrow else escape(track.name)}</a>"
    )


def _legend(*, has_cuts: bool, has_damage: bool) -> str:
    parts = [
        '<span><i class="s0"></i>left as it was</span>',
        '<span><i class="s2"></i>restored in part</span>',
        '<span><i class="s4"></i>restored fully</span>',
    ]
    if has_cuts:
        parts.append('<span><i class="cutmark"></i>a new shot begins</span>')
    if has_damage:
        parts.append('<span><i class="hurtmark"></i>the film is damaged</span>')
    return f'<div class="legend">{"".join(parts)}</div>'
