from __future__ import annotations

from pathlib import Path

from tests.web.errands import Count
from vidrestore.jobs.progress import Progress
from vidrestore.web.jobs import Job, JobState
from vidrestore.web.tasks import Clip, FilmFacts, FoundPeople, Outcome
from vidrestore.web.words import (
    clip_html,
    duration,
    facts_html,
    film_html,
    people_html,
    state_html,
)

NASTY = '<img src=x onerror="x">'


def job(**facts: object) -> Job:
    return Job(Count(Path(), ""), "ann", key="key", **facts)  # type: ignore[arg-type]


def test_what_came_from_outside_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(bytes(1200))
    outcome = Outcome({NASTY: path}, (NASTY,))
    for html in (
        facts_html(NASTY, FilmFacts(notes=(NASTY,)), Clip(basis=NASTY, seconds_for_film=3.0)),
        film_html(job(state=JobState.DONE, outcome=outcome)),
        state_html(job(state=JobState.FAILED, reason=NASTY), 0),
        clip_html(job(state=JobState.DONE, outcome=outcome)),
    ):
        assert "<img" not in html
        assert 'onerror="' not in html


def test_facts_are_said_in_plain_words() -> None:
    facts = FilmFacts((), (), 3725.0, 720, 576, 25.0, True, 1, 3, 61.7, (10**9, 3 * 10**9))
    html = facts_html("tape.avi", facts, None)
    for words in (
        "1:02:05",
        "720 × 576, 25 a second",
        "up to 3 at once, about 62 dots",
        "1.0 GB to",
    ):
        assert words in html
    assert "two moments in each picture" in html
    assert "make a preview clip to find out" in html
    known = facts_html("tape.avi", facts, Clip({}, (), 7300.0, 2 * 10**9, "one clip"))
    assert "about 2 hours 2 minutes (one clip)" in known
    assert "about 2.0 GB" in known


def test_progress_shows_pictures_speed_and_time_left() -> None:
    now = job(
        state=JobState.RUNNING,
        first=(0.0, Progress(10, 1000, 0.4, 10)),
        latest=(9.0, Progress(100, 1000, 4.0, 10)),
    )
    html = state_html(now, 0)
    for words in (
        "10%",
        "picture 100 of 1000",
        "10 done before",
        "10.0 a second",
        "2 minutes left",
    ):
        assert words in html
    assert "<progress value='0.1000'>" in html
    endless = job(state=JobState.RUNNING, latest=(9.0, Progress(100, None, 4.0)))
    assert "<progress></progress>" in state_html(endless, 0)


def test_waiting_and_stopping_are_said() -> None:
    assert "waiting for another job" in state_html(job(), 1)
    assert "waiting for 3 other jobs" in state_html(job(), 3)
    assert "start again to go on" in state_html(job(state=JobState.STOPPED), 0)
    assert "Stopping" in state_html(job(state=JobState.STOPPING), 0)


def test_durations_are_rounded_for_people() -> None:
    assert [duration(s) for s in (0.2, 59.4, 59.6, 3599, 7260)] == [
        "less than a second", "59 seconds", "1 minute", "1 hour", "2 hours 1 minute",
    ]  # fmt: skip


def test_people_are_shown_with_what_tells_them_apart() -> None:
    people = FoundPeople({"7.jpg": Path("7.jpg")}, captions={7: f"7: {NASTY}", 8: "8: from 0:05"})
    html = people_html(job(state=JobState.DONE, outcome=people), people)
    assert "src='/results/key/7.jpg'" in html
    assert html.count("<figure>") == 1  # nobody has taken a picture of 8
    assert 'onerror="' not in html
    assert "No faces" in people_html(job(), FoundPeople())
