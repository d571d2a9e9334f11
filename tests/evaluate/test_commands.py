"""The commands as a user calls them."""

import json

import cv2
import numpy as np
import pytest

from tests.evaluate.faces import portrait
from tests.evaluate.films import landmarks, pictures, write
from vidrestore.cli.app import main
from vidrestore.cli.evaluation import model_table
from vidrestore.evaluate import judging, video
from vidrestore.evaluate.judging import Measures, Row

OUR_MODEL = "vidrestore-lite-256"


@pytest.fixture(autouse=True)
def _without_slow_measures(monkeypatch):
    nothing = classmethod(lambda cls, *_: None)
    monkeypatch.setattr(judging.ShiftTolerantLpips, "installed", nothing)
    monkeypatch.setattr(judging.DlibIdentity, "installed", nothing)
    monkeypatch.setattr(video.DlibIdentity, "installed", nothing)


@pytest.fixture
def faces(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for k in range(3):
        picture = portrait(128)[:, :: (-1) ** k, ::-1].copy()
        cv2.imwrite(str(folder / f"{k}.png"), picture)
    return folder


def test_models_are_measured_and_the_same_seed_gives_the_same_numbers(faces, tmp_path, capsys):
    words = ["evaluate", OUR_MODEL, "--data", str(faces), "--degrade", "blind", "--count", "2"]
    for name in ("a", "b"):
        assert main([*words, "--clean", "--json", str(tmp_path / f"{name}.json")]) == 0
    shown, said = capsys.readouterr()
    assert OUR_MODEL in shown
    assert "left out: ST-LPIPS" in said
    assert "ST-LPIPS" not in shown
    first, second = ((tmp_path / f"{n}.json").read_text() for n in ("a", "b"))
    assert first == second
    found = json.loads(first)
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["input", "bicubic", "non-local means", OUR_MODEL]
    assert found["num_pictures"] == len(rows[OUR_MODEL]["pictures"]) == 2
    assert rows[OUR_MODEL]["mean"]["clean_psnr_db"] > 28
    assert rows["input"]["mean"]["clean_psnr_db"] is None
    assert 15 < rows["input"]["mean"]["psnr_db"] < 40


def test_the_sheet_is_written(faces, tmp_path):
    sheet = tmp_path / "sheet.png"
    words = ["evaluate", OUR_MODEL, "--data", str(faces), "--degrade", "tape", "--count", "1"]
    assert main([*words, "--sheet", str(sheet)]) == 0
    assert cv2.imread(str(sheet)).shape[1] >= 5 * 192


def test_wrong_words_end_with_one_line(faces, tmp_path, capsys):
    words = ["evaluate", "--data", str(faces), "--degrade"]
    assert main([*words, "rain"]) == 2
    assert main([*words, "blind", "--count", "0"]) == 2
    assert main(["evaluate", "--data", str(tmp_path / "no"), "--degrade", "blind"]) == 2
    assert main(["evaluate", "no-such-model", "--data", str(faces), "--degrade", "blind"]) == 2
    assert main(["evaluate", "gone.pth", "--data", str(faces), "--degrade", "blind"]) == 4
    said = capsys.readouterr().err
    assert all(line.startswith("vidrestore: ") for line in said.splitlines())
    assert "does not exist" in said


def test_a_film_is_measured_against_its_truth(tmp_path, capsys):
    grown = [cv2.resize(x, (512, 384), interpolation=cv2.INTER_CUBIC) for x in pictures()]
    noise = np.random.default_rng(0)
    clean = write(tmp_path / "clean.mkv", grown)
    worn = write(tmp_path / "worn.mkv", [x + 6 * noise.standard_normal(x.shape) for x in grown])
    done, report, truth = (tmp_path / name for name in ("done.mkv", "done.json", "truth.json"))
    truth.write_text(
        json.dumps({"landmarks": [(2 * landmarks(k) + 0.5).tolist() for k in range(8)]})
    )
    words = [str(worn), str(done), "--codec", "ffv1", "--model", OUR_MODEL, "--quiet"]
    assert main([*words, "--report", str(report), "--report-landmarks"]) == 0
    words = ["evaluate", "video", str(worn), str(done), "--truth", str(clean)]
    words += ["--report", str(report), "--landmarks", str(truth)]
    assert main([*words, "--json", str(tmp_path / "found.json")]) == 0
    assert "lasting detail, restored over original" in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["num_frames"], found["num_pairs"]) == (8, 7)
    assert found["warping_ratio"] < 0.7
    assert all(25 < found[side]["psnr_db"] < 45 for side in ("original", "restored"))
    assert found["landmarks"]["error_smoothed_px"] < 20


def test_columns_nobody_measured_are_left_out_of_the_table():
    plain = Measures(30.0, 0.8, 0.5, 4.0, 0.0)
    row = Row("input", plain, None, None, None, None, (plain,))
    head, line = model_table([row])
    assert head.split() == ["PSNR", "dB", "SSIM", "sharpness", "gradient", "colour"]
    assert line.split()[1:] == ["30.000", "0.800", "0.500", "4.000", "0.000"]
