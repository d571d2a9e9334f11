"""Faces are numbered once, and a number means the same face in every run."""

from __future__ import annotations

import dataclasses
import tomllib
from contextlib import contextmanager
from unittest.mock import patch

import cv2
import numpy as np
import pytest

from tests.support.fakes import FakeDetector, landmarks_at, observation
from tests.support.job_runner import CHOSEN, EIGHT_SECONDS, FACTS, fake_networks
from tests.support.synthetic import Clip, drawn_number, make_clip
from tests.support.witness import assert_same_film, planes_of, video_times
from vidrestore.core.face_index import KnownFace
from vidrestore.errors import MediaError, OutputError, SettingsError
from vidrestore.jobs.faces import number_faces
from vidrestore.jobs.faces_file import FacesFile, read_faces_file
from vidrestore.jobs.restore import run_job
from vidrestore.settings import (
    BlendSettings,
    DetectSettings,
    EncodeSettings,
    FaceChoice,
    Moment,
    RestoreSettings,
    TimeSpan,
    VideoCodec,
)

LOSSLESS = RestoreSettings(encode=EncodeSettings(codec=VideoCodec.FFV1))


class StopError(Exception):
    pass


def two_people(image):
    """One to the left until frame 90, one to the right from frame 40 on; both tremble."""
    number, (height, width) = drawn_number(image), image.shape[:2]
    noise = np.random.default_rng(int(image.sum())).normal(0, 1, (2, 2))
    places = [(0.28, number < 90), (0.72, number >= 40)]
    return tuple(
        observation(landmarks_at(width * x + dx, height * 0.62 + dy, height / 9))
        for (x, is_there), (dx, dy) in zip(places, noise, strict=True)
        if is_there
    )


@contextmanager
def faked(find=two_people):
    @contextmanager
    def loaded(chosen, model, detect):
        yield FakeDetector(find), FACTS["detector"], []

    with (
        fake_networks(find),
        patch("vidrestore.jobs.faces.choose_models", lambda _: CHOSEN),
        patch("vidrestore.jobs.faces.loaded_detector", loaded),
        patch("vidrestore.jobs.faces.load_embedder", lambda: (None, "identity by geometry")),
    ):
        yield


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("film") / "in.mp4", EIGHT_SECONDS)


@pytest.fixture(scope="module")
def numbered(film, tmp_path_factory):
    with faked():
        return number_faces(film, tmp_path_factory.mktemp("faces") / "in.faces.toml")


@pytest.fixture(scope="module")
def right(numbered):
    """Numbers of the face to the right: one for each shot."""
    return tuple(f.known.face_id for f in numbered.found.faces if f.known.seen[0, 1] > 80)


def choosing(path, faces, **changes):
    # the stand-in for the network changes faces beyond recognition
    blend = BlendSettings(faces=faces, faces_file=path, gates=False)
    return dataclasses.replace(LOSSLESS, blend=blend, **changes)


@pytest.fixture(scope="module")
def whole(film, numbered, right, tmp_path_factory):
    """The film with only the face to the right restored."""
    target = tmp_path_factory.mktemp("whole") / "out.mkv"
    with faked():
        result = run_job(film, target, choosing(numbered.path, right), None)
    return target, result.report


def by_time(path):
    return dict(zip([round(t * 1000) for t in video_times(path)], planes_of(path), strict=True))


def test_every_face_is_numbered_in_order_of_appearance(numbered):
    faces = read_faces_file(numbered.path).faces
    assert [face.face_id for face in faces] == list(range(1, len(faces) + 1))
    begins = [tuple(face.seen[0, :2]) for face in faces]
    assert begins == sorted(begins)
    for x, first, last in ((0.28, 0, 90), (0.72, 40, 199)):
        mine = [face for face in faces if abs(face.seen[0, 1] - x * 160) < 12]
        assert mine[0].seen[0, 0] == pytest.approx(first / 25, abs=0.25)
        assert mine[-1].seen[-1, 0] == pytest.approx(last / 25, abs=0.25)
    assert len(numbered.found.faces) == len(faces)
    assert all(1 <= len(face.portraits) <= 3 for face in numbered.found.faces)
    assert len(numbered.found.faces[0].portraits) == 3


