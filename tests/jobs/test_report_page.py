"""One page for a report: complete on its own, whatever the report holds."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from unittest.mock import patch

import numpy as np
import pytest

from tests.support.job_runner import fake_networks, run_faked
from tests.support.synthetic import Clip, make_clip
from vidrestore.cli.app import main
from vidrestore.errors import MediaError
from vidrestore.jobs.report_page import render_page
from vidrestore.jobs.report_plots import Line, plot_course
from vidrestore.jobs.report_reading import Tree, read_report
from vidrestore.jobs.restore import run_job
from vidrestore.settings import EncodeSettings, RestoreSettings

QUICK = RestoreSettings(encode=EncodeSettings(preset="ultrafast"), record_history=True)
FOUR_SECONDS = Clip(
    num_frames=100, options={"preset": "ultrafast", "crf": "10", "g": "20", "bf": "2"}
)
ADDED = ("damage", "history")
ADDED_TO_TRACKS = ("flicker_before", "flicker_after", "moments")
VOID = {"meta", "img", "br"}


class StopError(Exception):
    pass


class Outline(HTMLParser):
    """Checks that tags are balanced, and gathers headings, words, classes and addresses."""

    def __init__(self, page):
        super().__init__()
        self.open, self.headings, self.tags, self.classes = [], [], [], []
        self.addresses, self.titles, self.words = [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.classes += (found.get("class") or "").split()
        self.addresses += [v for k, v in attributes if k in ("src", "href", "xlink:href")]
        self.titles += [found["title"]] if "title" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.words.append(text)
        if self.open and self.open[-1] == "h2":
            self.headings.append(text)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("film") / "in.mp4", FOUR_SECONDS)


@pytest.fixture(scope="module", autouse=True)
def _sampled_often():
    with patch("vidrestore.report.history._RUN_SECONDS", 0.01):
        yield


@pytest.fixture(scope="module")
def whole(film, tmp_path_factory):
    return run_faked(film, tmp_path_factory.mktemp("whole") / "out.mp4", QUICK).report


@pytest.fixture
def report(whole):
    return json.loads(whole.to_json())


@pytest.fixture
def without_plots(report):
    """Plots take long to draw."""
    return {name: value for name, value in report.items() if name not in ("history", "timings")}


def cut_short(film, target, settings, num_frames):
    def stop(progress):
        if progress.num_frames_done == num_frames:
            raise StopError

    with fake_networks(), pytest.raises(StopError):
        run_job(film, target, settings, stop)


def outline(report):
    return Outline(render_page(Tree(report)))


def test_the_page_is_complete_on_its_own(report):
    page = render_page(Tree(report))
    found = Outline(page)
    assert found.headings == [
        "The film",
        "The people",
        "Chosen automatically",
        "Steadiness",
        "The run",
        "Particulars",
    ]
    assert found.tags.count("svg") == 5 - (report["history"]["speed"][0][2] is None)
    assert found.tags.count("img") == 2 * len(report["tracks"][0]["moments"]) == 10
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert all(re.match(r"#|data:image/jpeg;base64,", address) for address in found.addresses)
    assert "://" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!#)", page)
    assert "#01010" not in page  # every stand-in for a colour has been replaced
    assert "var(--before)" in page


def test_plots_have_the_colours_of_the_page_and_words_as_words():
    svg = plot_course([0, 1, 2], [Line("one", "calm", [1, None, 3])], "time & <more>", "px")
    Outline(svg)
    assert "var(--calm)" in svg
    assert "time &amp; &lt;more&gt;" in svg
    assert not re.search(r"<svg[^>]*\s(width|height)=", svg)


def test_faces_bear_their_strength_and_their_story(without_plots):
    report = without_plots
    second = {**report["tracks"][0], "id": 2, "mean_strength": 0.3, "moments": None}
    second |= {"start_seconds": 3.0, "end_seconds": 5.0, "held_back": {"already sharp": 7}}
    report["tracks"].append(second)
    report["cuts"] = [3.0]
    found = outline(report)
    assert {"s4", "s1", "cut"} <= set(found.classes)
    assert found.classes.count("lane") == 2  # the two overlap
    (title,) = [title for title in found.titles if title.startswith("Face 2")]
    assert "0:03 to 0:05" in title
    assert "already sharp in 7 frames" in title
    assert "1 more, seen for less long" in found.words


def test_tracks_of_one_person_stand_together(without_plots):
    report = without_plots
    first = report["tracks"][0]
    report["tracks"] = [
        {**first, "face_id": 4, "end_seconds": 2.0},
        {**first, "id": 2, "face_id": 4, "start_seconds": 3.0},
    ]
    found = outline(report)
    assert found.words.count("Person 4") == 3  # two bars in one lane, one card
    assert found.classes.count("lane") == 1
    assert found.classes.count("card") == 1
    assert found.tags.count("img") == 20


def test_names_that_look_like_html_are_only_names(without_plots):
    report = without_plots
    name = "a<b>&\"c'.mp4"
    report["input"]["path"] = f"films/{name}"
    report["warnings"] = ["<script>alert(1)</script>"]
    report["damage"] = [[1.0, '"><img src=x>']]
    report["tracks"][0]["held_back"] = {'"><b>': 3}
    moment = report["tracks"][0]["moments"][0]
    moment["held_back"], moment["strength"] = '"><i>', 0.5
    report["tracks"][0]["moments"].append({**moment, "before": '"><img src="x'})
    found = outline(report)
    assert name in found.words
    assert "script" not in found.tags
    assert '0:01: "><img src=x>' in found.titles
    assert any('"><b> in 3 frames' in title for title in found.titles)
    assert found.tags.count("img") == 10
    assert all(address.startswith(("#", "data:")) for address in found.addresses)


def test_a_report_of_an_older_version_gives_a_page_without_the_newer_parts(report):
    for name in ADDED:
        del report[name]
    for track in report["tracks"]:
        for name in ADDED_TO_TRACKS:
            del track[name]
    found = outline(report)
    assert found.headings == ["The film", "Chosen automatically", "The run", "Particulars"]
    assert found.tags.count("svg") == 1
    assert "Face 1" in found.words


@pytest.mark.parametrize("odd", [None, 7, "x", [], [None, 3, ["a", {}]], {"a": [1]}, 1e999, True])
def test_a_report_with_odd_values_still_gives_a_page(report, odd):
    def damaged(value, depth):
        if depth == 0:
            yield odd
        elif isinstance(value, dict):
            for key, child in value.items():
                yield from ({**value, key: other} for other in damaged(child, depth - 1))
        elif isinstance(value, list) and value:
            yield from ([other, *value[1:]] for other in damaged(value[0], depth - 1))

    kept = ("frames", "tracks", "cuts", "damage", "output", "warnings")
    slim = {name: report[name] for name in kept}  # plots take long
    slim["damage"] = [[1.0, "pictures lost"]]
    slim["history"], slim["timings"] = {"speed": [[1, 2, 3]], "steadiness": [[1, 2, 3, 4, 5]]}, {}
    num_pages = 0
    for depth in (1, 2, 3, 4, 5):
        for tree in damaged(slim, depth):
            outline(tree)
            num_pages += 1
    assert num_pages > 60


def test_damaged_places_are_in_the_report_and_on_the_page(tmp_path):
    film = make_clip(tmp_path / "in.mkv", FOUR_SECONDS)
    data = bytearray(film.read_bytes())
    for place in np.random.default_rng(3).integers(len(data) // 10, len(data), 12):
        data[place : place + 40] = bytes(40)
    film.write_bytes(data)
    settings = dataclasses.replace(QUICK, record_history=False)
    whole = run_faked(film, tmp_path / "whole.mp4", settings).report
    assert whole.damage
    assert whole.history is None  # nothing that costs time is recorded unasked
    assert {track.moments for track in whole.tracks} == {None}
    seconds = [place for place, _ in whole.damage]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] < seconds[-1] < 4
    assert {what for _, what in whole.damage} <= {
        ", ".join(filter(None, (a, b, c)))
        for a in ("", "damaged packet left out")
        for b in ("", "pictures lost")
        for c in ("", "damaged picture")
    }
    assert outline(json.loads(whole.to_json())).classes.count("hurt") == len(whole.damage)
    cut_short(film, tmp_path / "out.mp4", settings, 70)
    again = run_faked(film, tmp_path / "out.mp4", settings).report
    assert again.frames["kept"] > 0
    assert again.damage == whole.damage


def test_a_run_that_goes_on_has_the_pictures_of_both_attempts(film, whole, tmp_path):
    cut_short(film, tmp_path / "out.mp4", QUICK, 60)
    again = run_faked(film, tmp_path / "out.mp4", QUICK).report
    assert again.frames["kept"] > 0
    assert [t.moments for t in again.tracks] == [t.moments for t in whole.tracks]
    rows, whole_rows = again.history["steadiness"], whole.history["steadiness"]
    assert [row[:3] for row in rows] == [row[:3] for row in whole_rows]
    assert again.history["speed"][-1][1] > 60


def test_the_command_line_asks_for_it_with_the_report(film, tmp_path, capsys):
    path = tmp_path / "r.json"
    words = [film, tmp_path / "out.mp4", "--preset", "ultrafast", "--report", path, "--quiet"]
    with fake_networks():
        assert main([*map(str, words)]) == 0
    assert json.loads(path.read_text())["tracks"][0]["moments"]
    assert path.stat().st_size < 200_000
    assert main(["report", str(path)]) == 0
    page = tmp_path / "r.html"
    assert capsys.readouterr().out == f"{page}: open it in a browser\n"
    assert Outline(page.read_text(encoding="utf-8")).tags.count("img") == 10


def refused(capsys, code, pattern, *words):
    assert main(["report", *map(str, words)]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert re.search(pattern, said.err), said.err


def test_what_cannot_be_read_is_said_in_one_line(capsys, tmp_path):
    path = tmp_path / "r.json"
    refused(capsys, 3, "cannot read the report .*r.json: No such file", path)
    refused(capsys, 3, "cannot read the report .*: Is a directory", tmp_path, tmp_path / "a.html")
    for content, pattern in (
        (b'{"schema_version": 1, "frames"', "r.json is damaged, or no report .*line 1"),
        (b"\xff\xfe\x00\x01", "r.json is no report but some other file"),
        (b"[" * 100_000, "r.json is damaged, or no report"),
        (b"[1, 2]", "r.json is JSON, but no report of vidrestore"),
        (b'{"schema_version": 1}', "r.json is JSON, but no report of vidrestore"),
        (
            b'{"schema_version": 2, "frames": {"written": 1}}',
            r"r.json was written by a newer vidrestore \(schema 2, this one reads 1\): update",
        ),
    ):
        path.write_bytes(content)
        refused(capsys, 3, pattern, path)
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_a_page_replaces_nothing_unasked(capsys, report, tmp_path):
    path, page = tmp_path / "r.json", tmp_path / "r.html"
    path.write_text(json.dumps({"schema_version": 1, "frames": report["frames"]}))
    refused(capsys, 2, "the page is HTML: call it r.html", path, path)
    page.write_text("mine")
    refused(capsys, 6, "r.html exists: use --overwrite", path)
    assert page.read_text() == "mine"
    assert main(["report", str(path), "--overwrite", "--quiet"]) == 0
    assert "<h2>" in page.read_text(encoding="utf-8")
    refused(capsys, 6, "cannot write .*a.html: No such file", path, tmp_path / "no" / "a.html")


def test_reading_gives_the_report_back(report, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(report))
    assert read_report(path).value == report
    with pytest.raises(MediaError):
        read_report(tmp_path / "other.json")
