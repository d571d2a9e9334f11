import re
from pathlib import Path

import cv2
import pytest

from tests.jobs.test_preview_frame import faked
from tests.support.job_runner import fake_networks
from tests.support.synthetic import Clip, Sound, make_clip
from vidrestore.cli.app import main


def out_of(capsys, *words):
    code = main([str(w) for w in words])
    return code, capsys.readouterr()


@pytest.fixture
def film(tmp_path) -> Path:
    return make_clip(tmp_path / "in.mp4", Clip(sounds=(Sound(),)))


def test_a_preview_tells_its_files_and_what_the_film_would_take(capsys, film):
    words = ("--start", "0.2", "--end", "0.6", "--compare", "wipe")
    with fake_networks(lambda image: ()):
        code, said = out_of(capsys, "preview", film, *words)
    assert code == 0
    clip = film.with_name("in-preview-0.2s.mp4")
    assert said.out.splitlines()[0].startswith(f"{clip}: no faces found; 10 frames passed")
    assert f"its pictures: {clip.with_suffix('.png')}" in said.out
    assert "the whole film would take about" in said.out
    assert "kB (if all of it is like this part)" in said.out
    assert clip.exists()
    assert cv2.imread(str(clip.with_suffix(".png"))) is not None


def test_one_frame_and_its_face_are_told(capsys, film):
    with faked():
        code, said = out_of(capsys, "preview", film, "--at", "0.4")
    path = film.with_name("in-frame-0.4s.png")
    assert code == 0
    first, second = said.out.splitlines()
    assert first == f"{path}: the frame at 0.40 s, before and after"
    assert re.fullmatch(r"face of \d+ px: shown at 100%", second)
    assert cv2.imread(str(path)).shape == (96, 320, 3)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--start", "1"), "--start or --end"),
        (("--end", "1"), "--start or --end"),
        (("--compare", "flip"), "--compare"),
        (("--report", "r.json"), "--report"),
    ],
)
def test_what_cannot_go_with_a_single_frame_is_one_line(capsys, film, words, name):
    code, said = out_of(capsys, "preview", film, "--at", "0.4", *words)
    assert code == 2
    assert said.err == f"vidrestore: --at shows a single frame: it cannot go with {name}\n"
    assert [path.name for path in film.parent.iterdir()] == ["in.mp4"]


def test_a_report_is_of_one_clip(capsys, film):
    code, said = out_of(capsys, "preview", film, "--report", film.with_name("r.json"))
    assert code == 2
    assert "--start and --end" in said.err
    assert [path.name for path in film.parent.iterdir()] == ["in.mp4"]


def test_a_frame_that_is_not_there_is_one_line(capsys, film):
    code, said = out_of(capsys, "preview", film, "--at", "@99")
    assert code == 3
    assert "there is no frame @99" in said.err
    assert len(said.err.splitlines()) == 1


def test_an_unknown_way_to_compare_names_the_known_ones(capsys, film):
    code, said = out_of(capsys, "preview", film, "--compare", "beside")
    assert code == 2
    assert all(word in said.err for word in ("side", "split", "wipe", "flip"))
