"""The command that times a run, with stand-ins for the networks."""

import json
import statistics
import tempfile
from contextlib import contextmanager

import pytest
import torch

from tests.conftest import REPOSITORY
from tests.support.job_runner import CHOSEN, fake_networks, trembling_face
from tests.support.synthetic import Clip, Sound, make_clip
from vidrestore.benchmark import film as benchmark_film
from vidrestore.benchmark.film import bench_film
from vidrestore.cli.app import main
from vidrestore.errors import SettingsError
from vidrestore.settings import RestoreSettings

KEYS = {
    "schema_version", "date", "machine", "versions", "clip", "frames", "wall_seconds",
    "all_wall_seconds", "frames_per_second", "real_time_factor", "ms_per_frame", "ms_per_face",
    "network_ms_per_face", "slowest_stage", "wall_over_slowest_stage", "cores_busy_share", "stages",
    "peak_memory_bytes", "peak_device_bytes", "cold_start_seconds", "warm_start_seconds", "models",
    "settings", "choices", "warnings",
}  # fmt: skip
STAGES = ["decode", "detect", "track", "align", "restore", "steady", "blend", "encode"]


@pytest.fixture
def film(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    return make_clip(folder / "in.avi", Clip(codec="mpeg4", options={}))


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A temporary folder of the test's own, to see what is left in it."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@contextmanager
def faked(monkeypatch, find=trembling_face):
    """Stand-ins for the networks; yields the folders of the starts that were timed."""
    folders = []

    @contextmanager
    def loaded(chosen, settings, cache):
        folders.append((cache, cache.is_dir()))
        yield None

    monkeypatch.setattr(benchmark_film, "choose_models", lambda _: CHOSEN)
    monkeypatch.setattr(benchmark_film, "loaded_networks", loaded)
    with fake_networks(find):
        yield folders


def test_the_command_writes_the_keys_and_leaves_nothing_behind(
    monkeypatch, film, scratch, tmp_path, capsys
):
    path = tmp_path / "b.json"
    with faked(monkeypatch) as folders:
        assert main(["bench", str(film), "--runs", "2", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert set(found) == KEYS
    assert [stage["name"] for stage in found["stages"]] == STAGES
    assert all(stage["busy_ms"] >= 0 and stage["num_items"] == 25 for stage in found["stages"])
    assert found["frames"]["written"] == found["frames"]["faces"] == 25
    assert found["clip"]["name"] == "in.avi"
    assert found["real_time_factor"] == pytest.approx(1 / found["wall_seconds"], rel=0.01)
    assert found["ms_per_frame"] == pytest.approx(1000 * found["wall_seconds"] / 25, rel=0.01)
    assert found["ms_per_face"] > found["network_ms_per_face"] >= 0
    assert found["wall_seconds"] == min(found["all_wall_seconds"])  # the lower of two is the median
    assert 0 < found["cores_busy_share"] < 1.5
    assert found["wall_over_slowest_stage"] > 0.9
    assert found["peak_memory_bytes"] > 10e6
    assert found["choices"]
    assert [path.name for path in film.parent.iterdir()] == ["in.avi"]
    assert not list(scratch.iterdir())
    assert len({folder for folder, _ in folders}) == 1  # the second start finds the first's files
    assert all(is_there for _, is_there in folders)
    assert not folders[0][0].exists()
    shown = capsys.readouterr().out
    assert "stage" in shown
    assert "wall over slowest stage" in shown
    assert "ms a face" in shown


def test_the_run_of_median_wall_time_counts(monkeypatch, film, scratch):
    with faked(monkeypatch):
        found = bench_film(film, RestoreSettings(), num_runs=3)
    assert len(found.all_wall_seconds) == 3
    assert found.wall_seconds == statistics.median(found.all_wall_seconds)


def test_a_part_of_a_film_without_faces(monkeypatch, film, scratch, tmp_path, capsys):
    path = tmp_path / "b.json"
    words = ["--start", "0.2", "--end", "0.6", "--runs", "1", "--quiet", "--json", str(path)]
    with faked(monkeypatch, lambda image: ()):
        assert main(["bench", str(film), *words]) == 0
    found = json.loads(path.read_text())
    assert found["frames"]["written"] == 10
    assert found["ms_per_face"] is found["network_ms_per_face"] is None
    assert (found["clip"]["start_seconds"], found["clip"]["stop_seconds"]) == (0.2, 0.6)
    shown, said = capsys.readouterr()
    assert "no faces" in shown
    assert said == ""


def test_memory_of_cards_is_added_up(monkeypatch):
    assert benchmark_film._peak_device_bytes() is None or torch.cuda.is_initialized()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda k: 10 * k + 1)
    assert benchmark_film._peak_device_bytes() == 12


def test_the_output_takes_a_suffix_that_can_be_written(monkeypatch, tmp_path, scratch):
    film = make_clip(tmp_path / "in.mp4", Clip(num_frames=6, sounds=(Sound(),)))
    with faked(monkeypatch):
        assert main(["bench", str(film), "--runs", "1", "--codec", "ffv1", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("gone.mp4",), 3, "gone.mp4"),
        (("{film}", "--runs", "0"), 2, "runs is 0"),
        (("{film}", "--report", "r.json"), 2, "use --json"),
        (("{film}", "--json", "{film}"), 2, "would replace the film"),
        (("{film}", "--json", "no/b.json"), 6, "its folder does not exist"),
        (("{film}", "--model", "nobody"), 2, "unknown model 'nobody'"),
    ],
)
def test_bad_words_end_with_one_line(film, capsys, words, code, text):
    assert main(["bench", *(word.format(film=film) for word in words)]) == code
    said = capsys.readouterr().err
    assert text in said
    assert len(said.splitlines()) == 1
    assert film.stat().st_size > 1000


def test_no_run_is_refused(film):
    with pytest.raises(SettingsError):
        bench_film(film, RestoreSettings(), num_runs=0)


@pytest.mark.slow
def test_the_sample_with_the_networks_of_the_program(tmp_path):
    path = tmp_path / "b.json"
    sample = REPOSITORY / "samples" / "home-video.mp4"
    assert main(["bench", str(sample), "--end", "0.6", "--runs", "1", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["cold_start_seconds"] > found["warm_start_seconds"] > 0
    assert found["frames"]["faces"] > 0
    assert found["models"]["restorer"]["runs_as"]
