"""Every film of the catalogue goes through the whole job, and is the same film when it comes out.

The networks are replaced: a face is found in the middle of every picture, and "restored" by
inverting it, so that painting is seen, and what lies outside must be as it was. Films are judged
with PyAV alone. The last tests use the real networks and a real face.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import facts
from tests.support import odd_builders as make
from tests.support.fakes import landmarks_at, observation
from tests.support.job_runner import fake_networks
from tests.support.odd_films import ANY, CATALOGUE, FACES, NOT_FILMS, OddFilm
from tests.support.synthetic import drawn_number
from vidrestore import EncodeSettings, RestoreSettings, VideoCodec
from vidrestore.cli.app import main
from vidrestore.jobs.restore import run_job
from vidrestore.report import RestoreReport
from vidrestore.settings import Deinterlace, ReadSettings, TrackChoice

MILLISECOND = Fraction(1, 1000)
FINE_TICK = Fraction(1, 90_000)
_QUICK = EncodeSettings(preset="ultrafast", crf=12)
_LOSSLESS = EncodeSettings(codec=VideoCodec.FFV1)
_AS_USUAL = ReadSettings()


@dataclass(frozen=True)
class Target:
    """One way to write a film."""

    suffix: str
    encode: EncodeSettings
    read: ReadSettings = _AS_USUAL
    is_lossless: bool = False
    per_picture: int = 1

    @property
    def tolerance(self) -> Fraction:
        """Matroska rounds times to milliseconds."""
        return MILLISECOND if self.suffix == ".mkv" else Fraction(0)


TARGETS = {
    "mp4": Target(".mp4", _QUICK),
    "mov": Target(".mov", _QUICK),
    "mkv": Target(".mkv", _QUICK),
    "h265": Target(".mp4", dataclasses.replace(_QUICK, codec=VideoCodec.H265)),
    "ffv1": Target(".mkv", _LOSSLESS, is_lossless=True),
    "off": Target(".mkv", _LOSSLESS, ReadSettings(deinterlace=Deinterlace.OFF), is_lossless=True),
    "fields": Target(".mp4", _QUICK, ReadSettings(fields=True), per_picture=2),
}


@dataclass(frozen=True)
class Run:
    """A film that has come through."""

    film: OddFilm
    target: Target
    target_name: str
    source: Path
    output: Path
    report: RestoreReport
    source_digests: tuple[str, str]
    left_beside: tuple[set[str], set[str]]

    @property
    def deinterlaces(self) -> bool:
        return bool(self.film.fields) and self.target.read.deinterlace is not Deinterlace.OFF

    @property
    def encodes_sound(self) -> bool:
        return self.target_name in self.film.encoded


def _find_face(image: Any) -> tuple[Any, ...]:
    height, width = image.shape[:2]
    return (observation(landmarks_at(width / 2, height / 2, min(height, width) / 8)),)


@pytest.fixture(scope="session")
def come_through(tmp_path_factory: pytest.TempPathFactory) -> Callable[[OddFilm, str], Run]:
    """``come_through(film, target)``: run the job, once for each pair."""

    @cache
    def source_of(film: OddFilm) -> Path:
        path = tmp_path_factory.mktemp("source") / film.name
        film.build(path)
        return path

    @cache
    def run(film: OddFilm, name: str) -> Run:
        source, target = source_of(film), TARGETS[name]
        output = tmp_path_factory.mktemp("output") / f"out{target.suffix}"
        before = facts.file_digest(source)
        settings = RestoreSettings(read=target.read, encode=target.encode, record_landmarks=True)
        with fake_networks(_find_face):
            report = run_job(source, output, settings, None).report
        return Run(
            film, target, name, source, output, report,
            (before, facts.file_digest(source)),
            tuple({p.name for p in path.parent.iterdir()} for path in (source, output)),
        )  # fmt: skip

    return run


WITHOUT_BEEP = ("single-picture.mp4", "two-pictures.mp4", "font.mkv", "cover.mp4", "cover.mkv",
                "hevc10.mp4", "professional.mov", "tags-and-chapters.mp4")  # fmt: skip
"""So short that there is no second beep."""

description, sound_tracks = cache(facts.description), cache(facts.sound_tracks)

FILMS = {film.name: film for film in CATALOGUE}
PAIRS = [(film.name, target) for film in CATALOGUE for target in film.targets]


@pytest.fixture
def run(request: pytest.FixtureRequest, come_through: Any) -> Run:
    name, target = request.param
    return come_through(FILMS[name], target)


def each(condition: Callable[[OddFilm, str], bool] = lambda film, target: True) -> Any:
    """Parametrise over the films and targets that fulfil a condition."""
    chosen = [(n, t) for n, t in PAIRS if condition(FILMS[n], t)]
    return pytest.mark.parametrize(
        "run", chosen, indirect=True, ids=[f"{n}-to-{t}" for n, t in chosen]
    )


def test_the_catalogue_is_as_long_as_it_should_be():
    assert len(CATALOGUE) >= 45
    assert len(FILMS) == len(CATALOGUE)


# ------------------------------------------------------------------------------ pictures


@cache
def expected_times(film: OddFilm, source: Path) -> tuple[Fraction, ...]:
    if film.rate is not None:
        first = next(facts.pictures(source))
        assert first.seconds is not None
        count = sum(1 for _ in facts.pictures(source))
        return tuple(first.seconds - facts.origin(source) + n / film.rate for n in range(count))
    return tuple(film.times if film.times is not None else facts.times(source))


@cache
def shown(path: Path) -> list[tuple[Fraction, int]]:
    """Time and drawn number of each picture of an output; every time must be given."""
    found = [(p.seconds, drawn_number(p.planes[0])) for p in facts.pictures(path)]
    times = [t for t, _ in found]
    assert None not in times
    assert all(a < b for a, b in pairwise(times))
    return found


@each(lambda film, target: film.keeps_count and not film.name.startswith("joined"))
def test_every_picture_comes_once_and_at_its_time(run):
    film = run.film
    times = expected_times(film, run.source)
    numbers = list(film.numbers if film.numbers is not None else range(len(times)))
    assert len(numbers) == len(times)  # the source is what the catalogue says
    found = shown(run.output)
    if run.target.per_picture == 2:
        assert [n for _, n in found[::2]] == numbers
        assert len(found) == 2 * len(numbers)
        found = found[::2]
    read = [n if n not in film.lost else None for n in numbers]
    assert [
        number if wanted is not None else None
        for (_, number), wanted in zip(found, read, strict=True)
    ] == read
    late = found[0][0] - times[0]
    assert -run.target.tolerance <= late <= film.start_slack + run.target.tolerance
    late = late if film.start_slack else 0
    # a source on a grid that the output's clock does not hold: half a tick of 90 kHz
    allowed = max(run.target.tolerance, Fraction(0) if film.times else FINE_TICK / 2)
    worst = max(abs(t - late - wanted) for (t, _), wanted in zip(found, times, strict=True))
    assert worst <= allowed, f"{float(worst * 1000):.3f} ms"
    assert run.report.frames["written"] == len(found) * run.target.per_picture


@each(lambda film, target: target == "fields")
def test_each_field_is_shown_half_a_picture_after_the_one_before(run):
    times = [t for t, _ in shown(run.output)]
    half = 1 / (2 * Fraction(25))
    assert [b - a for a, b in pairwise(times)] == [half] * (len(times) - 1)


@each(lambda film, target: not film.keeps_count)
def test_what_is_left_of_a_film_keeps_its_time(run):
    """Bytes are lost: how many pictures are left is the decoder's affair, when they come is not."""
    source = [(p.seconds, drawn_number(p.planes[0])) for p in facts.pictures(run.source)]
    zero = facts.origin(run.source)
    true = {n: t - zero for t, n in source if t is not None and n not in run.film.lost}
    if run.film.name.startswith("cut"):
        true.pop(max(true))  # the last one is half a picture
    found = {n: t for t, n in shown(run.output)}
    assert len(true) > 20
    assert set(true) <= set(found)
    allowed = run.target.tolerance + FINE_TICK
    wrong = {n: (found[n], true[n]) for n in true if abs(found[n] - true[n]) > allowed}
    assert not wrong


