"""The tab for photos: choose one, press the button, save it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from vidrestore.errors import SettingsError
from vidrestore.jobs.batch_inputs import PHOTOGRAPH_SUFFIXES
from vidrestore.settings import BlendSettings, FaceChoice, RestoreSettings
from vidrestore.web.handlers import ASK_SECONDS, QUIET, open_picture, telling
from vidrestore.web.jobs import Job, JobManager
from vidrestore.web.shelf import Shelf
from vidrestore.web.tasks import PhotoPair, RestorePhoto
from vidrestore.web.words import film_html, state_html


class PhotoTab:
    """Builds the tab and answers it.

    Args:
        shelf: Where photos are kept.
        manager: Runs the jobs.
    """

    def __init__(self, shelf: Shelf, manager: JobManager) -> None:
        self._shelf, self._manager = shelf, manager
        self._token = gr.BrowserState(None, storage_key="vidrestore-photo")
        self._shown = gr.State("")
        self._upload = gr.File(
            label="Drop a photo here, or click to choose one", height=180, elem_id="photo-upload"
        )
        self._name = gr.HTML(elem_id="photo-name")
        self._is_largest = gr.Checkbox(label="Largest face only", elem_id="photo-largest")
        self._run = gr.Button("Restore", variant="primary", elem_id="photo-run")
        self._said = gr.HTML(elem_id="photo-result")
        with gr.Row(visible=False) as self._pictures:
            self._before = gr.Image(label="Original", interactive=False, buttons=["fullscreen"])
            self._after = gr.Image(label="Restored", interactive=False, buttons=["fullscreen"])

    def wire(self, page: gr.Blocks) -> None:
        """Connect the button and the timer; to be called inside the page's block."""
        answer: dict[str, Any] = {
            "fn": self._changes,
            "inputs": [self._token, self._shown],
            "outputs": [
                self._shown, self._name, self._said, self._pictures, self._before, self._after,
            ],
            "concurrency_limit": None,
            **QUIET,
        }  # fmt: skip
        bring = self._upload.upload(
            self._bring, self._upload, [self._upload, self._token, self._shown], **QUIET
        )
        run = self._run.click(self._restore, [self._token, self._is_largest], **QUIET)
        gr.Timer(ASK_SECONDS).tick(**answer)
        page.load(**answer)
        for event in (bring, run):
            event.then(**answer)

    def _bring(self, path: str) -> tuple[None, str, str]:
        with telling():
            return None, self._shelf.bring(Path(path)).token, ""

    def _restore(self, token: str | None, is_largest: bool) -> None:
        with telling():
            item = self._shelf.find(token)
            if item is None:
                raise SettingsError("choose a photo first")
            faces = FaceChoice.LARGEST if is_largest else FaceChoice.ALL
            settings = RestoreSettings(blend=BlendSettings(faces=faces))
            target = item.target(settings, _ending(item.source))
            task = RestorePhoto(item.source, target, item.folder / "frame", settings)
            self._manager.submit(task, item.token)

    def _changes(self, token: str | None, shown: str) -> list[Any]:
        """Return what has changed on the page since ``shown``."""
        item = self._shelf.find(token)
        if item is None:
            return ["", "", "", gr.Row(visible=False), gr.skip(), gr.skip()]
        job = self._manager.latest(item.token).get("photo")
        now = item.token if job is None else f"{job.key} {job.state}"
        if now == shown and (job is None or job.state.is_over):
            return [gr.skip()] * 6
        return [now, f"<h3 class='name'>{escape(item.name)}</h3>", *self._job_changes(job)]

    def _job_changes(self, job: Job | None) -> list[Any]:
        if job is None:
            return ["", gr.Row(visible=False), gr.skip(), gr.skip()]
        if not isinstance(job.outcome, PhotoPair):
            before = self._manager.num_before(job.key)
            return [state_html(job, before), gr.skip(), gr.skip(), gr.skip()]
        pair = [open_picture(job.outcome.shown[name]) for name in ("before.png", "after.png")]
        return [film_html(job), gr.Row(visible=True), *pair]


def _ending(source: Path) -> str:
    """Return what the result's name ends in; a photo may have arrived under any name."""
    ending = source.suffix.lower()
    return ending if ending in PHOTOGRAPH_SUFFIXES else ".png"
