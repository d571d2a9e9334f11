"""The tab for films: choose, look, restore.

What it shows is a function of the jobs that its film has had. So the page can be reloaded, closed
and opened again: a timer asks for what has changed since it was last told.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from PIL import Image

from vidrestore.errors import SettingsError
from vidrestore.settings import Moment, TimeSpan
from vidrestore.web.choices import Choices, Whom, installed_models
from vidrestore.web.jobs import Job, JobManager, JobState
from vidrestore.web.shelf import Item, Shelf
from vidrestore.web.tasks import (
    Clip,
    CompareFrame,
    FilmFacts,
    FoundPeople,
    InspectFilm,
    MakePreview,
    NumberFaces,
    Outcome,
    RestoreFilm,
)
from vidrestore.web.telling import telling
from vidrestore.web.words import clip_html, facts_html, film_html, state_html

_ASK_SECONDS = 1.0
_PREVIEW_SECONDS = Fraction(4)
_LOOKING = ("facts", "people", "frame", "preview")

_T = TypeVar("_T", bound=Outcome)

Shown = dict[str, str]
"""For each part of the page, what its latest content was made from."""


class FilmTab:
    """Builds the tab and answers it.

    Args:
        shelf: Where films are kept.
        manager: Runs the jobs.
    """

    def __init__(self, shelf: Shelf, manager: JobManager) -> None:
        self._shelf, self._manager = shelf, manager
        self._token = gr.BrowserState(None, storage_key="vidrestore-film")
        self._shown = gr.State({})
        self._build_choosing()
        with gr.Column(visible=False) as self._steps:
            self._build_looking()
            self._build_restoring()

    def _build_choosing(self) -> None:
        gr.Markdown("## 1. Choose a film")
        self._upload = gr.File(
            label="Drop a film here, or click to choose one", height=140, elem_id="film-upload"
        )
        films = self._shelf.films()
        with gr.Row(visible=self._shelf.root is not None, equal_height=True):
            self._named = gr.Dropdown(
                films,
                label="Or choose one from this computer's folder",
                allow_custom_value=True,
                value=None,
                scale=4,
                elem_id="film-named",
            )
            self._open = gr.Button("Open", scale=1, elem_id="film-open")
        self._facts = gr.HTML(elem_id="film-facts")
        self._looking_state = gr.HTML(elem_id="film-looking")

    def _build_looking(self) -> None:
        gr.Markdown("## 2. Look how it will be")
        self._moment = gr.Slider(
            0, 1, value=0, step=0.04, label="Moment of the film, in seconds", elem_id="film-moment"
        )
        with gr.Row():
            self._compare = gr.Button("Show this picture before and after", elem_id="film-compare")
            self._preview = gr.Button("Make a short preview clip", elem_id="film-preview")
        self._pair = gr.ImageSlider(
            label="Before | after: drag the line",
            visible=False,
            interactive=False,
            buttons=["fullscreen"],
            elem_id="film-pair",
        )
        self._clip = gr.HTML(elem_id="film-clip")
        self._whom = gr.Radio(list(Whom), value=Whom.ALL, label="Whose faces?", elem_id="film-whom")
        with gr.Column(visible=False) as self._people_part:
            self._find_people = gr.Button("Find the people in this film", elem_id="film-find")
            self._gallery = gr.Gallery(
                label="Who is who",
                columns=6,
                fit_columns=False,
                height="auto",
                visible=False,
                interactive=False,
                buttons=[],
                elem_id="film-gallery",
            )
            self._people = gr.CheckboxGroup(
                [], label="Restore these", visible=False, elem_id="film-people"
            )
        self._strength = gr.Slider(
            0, 1, value=1, step=0.05, label="Strength: 0 changes nothing, 1 restores fully"
        )
        with gr.Accordion("More choices", open=False):
            self._model = gr.Dropdown(
                [("The best one installed", "auto"), *installed_models()],
                value="auto",
                label="Model",
            )
            with gr.Row():
                self._start = gr.Textbox(
                    label="Only from", placeholder="the beginning, or 1:30", max_lines=1
                )
                self._end = gr.Textbox(label="to", placeholder="the end, or 2:00", max_lines=1)

    def _build_restoring(self) -> None:
        gr.Markdown("## 3. Restore it")
        with gr.Row():
            self._run = gr.Button("Restore the film", variant="primary", elem_id="film-run")
            self._stop = gr.Button("Stop", variant="stop", visible=False, elem_id="film-stop")
        self._film = gr.HTML(elem_id="film-result")
        gr.Markdown(
            "You may close this page meanwhile: the work goes on. Save the film before the program "
            "is ended.",
            elem_classes=["small"],
        )

    def wire(self, page: gr.Blocks) -> None:
        """Connect buttons and the timer; to be called inside the page's block."""
        choices = [self._whom, self._people, self._strength, self._model, self._start, self._end]
        taken = [self._upload, self._token, self._shown]
        events = [
            self._upload.upload(self._bring, self._upload, taken, **_QUIET),
            self._open.click(self._name, self._named, taken, **_QUIET),
        ]
        at = [self._token, self._moment, *choices]
        events += [
            trigger(handler, inputs, **_QUIET)
            for trigger, handler, inputs in (
                (self._moment.release, self._compare_frame, at),
                (self._compare.click, self._compare_frame, at),
                (self._preview.click, self._make_preview, at),
                (self._find_people.click, self._number, [self._token]),
                (self._run.click, self._restore, [self._token, *choices]),
                (self._stop.click, self._stop_run, [self._token]),
            )
        ]
        self._whom.change(
            lambda whom: gr.Column(visible=whom == Whom.SOME),
            self._whom,
            self._people_part,
            **_QUIET,
        )
        timer = gr.Timer(_ASK_SECONDS)
        answer: dict[str, Any] = {
            "fn": self._changes,
            "inputs": [self._token, self._shown],
            "outputs": [
                self._shown, self._facts, self._steps, self._moment, self._looking_state,
                self._pair, self._clip, self._gallery, self._people, self._film, self._run,
                self._stop,
            ],
            "concurrency_limit": None,
            **_QUIET,
        }  # fmt: skip
        timer.tick(**answer)
        page.load(**answer)
        for event in events:
            event.then(**answer)

    def _bring(self, path: str) -> tuple[None, str, Shown]:
        with telling():
            return self._begin(self._shelf.bring(Path(path)))

    def _name(self, text: str | None) -> tuple[None, str, Shown]:
        with telling():
            if not text:
                raise SettingsError("choose a film of the list first")
            return self._begin(self._shelf.name_film(text))

    def _begin(self, item: Item) -> tuple[None, str, Shown]:
        self._manager.submit(InspectFilm(item.source), item.token)
        return None, item.token, {"facts": ""}

    def _compare_frame(self, token: str | None, at: float, *choices: Any) -> None:  # noqa: ANN401
        with telling():
            item = self._item(token)
            settings = Choices(*choices).settings(item.faces_file)
            moment = Moment(Fraction(str(at)))
            task = CompareFrame(item.source, moment, item.folder / "frame", settings)
            self._manager.submit(task, item.token)

    def _make_preview(self, token: str | None, at: float, *choices: Any) -> None:  # noqa: ANN401
        with telling():
            item = self._item(token)
            start = Fraction(str(at))
            span = TimeSpan(Moment(start), Moment(start + _PREVIEW_SECONDS))
            settings = Choices(*choices).settings(item.faces_file, span)
            target = item.folder / "preview.mp4"
            self._manager.submit(MakePreview(item.source, target, settings), item.token)

    def _number(self, token: str | None) -> None:
        with telling():
            item = self._item(token)
            self._manager.submit(NumberFaces(item.source, item.faces_file), item.token)

    def _restore(self, token: str | None, *choices: Any) -> None:  # noqa: ANN401
        with telling():
            item = self._item(token)
            latest = self._manager.latest(item.token).get("film")
            if latest is not None and not latest.state.is_over:
                raise SettingsError("this film is being restored already")
            chosen = Choices(*choices)
            settings = chosen.settings(item.faces_file, chosen.span())
            task = RestoreFilm(item.source, item.target(settings), settings)
            self._manager.submit(task, item.token)

    def _stop_run(self, token: str | None) -> None:
        with telling():
            job = self._manager.latest(self._item(token).token).get("film")
            if job is not None:
                self._manager.stop(job.key)

    def _item(self, token: str | None) -> Item:
        item = self._shelf.find(token)
        if item is None:
            raise SettingsError("this film is no longer here: choose it again")
        return item

    def _changes(self, token: str | None, shown: Shown) -> list[Any]:
        """Return what has changed on the page since ``shown``."""
        item = self._shelf.find(token)
        if item is None:
            return [{}, "", gr.Column(visible=False), *[gr.skip()] * 9]
        jobs = self._manager.latest(item.token)
        now = {kind: f"{job.key} {job.state}" for kind, job in jobs.items()}
        for kind, job in jobs.items():
            is_news = bool(shown) and shown.get(kind) != now[kind]  # the page was not just loaded
            if is_news and job.state is JobState.FAILED:
                gr.Warning(job.reason[:1].upper() + job.reason[1:], title="This did not work")
        fresh = {
            kind: job
            for kind, job in jobs.items()
            if now[kind] != shown.get(kind) and job.state is JobState.DONE
        }
        is_running = "film" in jobs and not jobs["film"].state.is_over
        return [
            now,
            *self._facts_changes(item, jobs, fresh),
            self._looking(jobs),
            self._pair_change(fresh),
            clip_html(fresh["preview"]) if "preview" in fresh else gr.skip(),
            *self._people_changes(fresh),
            self._film_html(jobs),
            gr.Button(visible=not is_running),
            gr.Button(visible=is_running),
        ]

    def _facts_changes(
        self, item: Item, jobs: Mapping[str, Job], fresh: Mapping[str, Job]
    ) -> list[Any]:
        """Return facts, the steps that follow, and the slider."""
        facts = _outcome(jobs, "facts", FilmFacts)
        if facts is None:
            return ["", gr.Column(visible=False), gr.skip()]
        if not fresh.keys() & {"facts", "preview"}:
            return [gr.skip()] * 3
        text = facts_html(item.name, facts, _outcome(jobs, "preview", Clip))
        slider = gr.skip()
        if "facts" in fresh:
            last = max(0.0, (facts.seconds or 0.0) - 0.1)
            slider = gr.Slider(maximum=max(0.04, round(last, 2)), value=round(last / 3, 2))
        return [text, gr.Column(visible=True), slider]

    def _looking(self, jobs: Mapping[str, Job]) -> str:
        parts = []
        for kind in _LOOKING:
            job = jobs.get(kind)
            if job is not None and job.state not in (JobState.DONE, JobState.STOPPED):
                parts.append(state_html(job, self._manager.num_before(job.key)))
        return "".join(parts)

    def _pair_change(self, fresh: Mapping[str, Job]) -> Any:  # noqa: ANN401 - as Gradio has it
        outcome = fresh["frame"].outcome if "frame" in fresh else None
        if outcome is None:
            return gr.skip()
        pair = _read(outcome.files["before.png"]), _read(outcome.files["after.png"])
        label = " ".join(["Before | after: drag the line.", *outcome.notes])
        return gr.ImageSlider(value=pair, visible=True, label=label)

    def _people_changes(self, fresh: Mapping[str, Job]) -> list[Any]:
        people = _outcome(fresh, "people", FoundPeople)
        if people is None:
            return [gr.skip()] * 2
        pictures = [
            (_read(people.files[f"{number}.jpg"]), caption)
            for number, caption in people.captions.items()
            if f"{number}.jpg" in people.files
        ]
        numbers = [(str(number), number) for number in people.captions]
        return [
            gr.Gallery(value=pictures, visible=True),
            gr.CheckboxGroup(choices=numbers, value=[], visible=True),
        ]

    def _film_html(self, jobs: Mapping[str, Job]) -> str:
        job = jobs.get("film")
        if job is None:
            return ""
        if job.state is JobState.DONE:
            return film_html(job)
        return state_html(job, self._manager.num_before(job.key))


_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def _people_part(whom: str) -> gr.Column:
    return gr.Column(visible=whom == Whom.SOME)


def _outcome(jobs: Mapping[str, Job], kind: str, form: type[_T]) -> _T | None:
    outcome = jobs[kind].outcome if kind in jobs else None
    return outcome if isinstance(outcome, form) else None


def _read(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