def test_the_file_explains_itself_and_the_sheet_lies_beside_it(numbered):
    text = numbered.path.read_text()
    assert text.splitlines()[1].startswith("#   vidrestore FILM OUT --faces-file")
    data = tomllib.loads(text)
    assert data["film"] == "in.mp4"
    assert data["found_with"]["detect-every"] == 3
    first = data["face"][0]
    assert (first["id"], first["restore"], first["strength"]) == (1, True, 1.0)
    assert [first["from"], first["to"]] == [first["seen"][0][0], first["seen"][-1][0]]
    assert numbered.sheets == (numbered.path.with_name("in.faces.png"),)
    sheet = cv2.imread(str(numbered.sheets[0]))
    assert sheet.shape[0] > 200
    assert sheet.shape[1] > 2 * 3 * 128
    names = sorted(p.name for p in numbered.path.parent.iterdir())
    assert names == ["in.faces.png", "in.faces.toml"]


def test_only_the_face_that_was_asked_for_is_painted(film, right, whole):
    target, report = whole
    before, after = by_time(film), by_time(target)
    changed = [np.abs(after[t][0].astype(int) - before[t][0]).max(axis=0) for t in sorted(before)]
    assert max(column[:80].max() for column in changed) == 0
    assert all(column[80:].max() > 25 for column in changed[60:])
    assert max(column.max() for column in changed[:35]) == 0
    assert tuple(track.face_id for track in report.tracks) == right
    assert not [w for w in report.warnings if "faces" in w]


@pytest.mark.parametrize(("start", "end"), [("2.4", "3.2"), ("5", "6")])
def test_a_range_paints_the_same_frames(film, numbered, right, whole, tmp_path, start, end):
    """At 5 s the face to the right is the first that the tracker meets, and yet not number 1."""
    span = TimeSpan(Moment.parse(start), Moment.parse(end))
    target = tmp_path / "part.mkv"
    with faked():
        result = run_job(
            film, target, choosing(numbered.path, right, span=span), None, is_kept=False
        )
    assert {track.face_id for track in result.report.tracks} <= set(right)
    frames, full = by_time(target), by_time(whole[0])
    assert len(frames) >= 20
    for time, planes in frames.items():
        for plane, expected in zip(planes, full[time + round(float(start) * 1000)], strict=True):
            np.testing.assert_array_equal(plane, expected)


def cut_short(film, target, settings, num_frames):
    def stop(progress):
        if progress.num_frames_done == num_frames:
            raise StopError

    with faked(), pytest.raises(StopError):
        run_job(film, target, settings, stop)


def test_a_resumed_run_paints_the_same_film(film, numbered, right, whole, tmp_path):
    target = tmp_path / "out.mkv"
    cut_short(film, target, choosing(numbered.path, right), 130)
    with faked():
        result = run_job(film, target, choosing(numbered.path, right), None)
    assert result.report.frames["kept"] > 50
    assert {track.face_id for track in result.report.tracks} == set(right)
    assert_same_film(whole[0], target)


def test_what_the_file_says_belongs_to_the_job_but_not_its_comments(
    film, numbered, right, tmp_path
):
    target, path = tmp_path / "out.mkv", tmp_path / "mine.toml"
    text = numbered.path.read_text()
    path.write_text(text)
    cut_short(film, target, choosing(path, right), 130)
    path.write_text(text.replace("strength = 1.0", "strength = 0.5"))
    with faked(), pytest.raises(SettingsError, match=r"began otherwise \(--faces-file was"):
        run_job(film, target, choosing(path, right), None)
    path.write_text("# the woman is 2\n" + text)
    with faked():
        assert run_job(film, target, choosing(path, right), None).report.frames["kept"] > 50


def test_strength_and_restore_of_the_file_are_heeded(film, numbered, right, tmp_path):
    head, *faces = numbered.path.read_text().split("[[face]]")
    for number, face in enumerate(faces, 1):
        if number in right:
            faces[number - 1] = face.replace("strength = 1.0", "strength = 0.25")
        else:
            faces[number - 1] = face.replace("restore = true", "restore = false")
    path = tmp_path / "mine.toml"
    path.write_text("[[face]]".join([head, *faces]))
    with faked():
        report = run_job(film, tmp_path / "out.mkv", choosing(path, FaceChoice.ALL), None).report
    assert tuple(track.face_id for track in report.tracks) == right
    assert all(0.2 < track.mean_strength <= 0.25 for track in report.tracks)


