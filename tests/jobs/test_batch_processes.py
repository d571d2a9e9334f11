"""Batches as programs: killed, interrupted, with workers that die; then run again."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.support.job_runner import EIGHT_SECONDS, run_faked
from tests.support.synthetic import make_clip
from tests.support.witness import assert_same_film
from vidrestore.media.work_folder import work_path
from vidrestore.settings import EncodeSettings, RestoreSettings

REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = RestoreSettings(encode=EncodeSettings(preset="ultrafast"))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    clip = dataclasses.replace(EIGHT_SECONDS, num_frames=100)
    return make_clip(tmp_path_factory.mktemp("film") / "in.mp4", clip)


@pytest.fixture(scope="module")
def restored(film, tmp_path_factory):
    path = tmp_path_factory.mktemp("restored") / "out.mp4"
    run_faked(film, path, QUICK)
    return path


def folder_of(tmp_path, film, *names):
    (tmp_path / "in").mkdir()
    for name in names:
        if name.endswith(".png"):
            Image.new("RGB", (160, 120), (120, 90, 60)).save(tmp_path / "in" / name)
        else:
            shutil.copy(film, tmp_path / "in" / name)
    return tmp_path / "out"


def start(out, *words):
    command = [sys.executable, "-m", "tests.support.batch_runner", "batch"]
    return subprocess.Popen(
        [*command, str(out.parent / "in"), str(out), "--preset", "ultrafast", *words],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        start_new_session=True,
    )


def finish(process):
    said, errors = process.communicate(timeout=60)
    return process.returncode, said, errors


def wait_for_segment(out, name, process):
    deadline = time.monotonic() + 60
    while not (work_path(out / name) / "00000.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def states(out):
    items = json.loads((out / "batch.json").read_text())["items"]
    return {name: entry["state"] for name, entry in items.items()}


def left_in(out):
    return sorted(path.name for path in out.iterdir())


def test_after_sigkill_the_same_command_goes_on(tmp_path, film, restored):
    out = folder_of(tmp_path, film, "p.png", "slow.mp4")
    process = start(out)
    wait_for_segment(out, "slow.mp4", process)
    process.kill()
    process.communicate(timeout=60)  # and so the worker is gone too
    assert states(out) == {"p.png": "done", "slow.mp4": "started"}
    assert not (out / "slow.mp4").exists()
    code, said, errors = finish(start(out))
    assert code == 0, errors
    assert "1 of 2: p.png: complete already" in errors
    assert "from an earlier run)" in said
    assert "1 done, 1 skipped of 2" in said
    assert left_in(out) == ["batch.json", "p.png", "slow.mp4"]
    assert_same_film(restored, out / "slow.mp4")


@pytest.mark.slow
@pytest.mark.parametrize("is_for_all", [False, True], ids=["SIGTERM", "Ctrl-C"])
def test_a_request_to_end_says_what_is_left(tmp_path, film, is_for_all):
    out = folder_of(tmp_path, film, "a.mp4", "slow.mp4", "z.mp4")
    process = start(out)
    wait_for_segment(out, "slow.mp4", process)
    since = time.monotonic()
    if is_for_all:  # a terminal sends it to every process of the group
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    code, said, errors = finish(process)
    assert time.monotonic() - since < 10
    assert (code, said) == (130, "")
    assert errors.splitlines()[-3] == "vidrestore: interrupted"
    assert f"kept in {work_path(out / 'slow.mp4')}: the same command" in errors.splitlines()[-2]
    assert errors.splitlines()[-1].endswith(
        "1 done, 2 left of 3: the same command goes on from there"
    )
    assert "Traceback" not in errors
    assert states(out) == {"a.mp4": "done", "slow.mp4": "interrupted"}
    assert left_in(out) == ["a.mp4", "batch.json", "slow.mp4.unfinished"]


@pytest.mark.slow
def test_a_worker_that_dies_and_one_with_a_bug_fail_their_items_only(tmp_path, film):
    out = folder_of(tmp_path, film, "bug.mp4", "die.mp4", "p.png", "z.mp4")
    code, said, errors = finish(start(out, "--jobs", "2"))
    assert code == 1
    lines = {line.split()[1]: line for line in said.splitlines()[:-1]}
    assert lines["bug.mp4"].startswith("failed")
    assert "RuntimeError: the network broke (exit code 70)" in lines["bug.mp4"]
    assert "its process was killed (SIGKILL)" in lines["die.mp4"]
    assert lines["z.mp4"].startswith("done")
    assert lines["p.png"].startswith("done")
    assert "kept in" in errors
    assert states(out) == {
        "bug.mp4": "failed", "die.mp4": "failed", "p.png": "done", "z.mp4": "done",
    }  # fmt: skip
    with Image.open(out / "p.png") as picture:
        assert picture.size == (160, 120)
