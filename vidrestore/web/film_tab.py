"""The tab for films: choose, look, restore.

What it shows is a function of the jobs that its film has had. So the page can be reloaded, closed
and opened again: a timer asks for what has changed since it was last told.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import gradio as gr

from vidrestore.errors import SettingsError
from vidrestore.settings import Moment, TimeSpan
from vidrestore.web.choices import Choices, Whom, installed_models
from vidrestore.web.film_changes import LOOKS, Shown, film_changes, no_film
from vidrestore.web.handlers import ASK_SECONDS, QUIET, telling
from vidrestore.web.jobs import JobManager
from vidrestore.web.shelf import Item, Shelf
from vidrestore.web.tasks import (
    CompareFrame,
    InspectFilm,
    MakePreview,
    NumberFaces,
    RestoreFilm,
)

_PREVIEW_SECONDS = Fraction(4)

Begun = tuple[None, str, Shown, Whom, str, str]
"""What becomes of the upload, the film's token, what is shown, whose faces, and the range."""


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
            label="Drop a film here, or click to choose one", height=180, elem_id="film-upload"
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

    def _build_looking(self) -> None:
        gr.Markdown("## 2. Look how it will be")
        self._moment = gr.Slider(
            0, 1, value=0, step=0.04, label="Moment of the film, in seconds", elem_id="film-moment"
        )
        with gr.Row():
            self._compare = gr.Button("Show this picture before and after", elem_id="film-compare")
            self._preview = gr.Button("Make a short preview clip", elem_id="film-preview")
        self._looking = gr.HTML(elem_id="film-looking")
        self._stop_looking = gr.Button(
            "Stop looking", variant="stop", visible=False, elem_id="film-stop-looking"
        )
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
            self._finding = gr.HTML(elem_id="film-finding")
            self._gallery = gr.HTML(elem_id="film-gallery")
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
        taken = [self._upload, self._token, self._shown, self._whom, self._start, self._end]
        events = [
            self._upload.upload(self._bring, [self._upload, self._shown], taken, **QUIET),
            self._open.click(self._name, [self._named, self._shown], taken, **QUIET),
        ]
        at = [self._token, self._moment, *choices]
        events += [
            trigger(handler, inputs, **QUIET)
            for trigger, handler, inputs in (
                (self._moment.release, self._compare_frame, at),
                (self._compare.click, self._compare_frame, at),
                (self._preview.click, self._make_preview, at),
                (self._find_people.click, self._number, [self._token]),
                (self._run.click, self._restore, [self._token, *choices]),
                (self._stop.click, self._stop_run, [self._token]),
                (self._stop_looking.click, self._stop_looks, [self._token]),
            )
        ]
        self._whom.change(
            lambda whom: gr.Column(visible=whom == Whom.SOME),
            self._whom,
            self._people_part,
            **QUIET,
        )
        timer = gr.Timer(ASK_SECONDS)
        answer: dict[str, Any] = {
            "fn": self._changes,
            "inputs": [self._token, self._shown],
            "outputs": [
                self._shown, self._facts, self._steps, self._moment, self._looking, self._pair,
                self._clip, self._finding, self._gallery, self._people, self._film, self._run,
                self._stop, self._stop_looking,
            ],
            "concurrency_limit": None,
            **QUIET,
        }  # fmt: skip
        timer.tick(**answer)
        page.load(**answer)
        for event in events:
            event.then(**answer)

    def _bring(self, path: str, shown: Shown) -> Begun:
        with telling():
            return self._begin(self._shelf.bring(Path(path)), shown)

    def _name(self, text: str | None, shown: Shown) -> Begun:
        with telling():
            if not text:
                raise SettingsError("choose a film of the list first")
            return self._begin(self._shelf.name_film(text), shown)

    def _begin(self, item: Item, shown: Shown) -> Begun:
        """Look at a film; what is shown of the one before goes, and so do its people and range."""
        self._manager.submit(InspectFilm(item.source), item.token)
        return None, item.token, {**shown, "facts": ""}, Whom.ALL, "", ""

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
        self._stop_jobs(token, ("film",))

    def _stop_looks(self, token: str | None) -> None:
        self._stop_jobs(token, LOOKS)

    def _stop_jobs(self, token: str | None, kinds: Sequence[str]) -> None:
        with telling():
            jobs = self._manager.latest(self._item(token).token)
            for kind in kinds:
                if kind in jobs:
                    self._manager.stop(jobs[kind].key)

    def _item(self, token: str | None) -> Item:
        item = self._shelf.find(token)
        if item is None:
            raise SettingsError("this film is no longer here: choose it again")
        return item

    def _changes(self, token: str | None, shown: Shown) -> list[Any]:
        """Return what has changed on the page since ``shown``."""
        item = self._shelf.find(token)
        if item is None:
            return no_film(shown)
        return film_changes(item.name, self._manager.latest(item.token), shown, self._manager)
