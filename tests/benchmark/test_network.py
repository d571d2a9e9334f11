"""The command that times a network, on one so small that only the bookkeeping takes time."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

from tests.evaluate.faces import portrait
from vidrestore.benchmark import network, ways
from vidrestore.benchmark.network import bench_network
from vidrestore.benchmark.official_form import OfficialForm
from vidrestore.benchmark.ways import WaysToCompute, random_network
from vidrestore.cli.app import main
from vidrestore.errors import DeviceError, SettingsError
from vidrestore.models.registry import RESTORERS, restorer_spec
from vidrestore.settings import ModelSettings, Precision, Runtime

TINY = dataclasses.replace(
    RESTORERS["gpen-bfr-256"], name="tiny", size=32, narrow=0.04, style_dim=24, n_mlp=2
)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    def find(name):
        return TINY if name == TINY.name else restorer_spec(name)

    monkeypatch.setattr(ways, "restorer_spec", find)


@pytest.mark.parametrize("count", [1, 3])
def test_the_official_form_gives_the_numbers_of_the_network(count):
    made = random_network(TINY)
    image = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = made(image), OfficialForm(made)(image)
    assert expected.std() > 0.05
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


def test_the_command_writes_the_keys_and_every_way(tmp_path, capsys):
    path = tmp_path / "n.json"
    words = ["bench", "network", "--model", "tiny", "--random-weights", "--rounds", "2"]
    assert main([*words, "--json", str(path)]) == 0
    shown, said = capsys.readouterr()
    found = json.loads(path.read_text())
    assert list(found)[:5] == ["model", "reference_ms", "best_ms", "best_runtime", "rows"]
    assert found["model"] == "tiny"
    ways_found = {(r["runtime"], r["precision"], r["batch"]) for r in found["rows"]}
    assert {("torch", "fp32", 1), ("openvino", "fp32", 1), ("openvino", "fp32", 4)} <= ways_found
    best = min(found["rows"], key=lambda row: row["ms_per_face"])
    assert found["best_ms"] == best["ms_per_face"] > 0
    assert found["best_runtime"] == best["runtime"]
    assert found["reference_ms"] > 0
    for row in found["rows"]:
        assert row["ms_per_face_p25"] <= row["ms_per_face"] <= row["ms_per_face_p75"]
        assert row["times_reference"] > 0
        assert row["psnr_to_fp32_db"] is None  # nothing to compare was given
    assert found["machine"]["processor"]
    assert found["versions"]["openvino"]
    assert set(found["startup_seconds"]["openvino fp32"]) == {"cold", "warm"}
    if not torch.cuda.device_count():
        assert any(text.startswith("torch fp16: ") for text in found["left_out"])
        assert "left out: torch fp16" in said
    assert any(text.startswith("torch-compile: compiles for") for text in found["left_out"])
    assert not any(way.startswith("torch-compile") for way in found["startup_seconds"])
    assert "official formulation, torch fp32" in shown
    assert "round 2 of 2" in said


def test_pictures_of_faces_are_compared(tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    cv2.imwrite(str(faces / "a.png"), portrait(128)[..., ::-1])
    path = tmp_path / "n.json"
    words = ["bench", "network", "--model", "tiny", "--random-weights", "--rounds", "1", "--quiet"]
    words += ["--precision", "fp32", "--faces", str(faces), "--json", str(path)]
    assert main(words) == 0
    found = json.loads(path.read_text())
    assert found["faces_compared"] == 1
    assert {row["precision"] for row in found["rows"]} == {"fp32"}
    assert all(row["psnr_to_fp32_db"] > 50 for row in found["rows"])


def test_the_psnr_is_that_of_the_difference_and_equal_pictures_have_a_number():
    class Other:
        batch_size = 2

        def __init__(self, add, crops=()):
            self._add, self._crops = add, crops

        def submit(self, crops):
            return Other(self._add, crops)

        def result(self):
            return [np.asarray(crop + self._add, np.uint8) for crop in self._crops]

    faces = [np.full((8, 8, 3), level, np.uint8) for level in (10, 90, 200)]
    found = network._compare(list, {"one": Other(1), "ten": Other(10), "same": Other(0)}, faces)
    assert found == {"one": 48.13, "ten": 28.13, "same": 99.0}


def test_crops_of_a_batch_are_handed_over_before_the_first_is_waited_for():
    events = []

    class Slow:
        batch_size = 2

        def submit(self, crops):
            events.append(f"submit {len(crops)}")
            return self

        def result(self):
            events.append("result")
            return [None]

    network._restoring(Slow(), [None] * 4)()
    assert events == ["submit 2", "submit 2", "result", "result"]


def test_what_is_asked_for_and_cannot_be_had_is_an_error(tmp_path):
    settings = ModelSettings(
        name="tiny", device="cpu", runtime=Runtime.TORCH, precision=Precision.FP16
    )
    with pytest.raises(DeviceError, match="torch fp16: fp16 needs a GPU"):
        bench_network(settings, random_weights=True, num_rounds=1)


def test_the_second_start_finds_what_the_first_converted(tmp_path):
    made = random_network(TINY)
    settings = ModelSettings(name="tiny", device="cpu", runtime=Runtime.OPENVINO)
    build = WaysToCompute(TINY, made.state_dict(), settings, tmp_path)
    for restorer in build.restorers().values():
        restorer.close()
    assert "openvino fp32" in build.startup_seconds
    assert any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("asked", "with_compilers", "taken"),
    [
        (Runtime.AUTO, False, {Runtime.TORCH, Runtime.OPENVINO}),
        (Runtime.AUTO, True, set(Runtime) - {Runtime.AUTO}),
        (Runtime.TORCH_COMPILE, False, {Runtime.TORCH_COMPILE}),
        (Runtime.OPENVINO, True, {Runtime.OPENVINO}),
    ],
)
def test_compilers_are_taken_when_asked_for(monkeypatch, tmp_path, asked, with_compilers, taken):
    tried = set()

    def build(self, runtime, precision):
        tried.add(runtime)
        raise DeviceError("not now")

    monkeypatch.setattr(WaysToCompute, "_build", build)
    settings = ModelSettings(name="tiny", runtime=asked)
    build = WaysToCompute(TINY, {}, settings, tmp_path, with_compilers=with_compilers)
    with pytest.raises(DeviceError, match="not now"):
        build.restorers()
    assert tried == taken


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--model", "nobody"), 2, "unknown model 'nobody'"),
        (("--model", "nobody", "--random-weights"), 2, "unknown model 'nobody'"),
        (("--model", "gone.pth"), 4, "does not exist"),
        (("--model", "tiny", "--random-weights", "--rounds", "0"), 2, "rounds is 0"),
        (("--model", "tiny", "--random-weights", "--faces", "no/folder"), 2, "does not exist"),
        (("--model", "tiny", "--random-weights", "--json", "no/n.json"), 6, "its folder does not"),
    ],
)
def test_bad_words_end_with_one_line(capsys, words, code, text):
    assert main(["bench", "network", *words]) == code
    said = capsys.readouterr().err
    assert text in said
    assert len(said.splitlines()) == 1


def test_no_round_is_refused():
    with pytest.raises(SettingsError):
        bench_network(ModelSettings(name="tiny"), random_weights=True, num_rounds=0)


@pytest.mark.skipif(torch.cuda.device_count() > 0, reason="there is a card")
def test_a_card_that_is_not_there_is_one_clear_line():
    settings = ModelSettings(name="tiny", device="cuda")
    with pytest.raises(DeviceError, match="no CUDA device found"):
        bench_network(settings, random_weights=True, num_rounds=1)
