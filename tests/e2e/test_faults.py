"""Whatever breaks: the run ends soon, with the right code, and nothing is lost or left behind."""

from __future__ import annotations

import errno
import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import av
import pytest

from tests.support.disks import mounted_disk
from tests.support.job_runner import (
    EIGHT_SECONDS,
    fake_networks,
    negative,
    run_faked,
    trembling_face,
)
from tests.support.synthetic import make_clip
from tests.support.witness import assert_same_film
from vidrestore.cli.app import main
from vidrestore.media.work_folder import work_path
from vidrestore.settings import EncodeSettings, RestoreSettings, VideoCodec

REPOSITORY = Path(__file__).resolve().parents[2]
LOSSLESS = RestoreSettings(encode=EncodeSettings(codec=VideoCodec.FFV1))
PATIENCE_SECONDS = 10
"""A run must end so soon after the fault."""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Eight seconds, four or five segments."""
    return make_clip(tmp_path_factory.mktemp("film") / "in.mp4", EIGHT_SECONDS)


@pytest.fixture(scope="module")
def reference(film, tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "out.mkv"
    run_faked(film, path, LOSSLESS)
    return path


def open_files():
    gc.collect()
    handles = Path("/proc/self/fd")  # Linux only
    return len(list(handles.iterdir())) if handles.exists() else 0


@contextmanager
def breaking(target, error, at):
    """Let the n-th call of a function raise, and note the time."""
    owner, _, name = target.rpartition(".")
    found = __import__(owner.split(".")[0])
    for part in owner.split(".")[1:]:
        found = getattr(found, part)
    real, calls, when = getattr(found, name), 0, []

    def broken(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == at:
            when.append(time.monotonic())
            raise error
        return real(*args, **kwargs)

    with patch(target, broken):
        yield when


READ_ERROR = av.error.OSError(errno.EIO, "Input/output error", "in.mp4")
CODEC_ERROR = av.error.ExternalError(542398533, "Generic error in an external library")
DISK_FULL = OSError(errno.ENOSPC, "No space left on device")
DISK_BROKEN = OSError(errno.EIO, "Input/output error")
BUG = RuntimeError("something broke")

FAULTS = {
    "reading the film": ("vidrestore.media.clock.PictureClock.time_of", READ_ERROR, 120, 3),
    "decoding": ("vidrestore.media.read.VideoReader._frame", BUG, 120, 70),
    "finding cuts": ("vidrestore.stages.detect.luma_thumbnail", BUG, 120, 70),
    "tracking": ("vidrestore.core.tracking.FaceTracker.describe", BUG, 12, 70),
    "aligning": ("vidrestore.stages.align.crop_from_planes", BUG, 120, 70),
    "blending": ("vidrestore.stages.blend.blend_faces_into", BUG, 120, 70),
    "the encoder": ("vidrestore.media.segments.SegmentEncoder.encode", CODEC_ERROR, 120, 6),
    "the encoder's end": ("vidrestore.media.segments.SegmentEncoder.finish", CODEC_ERROR, 3, 6),
    "a full disk": ("vidrestore.media.segments.SegmentEncoder.encode", DISK_FULL, 120, 6),
    "a full disk at the manifest": (
        "vidrestore.media.work_folder.WorkFolder.publish", DISK_FULL, 3, 6,
    ),
    "a broken disk": ("vidrestore.media.write.digest_and_sync", DISK_BROKEN, 3, 6),
    "joining": ("vidrestore.media.passthrough.Passthrough.pump", CODEC_ERROR, 100, 6),
    "reading the sound": ("vidrestore.media.passthrough.Passthrough._time_of", READ_ERROR, 50, 3),
    "Ctrl-C": ("vidrestore.media.segments.SegmentEncoder.encode", KeyboardInterrupt(), 120, 130),
}  # fmt: skip


@pytest.mark.parametrize("where", FAULTS)
@pytest.mark.parametrize(
    "words",
    [
        pytest.param((), id="threads"),
        pytest.param(("--no-overlap",), id="one thread", marks=pytest.mark.slow),
    ],
)
def test_a_fault_in_any_stage_ends_the_run_and_the_next_goes_on(
    film, reference, tmp_path, capsys, where, words
):
    target, error, at, code = FAULTS[where]
    command = [str(film), str(tmp_path / "out.mkv"), "--codec", "ffv1", *words]
    digest = film.read_bytes()
    before = open_files()
    with fake_networks(), breaking(target, error, at) as when:
        assert main(command) == code
    assert time.monotonic() - when[0] < PATIENCE_SECONDS
    text = capsys.readouterr().err
    assert "the same command goes on from there" in text
    assert "Traceback" not in text
    assert open_files() <= before
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv.unfinished"]
    assert not list(work_path(tmp_path / "out.mkv").glob("*.part"))
    with fake_networks():
        assert main(command) == 0
    assert_same_film(reference, tmp_path / "out.mkv")
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv"]
    assert film.read_bytes() == digest


@pytest.mark.parametrize("which", ["detector", "restorer"])
def test_a_fault_in_a_network_ends_the_run_and_the_next_goes_on(
    film, reference, tmp_path, capsys, which
):
    command = [str(film), str(tmp_path / "out.mkv"), "--codec", "ffv1"]
    calls = 0

    def broken(real):
        def call(image):
            nonlocal calls
            calls += 1
            if calls == (40 if which == "detector" else 120):
                raise MemoryError("out of memory")
            return real(image)

        return call

    find, change = trembling_face, negative
    with ExitStack() as stack:
        if which == "detector":
            stack.enter_context(fake_networks(find=broken(find)))
        else:
            stack.enter_context(fake_networks(change=broken(change)))
        assert main(command) == 70
    assert "MemoryError" in capsys.readouterr().err
    with fake_networks():
        assert main(command) == 0
    assert_same_film(reference, tmp_path / "out.mkv")


def test_a_film_that_vanishes_or_shrinks_meanwhile_ends_the_run(film, tmp_path, capsys):
    source, target = tmp_path / "in.mp4", tmp_path / "out.mkv"
    shutil.copy(film, source)
    calls = 0

    def find(image):
        nonlocal calls
        calls += 1
        if calls == 40:
            os.truncate(source, source.stat().st_size // 3)
        return trembling_face(image)

    with fake_networks(find=find):
        code = main([str(source), str(target), "--codec", "ffv1"])
    text = capsys.readouterr().err
    assert (code, target.exists()) == (0, True) or (code == 3 and not target.exists()), text
    if code == 0:
        assert "cut off" in text or "damaged packets" in text
    # what was begun with another film is not gone on with
    if code == 3:
        with fake_networks():
            assert main([str(source), str(target), "--codec", "ffv1"]) in (2, 3)
        assert not target.exists()


@pytest.fixture
def small_disk(tmp_path):
    with mounted_disk(tmp_path / "disk", "3m") as folder:
        yield folder


def test_a_disk_that_fills_up_costs_nothing_but_time(film, reference, small_disk, capsys):
    target = small_disk / "out.mkv"
    filler = small_disk / "filler"
    command = [str(film), str(target), "--codec", "ffv1"]
    with fake_networks():
        filler.write_bytes(b"x" * 2_400_000)
        assert main(command) == 6
        text = capsys.readouterr().err
        assert "the disk is full" in text
        assert "the same command goes on from there" in text
        assert not list(work_path(target).glob("*.part"))
        subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
        assert main(command) == 0
        assert "going on with an unfinished run" in capsys.readouterr().err
    filler.unlink()
    assert_same_film(reference, target)
    assert list(small_disk.iterdir()) == [target]


def start(film, target, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.job_runner", str(film), str(target),
         "--codec", "ffv1", *words],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_sigkill_at_a_random_moment(film, reference, tmp_path, seed):
    """Killed at up to three random moments, anywhere from the start to the join."""
    rng, target = random.Random(seed), tmp_path / "out.mkv"
    for _ in range(3):
        process = start(film, target, "--delay", "0.01")
        try:
            process.communicate(timeout=rng.uniform(0.5, 6))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=PATIENCE_SECONDS)
        if target.exists():  # it had got its name before the blow
            assert_same_film(reference, target)
            break
    if not target.exists() or work_path(target).exists():
        process = start(film, target, "--overwrite")
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert_same_film(reference, target)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv"]
