"""What the handlers of the film tab do, without a browser."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.web.errands import Count, light_work
from vidrestore.web.choices import Whom
from vidrestore.web.film_changes import film_changes, no_film
from vidrestore.web.film_tab import FilmTab
from vidrestore.web.jobs import Job, JobManager, JobState
from vidrestore.web.shelf import Item, Shelf
from vidrestore.web.tasks import FilmFacts

# Gradio leaves event loops to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CHOICES = (Whom.ALL, [], 1.0, "auto", "", "")


@dataclass(frozen=True)
class Page:
    tab: FilmTab
    shelf: Shelf
    manager: JobManager

    def bring(self) -> Item:
        arrived = self.shelf.incoming / "film.mp4"
        arrived.write_bytes(b"film")
        return self.shelf.bring(arrived)


@pytest.fixture
def page() -> Iterator[Page]:
    with Shelf() as shelf, JobManager(light_work) as manager, gr.Blocks():
        yield Page(FilmTab(shelf, manager), shelf, manager)
    gc.collect()  # here, and not in somebody else's test


def test_a_second_run_of_a_film_is_refused_while_one_is_going(page: Page, tmp_path: Path) -> None:
    item = page.bring()
    first = page.manager.submit(Count(tmp_path, "x", 1000, 0.05), item.token)
    with pytest.raises(gr.Error, match="is being restored already"):
        page.tab._restore(item.token, *CHOICES)
    assert page.manager.latest(item.token) == {"film": page.manager.find(first.key)}


def test_looking_can_be_stopped_and_the_run_goes_on(page: Page, tmp_path: Path) -> None:
    item = page.bring()
    run = page.manager.submit(Count(tmp_path, "x", 1000, 0.05), item.token)
    look = page.manager.submit(Count(tmp_path, "y", 1000, 0.05, kind="people"), item.token)
    assert page.tab._changes(item.token, {})[-1].visible
    page.tab._stop_looks(item.token)
    assert page.manager.find(look.key).state is JobState.STOPPED
    assert not page.manager.find(run.key).state.is_over
    assert not page.tab._changes(item.token, {})[-1].visible


def test_a_film_that_was_swept_away_is_asked_for_again(page: Page) -> None:
    item = page.bring()
    page.shelf.remove(item)
    for handler in (page.tab._restore, page.tab._number):
        with pytest.raises(gr.Error, match="choose it again"):
            handler(item.token, *(CHOICES if handler == page.tab._restore else ()))
    assert page.tab._changes(item.token, {})[0] == {}


def test_the_page_is_told_only_what_is_new(page: Page, tmp_path: Path) -> None:
    def changes(shown: dict[str, str], **jobs: Job) -> list[Any]:
        return film_changes("film.mp4", jobs, shown, page.manager)

    facts = Job(Count(tmp_path, "", kind="facts"), "ann", state=JobState.DONE, outcome=FilmFacts())
    first = changes({"facts": ""}, facts=facts)
    assert "film.mp4" in first[1]
    assert changes(first[0], facts=facts)[1] == gr.skip()
    assert len(first) == len(no_film({}))
    failed = Job(Count(tmp_path, "", kind="facts"), "ann", state=JobState.FAILED, reason="no film")
    assert "No film" in changes({}, facts=failed)[1]


def test_nothing_of_another_film_stays_on_the_page(page: Page, tmp_path: Path) -> None:
    kinds = ("facts", "frame", "preview", "people")
    before = dict.fromkeys(kinds, f"key {JobState.DONE}")
    arrived = page.shelf.incoming / "next.mp4"
    arrived.write_bytes(b"film")
    _, token, shown, *chosen = page.tab._bring(str(arrived), before)
    assert chosen == [Whom.ALL, "", ""]
    facts = Job(Count(tmp_path, "", kind="facts"), token, state=JobState.DONE, outcome=FilmFacts())
    now = film_changes("next.mp4", {"facts": facts}, shown, page.manager)
    for changes in (now, no_film(before)):
        pair, clip, _, gallery, numbers = changes[5:10]
        assert (pair.value, pair.visible) == (None, False)
        assert (clip, gallery) == ("", "")
        assert (numbers.choices, numbers.value, numbers.visible) == ([], [], False)
    later = film_changes("next.mp4", {"facts": facts}, now[0], page.manager)
    assert [later[k] for k in (5, 6, 8, 9)] == [gr.skip()] * 4
