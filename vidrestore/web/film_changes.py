"""What the tab for films shows: a function of the jobs that its film has had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

import gradio as gr

from vidrestore.web.handlers import open_picture
from vidrestore.web.jobs import Job, JobManager, JobState
from vidrestore.web.tasks import Clip, FilmFacts, FoundPeople, Outcome
from vidrestore.web.words import clip_html, facts_html, film_html, people_html, state_html

Shown = dict[str, str]
"""For each kind of job, the key and state of the one that the page shows."""
Changes = list[Any]
"""As Gradio has it: what is shown by now, facts, the steps that follow, the slider, how far the
pair and the clip are, both of them, how far the search for people is, their pictures, their
numbers, the restored film, its two buttons, the one that stops looking."""
LOOKS = ("frame", "preview", "people")
"""The kinds of jobs that only show something."""

_T = TypeVar("_T", bound=Outcome)


def no_film(shown: Shown) -> Changes:
    """Return the changes of a page that has no film, or no more."""
    gone = shown.keys()
    return [
        *({}, "", gr.Column(visible=False), gr.skip(), ""),
        *(_pair({}, gone), _clip({}, gone), "", *_people({}, gone), "", gr.skip(), gr.skip()),
        gr.Button(visible=False),
    ]


def film_changes(name: str, jobs: Mapping[str, Job], shown: Shown, manager: JobManager) -> Changes:
    """Return what has changed since ``shown``.

    Args:
        name: What people call the film.
        jobs: Its latest job of each kind.
        shown: Empty where the page was just loaded; of another film where one was just chosen.
        manager: Knows who waits for whom.
    """
    now = {kind: f"{job.key} {job.state}" for kind, job in jobs.items()}
    news = {kind: job for kind, job in jobs.items() if now[kind] != shown.get(kind)}
    if shown:
        for job in news.values():
            if job.state is JobState.FAILED:
                gr.Warning(job.reason[:1].upper() + job.reason[1:], title="This did not work")
    fresh = {kind: job for kind, job in news.items() if job.state is JobState.DONE}
    gone = shown.keys() - jobs.keys()
    film = jobs.get("film")
    is_running = film is not None and not film.state.is_over
    return [
        now,
        *_facts(name, jobs, fresh, manager),
        _under_way(jobs, ("frame", "preview"), manager),
        _pair(fresh, gone),
        _clip(fresh, gone),
        _under_way(jobs, ("people",), manager),
        *_people(fresh, gone),
        _film(film, manager),
        gr.Button(visible=not is_running),
        gr.Button(visible=is_running),
        gr.Button(visible=any(k in jobs and not jobs[k].state.is_over for k in LOOKS)),
    ]


def _facts(
    name: str, jobs: Mapping[str, Job], fresh: Mapping[str, Job], manager: JobManager
) -> Changes:
    """Return facts, the steps that follow, and the slider."""
    facts = _outcome(jobs, "facts", FilmFacts)
    if facts is None:
        return [_under_way(jobs, ("facts",), manager), gr.Column(visible=False), gr.skip()]
    if not fresh.keys() & {"facts", "preview"}:
        return [gr.skip()] * 3
    text = facts_html(name, facts, _outcome(jobs, "preview", Clip))
    slider = gr.skip()
    if "facts" in fresh:
        last = max(0.0, (facts.seconds or 0.0) - 0.1)
        slider = gr.Slider(maximum=max(0.04, round(last, 2)), value=round(last / 3, 2))
    return [text, gr.Column(visible=True), slider]


def _under_way(jobs: Mapping[str, Job], kinds: Sequence[str], manager: JobManager) -> str:
    """Say how far jobs are, and why they failed; what is done shows itself."""
    parts = []
    for kind in kinds:
        job = jobs.get(kind)
        if job is not None and job.state not in (JobState.DONE, JobState.STOPPED):
            parts.append(state_html(job, manager.num_before(job.key)))
    return "".join(parts)


def _pair(fresh: Mapping[str, Job], gone: AbstractSet[str]) -> Any:  # noqa: ANN401 - as Gradio has it
    outcome = fresh["frame"].outcome if "frame" in fresh else None
    if outcome is None:
        return gr.ImageSlider(value=None, visible=False) if "frame" in gone else gr.skip()
    pair = tuple(open_picture(outcome.files[name]) for name in ("before.png", "after.png"))
    label = " ".join(["Before | after: drag the line.", *outcome.notes])
    return gr.ImageSlider(value=pair, visible=True, label=label)


def _clip(fresh: Mapping[str, Job], gone: AbstractSet[str]) -> Any:  # noqa: ANN401 - as Gradio has it
    if "preview" in fresh:
        return clip_html(fresh["preview"])
    return "" if "preview" in gone else gr.skip()


def _people(fresh: Mapping[str, Job], gone: AbstractSet[str]) -> Changes:
    """Return their pictures, and the numbers that can be ticked."""
    people = _outcome(fresh, "people", FoundPeople)
    if people is None and "people" in gone:
        return ["", gr.CheckboxGroup(choices=[], value=[], visible=False)]
    if people is None:
        return [gr.skip()] * 2
    numbers = [(str(number), number) for number in people.captions]
    return [
        people_html(fresh["people"], people),
        gr.CheckboxGroup(choices=numbers, value=[], visible=bool(numbers)),
    ]


def _film(job: Job | None, manager: JobManager) -> str:
    if job is None:
        return ""
    if job.state is JobState.DONE:
        return film_html(job)
    return state_html(job, manager.num_before(job.key))


def _outcome(jobs: Mapping[str, Job], kind: str, form: type[_T]) -> _T | None:
    outcome = jobs[kind].outcome if kind in jobs else None
    return outcome if isinstance(outcome, form) else None
