"""What goes wrong costs one clear line and an exit code, never data."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import REPOSITORY
from tests.support.synthetic import Clip, Sound, make_clip, truncate
from tests.support.witness import planes_of
from vidrestore.cli.app import main

SAMPLE = REPOSITORY / "samples" / "home-video.mp4"


@pytest.fixture
def clip(tmp_path):
    """A second of moving gradient with sound and no face."""
    return make_clip(tmp_path / "in.mp4", Clip(sounds=(Sound(),)))


def run(capsys, *words):
    code = main([str(w) for w in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def assert_refused(capsys, tmp_path, code, pattern, *words):
    """One line on standard error, the code of its branch, and nothing written."""
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    got, out, err = run(capsys, *words)
    assert got == code, err
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("vidrestore: ")]
    assert pattern in line
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_missing_film(capsys, tmp_path):
    missing = tmp_path / "no.mp4"
    assert_refused(capsys, tmp_path, 3, "no.mp4", missing, tmp_path / "out.mp4")


def test_what_is_not_a_video(capsys, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("this is not a film")
    assert_refused(capsys, tmp_path, 3, "text.mp4", text, tmp_path / "out.mp4")


def test_an_empty_file(capsys, tmp_path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert_refused(capsys, tmp_path, 3, "empty.mp4", empty, tmp_path / "out.mp4")


def test_a_folder(capsys, tmp_path):
    assert_refused(capsys, tmp_path, 3, tmp_path.name, tmp_path, tmp_path / "out.mp4")


def test_sound_alone(capsys, tmp_path):
    import av
    import numpy as np

    song = tmp_path / "song.m4a"
    with av.open(str(song), "w") as out:
        stream = out.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert_refused(capsys, tmp_path, 3, "song.m4a", song, tmp_path / "out.mp4")


def test_an_unknown_model_is_named_with_those_that_exist(capsys, clip, tmp_path):
    words = (clip, tmp_path / "out.mp4", "--model", "gpen-9000")
    assert_refused(capsys, tmp_path, 2, "vidrestore-lite-256", *words)


def test_missing_weights_say_how_to_get_them(capsys, clip, tmp_path):
    words = (clip, tmp_path / "out.mp4", "--model", "gpen-bfr-512")
    assert_refused(capsys, tmp_path, 4, "weights fetch gpen-bfr-512", *words)


def test_weights_with_a_wrong_hash_are_never_opened(capsys, clip, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    import pickle

    (folder / "GPEN-BFR-256.pth").write_bytes(pickle.dumps(Evil()))
    words = (clip, tmp_path / "out.mp4", "--model", "gpen-bfr-256", "--weights-dir", folder)
    assert_refused(capsys, tmp_path, 4, "SHA-256", *words)
    assert not marker.exists()


def test_a_missing_output_folder(capsys, clip, tmp_path):
    assert_refused(capsys, tmp_path, 6, "does not exist", clip, tmp_path / "no" / "out.mp4")


def test_an_output_that_exists_is_kept_without_overwrite(capsys, clip, tmp_path):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"precious")
    assert_refused(capsys, tmp_path, 6, "--overwrite", clip, out)


def test_the_source_itself_is_never_the_output(capsys, clip, tmp_path):
    assert_refused(capsys, tmp_path, 6, "in.mp4", clip, clip, "--overwrite")
    link = tmp_path / "link.mp4"
    link.symlink_to(clip)
    assert_refused(capsys, tmp_path, 6, "link.mp4", clip, link, "--overwrite")


def test_an_extension_that_cannot_be_written(capsys, clip, tmp_path):
    assert_refused(capsys, tmp_path, 6, ".mkv", clip, tmp_path / "out.avi")


def test_a_range_outside_the_film(capsys, clip, tmp_path):
    out = tmp_path / "out.mp4"
    assert_refused(capsys, tmp_path, 3, "1.0", clip, out, "--start", "100")
    assert_refused(capsys, tmp_path, 3, "100", clip, out, "--start", "@100")
    assert_refused(capsys, tmp_path, 2, "starts at", clip, out, "--start", "0.8", "--end", "0.2")


def test_a_typing_error_is_explained(capsys, clip, tmp_path):
    out = tmp_path / "out.mp4"
    assert_refused(capsys, tmp_path, 2, "--strength", clip, out, "--strenght", "1")
    assert_refused(capsys, tmp_path, 2, "preview", "previw", clip)
    assert_refused(capsys, tmp_path, 2, "strength is 7", clip, out, "--strength", "7")


def test_a_report_never_replaces_a_film(capsys, clip, tmp_path):
    out = tmp_path / "out.mp4"
    assert_refused(capsys, tmp_path, 2, "in.mp4", clip, out, "--report", clip)
    assert_refused(capsys, tmp_path, 2, "out.mp4", clip, out, "--report", out)


def test_a_report_that_cannot_be_written_is_refused_before_the_work(capsys, clip, tmp_path):
    out = tmp_path / "out.mp4"
    assert_refused(capsys, tmp_path, 6, "no", clip, out, "--report", tmp_path / "no" / "r.json")
    assert_refused(capsys, tmp_path, 6, "report", clip, out, "--report", tmp_path)
    notes = tmp_path / "notes.txt"
    notes.write_text("precious")
    assert_refused(capsys, tmp_path, 6, "--overwrite", clip, out, "--report", notes)
    assert_refused(capsys, tmp_path, 2, "--report FILE", clip, out, "--report-landmarks")


def test_senseless_coding_options(capsys, clip, tmp_path):
    out = tmp_path / "out.mp4"
    assert_refused(capsys, tmp_path, 2, "crf 60", clip, out, "--crf", "60")
    assert_refused(capsys, tmp_path, 2, "preset 'foo'", clip, out, "--preset", "foo")


def test_cuda_that_is_not_there_is_an_error_and_no_fallback(capsys, clip, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert_refused(capsys, tmp_path, 5, "cuda", clip, tmp_path / "out.mp4", "--device", "cuda")


def test_a_film_without_faces_passes_through(capsys, clip, tmp_path):
    out, report = tmp_path / "out.mkv", tmp_path / "r.json"
    code, said, _ = run(capsys, clip, out, "--codec", "ffv1", "--report", report)
    assert code == 0
    assert "no faces" in said
    found = json.loads(report.read_text("utf-8"))
    assert found["tracks"] == []
    assert found["frames"]["with_faces"] == 0
    for before, after in zip(planes_of(clip), planes_of(out), strict=True):
        for a, b in zip(before, after, strict=True):
            assert (a == b).all()


def test_a_film_that_is_cut_off_is_restored_as_far_as_it_goes(capsys, tmp_path):
    film = make_clip(tmp_path / "in.mkv", Clip(num_frames=100))
    truncate(film, 0.6)
    code, _, err = run(capsys, film, tmp_path / "out.mp4")
    assert code == 0
    assert "cut off" in err
    assert 20 < len(planes_of(tmp_path / "out.mp4")) < 100


def test_an_interruption_leaves_nothing_and_says_130(tmp_path):
    digest = hashlib.sha256(SAMPLE.read_bytes()).hexdigest()
    process = subprocess.Popen(
        [sys.executable, "-m", "vidrestore", str(SAMPLE), str(tmp_path / "out.mp4"),
         "--preset", "veryslow"],
        stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*.unfinished/*.part")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    assert hashlib.sha256(SAMPLE.read_bytes()).hexdigest() == digest