def test_other_settings_are_warned_of_and_strangers_counted(film, numbered, right, tmp_path):
    def three(image):
        height, width = image.shape[:2]
        middle = observation(landmarks_at(width / 2, height * 0.62, height / 9))
        return (*two_people(image), *([middle] if drawn_number(image) >= 100 else []))

    span = TimeSpan(Moment.parse("4"), Moment.parse("5"))
    changes = {"span": span, "detect": DetectSettings(every=2)}
    with faked(three):
        report = run_job(
            film, tmp_path / "out.mkv", choosing(numbered.path, right, **changes), None
        ).report
    (made_with, strangers) = [w for w in report.warnings if "in.faces.toml" in w]
    assert "detect-every was 3, is 2" in made_with
    assert "were found in 25 frames and left alone" in strangers


def test_another_films_file_is_an_error(numbered, right, tmp_path):
    other = make_clip(tmp_path / "other.mp4", Clip())
    with faked(), pytest.raises(SettingsError, match=r"of another film \('in.mp4'\)"):
        run_job(other, tmp_path / "out.mkv", choosing(numbered.path, right), None)


def test_a_renamed_film_is_the_same_film(film, numbered, right, tmp_path):
    renamed = tmp_path / "tape.mp4"
    renamed.write_bytes(film.read_bytes())
    span = TimeSpan(Moment.parse("5"), Moment.parse("5.2"))
    with faked():
        run_job(renamed, tmp_path / "out.mkv", choosing(numbered.path, right, span=span), None)


def test_an_unknown_number_tells_the_known_ones(film, numbered, tmp_path):
    with faked(), pytest.raises(SettingsError, match=r"no face 77 in .*: it has 1 to \d+$"):
        run_job(film, tmp_path / "out.mkv", choosing(numbered.path, (2, 77)), None)


def test_numbers_need_a_file():
    with pytest.raises(SettingsError, match="vidrestore inspect FILM --faces-file"):
        BlendSettings(faces=(2, 5))