@each(lambda film, target: film.name.startswith("joined"))
def test_recordings_joined_end_to_end_follow_each_other_in_sync(run):
    found = shown(run.output)
    numbers = list(run.film.numbers)
    assert [n for _, n in found] == numbers
    half = len(numbers) // 2
    first, second = ([t for t, _ in part] for part in (found[:half], found[half:]))
    length = first[-1] - first[0] + Fraction(1, 25)
    assert [t - second[0] for t in second] == pytest.approx(
        [t - first[0] for t in first], abs=float(run.target.tolerance + FINE_TICK)
    )
    # the joint lasts no longer than what the sound is longer than the pictures
    assert length <= second[0] - first[0] + MILLISECOND
    assert second[0] - first[0] <= length + Fraction(1, 10)
    heard = facts.beeps(run.output)
    assert len(heard) == 4
    zero = next(p.seconds for p in facts.pictures(run.source))
    expected = [b - float(zero) for b in facts.beeps(run.source)[:2]]
    assert [b - float(first[0]) for b in heard[:2]] == pytest.approx(expected, abs=0.005)
    assert heard[3] - float(second[0]) == pytest.approx(expected[1], abs=0.005)


# ------------------------------------------------------------------------------ samples


@each(lambda film, target: TARGETS[target].is_lossless and not film.is_damaged)
def test_samples_outside_the_painted_regions_are_untouched(run):
    boxes = painted_boxes(run.report)
    num_changed = num_compared = 0
    source, output = facts.pictures(run.source), facts.pictures(run.output)
    for number, (before, after) in enumerate(zip(source, output, strict=True)):
        if run.film.num_alike is not None and number >= run.film.num_alike:
            break
        num_compared += 1
        mine = boxes.get(number, [])
        num_changed += assert_same_outside(before, after, mine)
    assert num_compared == (run.film.num_alike or run.report.frames["written"]) or (
        run.film.num_alike == 0
    )
    if run.film.num_alike != 0:
        assert num_changed > 100 * num_compared, "no face was painted: nothing was tested"


def painted_boxes(report: RestoreReport) -> dict[int, list[list[int]]]:
    """The painted regions of each picture, by its number in the output."""
    times = sorted({row["time"] for track in report.tracks for row in track.frames})
    assert len(times) == report.frames["with_faces"] == report.frames["written"]
    boxes: dict[int, list[list[int]]] = {}
    for track in report.tracks:
        for row in track.frames:
            if row["painted"] is not None:
                boxes.setdefault(times.index(row["time"]), []).append(row["painted"])
    return boxes


def assert_same_outside(before: facts.Picture, after: facts.Picture, boxes: list[list[int]]) -> int:
    """Compare two pictures outside some regions; return how many samples differ inside."""
    num_changed = 0
    wide, tall = before.size
    for a, b in zip(before.planes, after.planes, strict=False):  # grey: luma only
        if a.shape != b.shape:
            assert before.pixel_format != after.pixel_format  # converted chroma
            continue
        step_x, step_y = round(wide / a.shape[1]), round(tall / a.shape[0])
        changed = a != b
        num_changed += int(changed.sum())
        for left, top, right, bottom in boxes:
            rows = slice(top // step_y, -(-bottom // step_y))
            changed[rows, left // step_x : -(-right // step_x)] = False
        assert not changed.any(), f"{int(changed.sum())} samples of a plane of {a.shape} changed"
    return num_changed


def combing(path: Path) -> float:
    """How much each row differs from the mean of its neighbours, of picture 10."""
    luma = next(islice(facts.pictures(path), 10, None)).planes[0].astype(float)
    luma = luma[luma.shape[0] // 4 + 2 :]
    # columns at the border, which no face reaches
    luma = luma[:, : luma.shape[1] // 4]
    return float(np.abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2).mean())


@each(lambda film, target: bool(film.fields))
def test_interlaced_film_is_made_whole_and_said(run):
    said = " ".join([*run.report.choices, *run.report.warnings]).lower()
    if run.deinterlaces:
        if run.film.fields == "telecin":
            assert "telecin" in said or "pulldown" in said
            return
        assert "interlac" in said
        assert combing(run.output) < combing(run.source) / 2
    else:
        assert combing(run.output) > combing(run.source) * 0.99


@each(lambda film, target: not film.fields)
def test_progressive_film_is_not_deinterlaced(run):
    assert not [c for c in run.report.choices if "deinterlac" in c and " not " not in c]


# ------------------------------------------------------------------------------ sound


@each(lambda film, target: not film.name.startswith(("hurt.", "cut.", "joined")))
def test_packets_of_sound_are_copied_bit_for_bit_where_the_container_holds_them(run):
    before, after = sound_tracks(run.source), sound_tracks(run.output)
    assert len(before) == len(after)
    tracks = [t for t in run.report.output["streams"] if t["kind"] == "audio"]
    actions = {track["action"] for track in tracks}
    assert actions == ({"encoded to AAC"} if run.encodes_sound else {"copied"} if tracks else set())
    if run.encodes_sound:
        return
    codecs = [track["codec"] for track in description(run.source)["sound"]]
    for codec, a, b in zip(codecs, before, after, strict=True):
        assert a.has_same_bytes_as(b) if codec.startswith("pcm") else a.is_same_as(b)


@each(lambda film, target: film.name.startswith(("hurt.", "cut.", "joined")))
def test_sound_of_damaged_films_is_copied_but_for_what_is_damaged(run):
    before, after = sound_tracks(run.source), sound_tracks(run.output)
    assert len(before) == len(after)
    for a, b in zip(before, after, strict=True):
        missing = set(a.heard) - set(b.every)
        assert len(missing) <= (0 if run.film.name.startswith("joined") else len(a.heard) / 5)
        assert len(b.heard) > 10
        assert set(b.every) <= set(a.every)


def apart(path: Path, track: int, first: Fraction | None) -> list[float]:
    """Seconds from the first picture to each beep; the first beep begins with the sound."""
    assert first is not None
    return [beep - float(first) for beep in facts.beeps(path, track)[1:]]


@each(lambda film, target: not film.is_damaged and not film.name.startswith("joined"))
def test_flash_and_beep_stay_together(run):
    num_tracks = len(description(run.source)["sound"])
    if not num_tracks:
        return
    allowed = 0.005 if run.encodes_sound else 0.0015
    first = facts.origin(run.source) + expected_times(run.film, run.source)[0]
    if next(facts.pictures(run.source)).seconds is None:
        allowed += float(run.film.start_slack)
    for track in range(num_tracks):
        before = apart(run.source, track, first)
        assert len(before) > 0 or run.film.name in WITHOUT_BEEP
        after = apart(run.output, track, shown(run.output)[0][0])
        assert after == pytest.approx(before, abs=allowed)


# ------------------------------------------------------------------------------ what it says


@each()
def test_what_the_film_says_of_itself_is_kept(run):
    before, after = description(run.source), description(run.output)
    changed = dict(run.film.changed.get(run.target_name, {}))
    if run.encodes_sound:
        changed["sound"] = [{**track, "codec": "aac"} for track in before["sound"]]
    wrong = {}
    for name, value in before.items():
        expected = changed.get(name, value)
        if name == "tags":
            is_kept = all(after["tags"].get(k) == v for k, v in value.items())
        elif name in ("subtitles", "sound", "extra films") and expected is not ANY:
            is_kept = alike(expected, after[name])
        else:
            is_kept = expected is ANY or after[name] == expected
        if not is_kept:
            wrong[name] = (expected, after[name])
    assert not wrong


def alike(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> bool:
    """Compare tracks; where none is marked as the default one, MP4 and MOV mark the first."""
    if len(expected) != len(found):
        return False
    if not any(track["disposition"] & facts.DEFAULT for track in expected):
        found = [t | {"disposition": t["disposition"] & ~facts.DEFAULT} for t in found]
    return expected == found


@each(lambda film, target: "titles" in film.name)
def test_titles_show_the_same_words_at_the_same_times(run):
    before, after = facts.titles(run.source), facts.titles(run.output)
    assert len(before) >= 1
    assert all(len(track) == 2 for track in before)
    for a, b in zip(before, after, strict=True):
        assert [t.text for t in b] == [t.text for t in a]
        for one, other in zip(a, b, strict=True):
            assert (other.begin, other.end) == pytest.approx((one.begin, one.end), abs=0.002)


@each(lambda film, target: film.name.startswith("two-films"))
def test_a_second_film_is_copied(run):
    before = facts.extra_film_payloads(run.source)
    assert [len(track) for track in before] == [40]
    assert facts.extra_film_payloads(run.output) == before


@each()
def test_what_could_not_be_kept_is_said_and_nothing_else(run):
    must = [*run.film.says.get("*", ()), *run.film.says.get(run.target_name, ())]
    for pattern in must:
        assert any(re.search(pattern, w) for w in run.report.warnings), (
            pattern, run.report.warnings,
        )  # fmt: skip
    may = [*must, *run.film.may_say]
    if run.film.fields:
        may.append("interlac")
    if run.target.is_lossless:
        may.append("FFV1 cannot store where the colour samples lie")
    known = [w for w in run.report.warnings if any(re.search(p, w) for p in may)]
    assert run.report.warnings == known


@each()
def test_the_source_is_only_read_and_nothing_is_left_beside_the_output(run):
    before, after = run.source_digests
    assert before == after
    assert run.left_beside == ({run.source.name}, {run.output.name})


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("name", NOT_FILMS)
def test_what_is_no_film_is_refused_in_one_line(capsys, tmp_path, name):
    path = tmp_path / name
    NOT_FILMS[name](path)
    before = {p.name for p in tmp_path.iterdir()}
    assert main([str(path), str(tmp_path / "out.mp4")]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("vidrestore: ")
    assert name in line
    assert {p.name for p in tmp_path.iterdir()} == before


def test_a_photograph_does_not_become_a_film(capsys, tmp_path):
    path = tmp_path / "photograph.jpg"
    path.write_bytes(make.jpeg(64, 48))
    assert main([str(path), str(tmp_path / "out.mp4")]) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert "name it .jpg" in line
    assert list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------------------------ what was asked for


def of_catalogue(name: str, path: Path) -> Path:
    FILMS[name].build(path)
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [("pcm.mov", "audio"), ("titles.mkv", "subtitles"), ("font.mkv", "attachments")],
)
def test_who_insists_on_copies_is_refused_before_the_work(capsys, tmp_path, name, kind):
    source = of_catalogue(name, tmp_path / name)
    assert main([str(source), str(tmp_path / "out.mp4"), f"--{kind}", "copy"]) in (2, 6)
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if line.startswith("vidrestore: ")]
    assert ".mp4" in line
    assert ".mkv" in line
    assert {p.name for p in tmp_path.iterdir()} == {name}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("pcm.mov", "audio"), ("titles.mkv", "subtitles"), ("font.mkv", "attachments")],
)
def test_what_is_not_wanted_is_left_out(tmp_path, name, kind):
    source = of_catalogue(name, tmp_path / name)
    encode = dataclasses.replace(_QUICK, **{kind: TrackChoice.NONE})
    output = tmp_path / "out.mkv"
    with fake_networks(_find_face):
        run_job(source, output, RestoreSettings(encode=encode), None)
    key = {"audio": "sound"}.get(kind, kind)
    before, after = facts.description(source), facts.description(output)
    assert before[key]
    assert after[key] == []
    for other in {"sound", "subtitles", "attachments"} - {key}:
        assert len(after[other]) == len(before[other])


# ------------------------------------------------------------------------------ real faces


@pytest.mark.parametrize("name", FACES)
def test_real_faces_are_painted_and_nothing_around_them(tmp_path, name):
    source, output = tmp_path / name, tmp_path / "out.mkv"
    FACES[name](source)
    read = ReadSettings(deinterlace=Deinterlace.OFF if name == "tape.mpg" else Deinterlace.AUTO)
    settings = RestoreSettings(read=read, encode=_LOSSLESS, record_landmarks=True)
    report = run_job(source, output, settings, None).report
    assert report.frames["written"] == 10
    assert report.frames["painted"] >= 9
    boxes = painted_boxes(report)
    assert all(len(found) == 1 for found in boxes.values())
    pairs = zip(facts.pictures(source), facts.pictures(output), strict=True)
    for number, (before, after) in enumerate(pairs):
        num_changed = assert_same_outside(before, after, boxes.get(number, []))
        assert num_changed > 500 or number not in boxes