def test_what_is_there_is_replaced_only_when_asked_to(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip())
    path = tmp_path / "f.toml"
    for name in ("f.toml", "f.png", "f-2.png"):
        (tmp_path / name).write_text("mine")
        with faked(), pytest.raises(OutputError, match=f"{name} exists: use --overwrite"):
            number_faces(film, path)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    for name in ("f.toml", "f.png", "f-2.png", "f-4.png"):
        (tmp_path / name).write_text("mine")
    settings = RestoreSettings(encode=EncodeSettings(overwrite=True))
    with faked():
        number_faces(film, path, settings)  # the pictures beside what was no faces file stay
        assert (tmp_path / "f-2.png").read_text() == "mine"
        number_faces(film, path, settings)  # now it is one, and has a single page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f-4.png", "f.png", "f.toml", "in.mp4"]
    assert len(read_faces_file(path).faces) == 1


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip())

    def stop(progress):
        raise StopError

    with faked(), pytest.raises(StopError):
        number_faces(film, tmp_path / "f.toml", on_progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    film = make_clip(tmp_path / "in.mp4", Clip())

    def refuse(self, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("vidrestore.jobs.faces.Path.replace", refuse)
    with faked(), pytest.raises(OutputError, match=r"cannot write .*f.png: No space left"):
        number_faces(film, tmp_path / "f.toml")
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize(
    ("name", "error"), [("f.png", "call it f.toml"), ("no/f.toml", "does not exist")]
)
def test_a_place_that_will_not_do_is_said_before_the_work(tmp_path, name, error):
    film = make_clip(tmp_path / "in.mp4", Clip())
    with faked(), pytest.raises((SettingsError, OutputError), match=error):
        number_faces(film, tmp_path / name)


def test_a_missing_film_is_a_media_error(tmp_path):
    with faked(), pytest.raises(MediaError):
        number_faces(tmp_path / "no.mp4", tmp_path / "f.toml")


def test_a_film_without_faces_has_an_empty_file(tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip())
    path = tmp_path / "f.toml"
    with faked(lambda image: ()):
        made = number_faces(film, path)
        assert read_faces_file(path).faces == ()
        assert cv2.imread(str(made.sheets[0])) is not None
        with pytest.raises(SettingsError, match=r"no face 1 in .*: it has none"):
            run_job(film, tmp_path / "out.mkv", choosing(path, (1,)), None)


def test_many_faces_take_several_pages(tmp_path):
    def crowd(image):
        height, width = image.shape[:2]
        return tuple(
            observation(landmarks_at((k % 6 + 0.5) * width / 6, y, 10))
            for k in range(24)
            for y in [(k // 6 + 0.5) * height / 4]
        )

    film = make_clip(tmp_path / "in.mp4", Clip(width=360, height=240, num_frames=8))
    with faked(crowd):
        made = number_faces(film, tmp_path / "f.toml")
    assert [path.name for path in made.sheets] == ["f.png", "f-2.png"]
    assert len(made.found.faces) == 24


def test_what_is_written_is_read_back_whatever_the_film_is_called(tmp_path):
    name = 'a "b" \\ \n\x7f\x01 é 🎞 \udcff.mp4'
    seen = np.array([[0, 1.5, -2.5, 30], [0.04, 3, 4, 31], [1e4, 1, 2, 3]])
    faces = (KnownFace(2, seen, False, 0.125), KnownFace(9, seen[:1]))
    file = FacesFile(name, {"num_bytes": 7, "samples_sha256": "ab"}, {"fields": True}, faces)
    path = tmp_path / "f.toml"
    path.write_text(file.to_toml(), encoding="utf-8")
    back = read_faces_file(path)
    assert back.film == name.replace("\udcff", "?")
    assert back.digest() == file.digest()
    assert back.fingerprint == file.fingerprint
    assert back.found_with == {"fields": True}


HEAD = 'film = "f"\nnum_bytes = 1\nsamples_sha256 = "a"\n'
GOOD = "[[face]]\nid = 1\nseen = [[0, 1, 2, 3]]\n"


def test_a_short_file_will_do(tmp_path):
    path = tmp_path / "f.toml"
    path.write_text(HEAD + GOOD)
    (face,) = read_faces_file(path).faces
    assert (face.face_id, face.restore, face.strength) == (1, True, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("film = f", r"f.toml is not a TOML file: .*line 1"),
        ("a = " + "[" * 5000, r"f.toml is not a TOML file"),
        (GOOD, r"f.toml: 'num_bytes' is missing"),
        (HEAD.replace("1", "'1'") + GOOD, r"f.toml: num_bytes is '1': use a whole number"),
        ("faces = 1\n" + HEAD, r"f.toml: unknown key 'faces': use film, "),
        (HEAD + "face = 3", r"f.toml: face is 3: use a list"),
        (HEAD + "face = [3]", r"face number 1 of 1: write each face as a table under \[\[face\]\]"),
        (HEAD + "[[face]]\nseen = []", r"the face at line 4: 'id' is missing"),
        (HEAD + GOOD.replace("1", "0", 1), r"line 4: id is 0: use 1 or more"),
        (HEAD + GOOD.replace("id = 1", "id = true"), r"line 4: id is True: use a whole number"),
        (HEAD + GOOD + GOOD, r"line 7: there is a face 1 already"),
        (HEAD + GOOD + "strength = 1.5", r"line 4: strength is 1.5: use 0 to 1"),
        (HEAD + GOOD + "strength = nan", r"strength is nan: use 0 to 1"),
        (HEAD + GOOD + "strength = 'x'", r"strength is 'x': use a number"),
        (HEAD + GOOD + "strenght = 1", r"unknown key 'strenght': use id, restore, strength"),
        (HEAD + GOOD + "restore = 1", r"restore is 1: use true or false"),
        (HEAD + GOOD + "to = 3.0", r"'to' is only for reading, and by 'seen' it is 0.000"),
        (HEAD + GOOD.replace("[[0, 1, 2, 3]]", "[]"), r"seen is not a list of \[seconds, x"),
        (HEAD + GOOD.replace("[0,", "[inf,"), r"seen is not"),
        (HEAD + GOOD.replace(" 3]", " 0]"), r"seen is not"),
        (HEAD + GOOD.replace("[0,", "['0',"), r"seen is not"),
        (HEAD + GOOD.replace("[[0", "[[0, 1, 2, 3], [0"), r"seen is not"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "f.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        read_faces_file(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(SettingsError, match=r"there is no faces file .* makes it"):
        read_faces_file(tmp_path / "f.toml")
    with pytest.raises(SettingsError, match="cannot read the faces file"):
        read_faces_file(tmp_path)
    (tmp_path / "f.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not a TOML file"):
        read_faces_file(tmp_path / "f.toml")
