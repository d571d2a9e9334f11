"""What can go wrong with the place where the output is to be; the source is never touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.support.disks import mounted_disk
from tests.support.films import QUICK, rewrite
from tests.support.synthetic import Clip, Sound, drawn_number
from vidrestore.errors import OutputError, SettingsError
from vidrestore.media import write
from vidrestore.media.probe import probe
from vidrestore.media.read import VideoReader
from vidrestore.media.work_folder import scratch_path
from vidrestore.media.write import VideoWriter
from vidrestore.settings import EncodeSettings, VideoCodec

FILM = Clip(sounds=(Sound(),))
REFUSING = EncodeSettings(preset="ultrafast")


@pytest.fixture
def source(clip, tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    return Path(shutil.copy(clip("film.mp4", FILM), tmp_path / "in"))


def refused(source: Path, target: Path, settings: EncodeSettings = REFUSING) -> str:
    """The message with which the writer refuses; nothing may have appeared or changed."""
    before = everything_in(source.parent.parent)
    with pytest.raises(OutputError) as caught:
        VideoWriter(target, probe(source), settings)
    assert everything_in(source.parent.parent) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def everything_in(folder: Path) -> dict[Path, bytes | None]:
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.mark.parametrize("name", ["out.avi", "out", "out.webm", "out.mp4.part"])
def test_unknown_extensions_are_refused_with_those_that_work(source, tmp_path, name):
    assert ".mp4, .m4v, .mov, .mkv" in refused(source, tmp_path / name)


@pytest.mark.parametrize("name", ["out.m4v", "OUT.MP4", "o ut ä.mkv", "a:b.mp4", "100%d.mov"])
def test_any_other_name_will_do(source, tmp_path, name):
    rewrite(source, tmp_path / name)
    with VideoReader(tmp_path / name) as reader:
        assert [drawn_number(f.planes[0]) for f in reader.frames()] == list(range(25))
    expected = "matroska" if name.endswith("mkv") else "mp4"
    assert expected in reader.info.container
    assert {p.name for p in tmp_path.iterdir()} == {"in", name}


def test_a_missing_folder_is_named(source, tmp_path):
    message = refused(source, tmp_path / "nowhere" / "out.mp4")
    assert "nowhere does not exist" in message


def test_a_file_is_no_folder(source, tmp_path):
    (tmp_path / "file").touch()
    assert "is not a folder" in refused(source, tmp_path / "file" / "out.mp4")


def test_a_folder_is_no_output(source, tmp_path):
    (tmp_path / "out.mp4").mkdir()
    assert "is a folder" in refused(source, tmp_path / "out.mp4")


def test_a_folder_that_cannot_be_written_to(source, tmp_path, monkeypatch):
    def touch(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "touch", touch)
    message = refused(source, tmp_path / "out.mp4")
    assert message == f"cannot write {tmp_path / 'out.mp4'}: Permission denied"


def test_a_name_too_long_for_the_disk(source, tmp_path):
    assert "File name too long" in refused(source, tmp_path / ("a" * 250 + ".mp4"))


def test_the_input_is_never_the_output(source):
    message = refused(source, source, EncodeSettings(overwrite=True))
    assert "is the input itself" in message


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "folder"])
def test_the_input_is_recognised_through_links(source, tmp_path, kind):
    if kind == "symlink":
        target = tmp_path / "out.mp4"
        target.symlink_to(source)
    elif kind == "hardlink":
        target = tmp_path / "out.mp4"
        target.hardlink_to(source)
    else:
        (tmp_path / "other").symlink_to(source.parent)
        target = tmp_path / "other" / source.name
    with pytest.raises(OutputError, match="is the input itself"):
        VideoWriter(target, probe(source), QUICK)


def test_an_existing_output_is_kept_unless_asked(source, tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    assert "--overwrite" in refused(source, target)
    rewrite(source, target, QUICK)
    assert probe(target).video.width == 160


def test_an_existing_output_stays_until_the_new_one_is_complete(source, tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    with VideoReader(source) as reader, VideoWriter(target, reader.info, QUICK) as writer:
        for frame in reader.frames():
            writer.write(frame)
            assert target.read_bytes() == b"precious"
            assert scratch_path(target).is_dir()
    assert probe(target).video.width == 160


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (EncodeSettings(preset="nonsense"), "no preset 'nonsense'"),
        (EncodeSettings(crf=60), "crf 60 is too large for H.264"),
        (EncodeSettings(codec=VideoCodec.AV1, preset="medium"), "AV1 has no preset 'medium'"),
        (EncodeSettings(codec=VideoCodec.FFV1), r"name the output \.mkv"),
    ],
)
def test_impossible_coding_is_refused_before_the_work(source, tmp_path, settings, message):
    with pytest.raises((OutputError, SettingsError), match=message):
        VideoWriter(tmp_path / "out.mp4", probe(source), settings)


def test_av1_does_not_fit_into_mov(source, tmp_path):
    message = refused(source, tmp_path / "out.mov", EncodeSettings(codec=VideoCodec.AV1))
    assert message == ".mov cannot hold AV1: name the output .mp4 or .mkv"


def test_what_a_killed_run_left_is_cleared_away(source, tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.support.films import QUICK\n"
        "from vidrestore.media.read import VideoReader\n"
        "from vidrestore.media.write import VideoWriter\n"
        "reader = VideoReader(Path(sys.argv[1]))\n"
        "writer = VideoWriter(Path(sys.argv[2]), reader.info, QUICK)\n"
        "for frame in reader.frames():\n"
        "    writer.write(frame)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    target = tmp_path / "out.mp4"
    done = subprocess.run(
        [sys.executable, "-c", program, str(source), str(target)],
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == -signal.SIGKILL
    assert list(scratch_path(target).glob("*.part"))
    rewrite(source, target)
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out.mp4"}


def test_a_file_where_the_folder_should_be_is_left_alone(source, tmp_path):
    scratch_path(tmp_path / "out.mp4").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"\.out\.mp4\.unfinished is in the way"):
        rewrite(source, tmp_path / "out.mp4")
    assert scratch_path(tmp_path / "out.mp4").read_bytes() == b"precious"


class StopError(Exception):
    pass


@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
@pytest.mark.parametrize("after", [0, 1, 20])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_run_that_breaks_off_leaves_nothing(source, tmp_path, error, after, suffix):
    before = everything_in(tmp_path)
    with pytest.raises(error):
        write_some(source, tmp_path / f"out{suffix}", after, error)
    assert everything_in(tmp_path) == before


def write_some(source: Path, target: Path, number: int, error: type[BaseException]) -> None:
    with VideoReader(source) as reader, VideoWriter(target, reader.info, QUICK) as writer:
        for frame in islice(reader.frames(), number):
            writer.write(frame)
        raise error


def test_an_error_while_completing_leaves_nothing(source, tmp_path, monkeypatch):
    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(write.os, "fsync", refuse)
    before = everything_in(tmp_path)
    with pytest.raises(OutputError, match=r"out\.mp4 failed: Input/output error"):
        rewrite(source, tmp_path / "out.mp4")
    assert everything_in(tmp_path) == before


def test_closing_completes_the_film_and_may_be_repeated(source, tmp_path):
    target = tmp_path / "out.mp4"
    with VideoReader(source) as reader, VideoWriter(target, reader.info, QUICK) as writer:
        for frame in reader.frames():
            writer.write(frame)
        writer.close()
        assert probe(target).video.width == 160
        writer.close()
        with pytest.raises(ValueError, match="closed"):
            writer.write(frame)
    assert target.exists()


def test_an_interrupt_from_the_keyboard_leaves_nothing(source, tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.support.films import QUICK\n"
        "from vidrestore.media.read import VideoReader\n"
        "from vidrestore.media.write import VideoWriter\n"
        "with VideoReader(Path(sys.argv[1])) as reader:\n"
        "    with VideoWriter(Path(sys.argv[2]), reader.info, QUICK) as writer:\n"
        "        for k, frame in enumerate(reader.frames()):\n"
        "            writer.write(frame)\n"
        "            if k == 12: os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(source), str(tmp_path / "out.mp4")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"in"}


@pytest.fixture
def small_disk(tmp_path):
    with mounted_disk(tmp_path / "disk", "200k") as folder:
        yield folder


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(clip, small_disk, suffix):
    source = clip("big.mp4", Clip(width=320, height=240, num_frames=60, sounds=(Sound(),)))
    settings = EncodeSettings(crf=1, preset="ultrafast")
    with pytest.raises(OutputError, match=f"the disk is full: .*out{suffix} was not written"):
        rewrite(source, small_disk / f"out{suffix}", settings)
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_is_full_at_the_end_too(clip, small_disk):
    source = clip("end.mp4", Clip(num_frames=20))
    filler = small_disk / "filler"

    def write_and_fill() -> None:
        with (
            VideoReader(source) as reader,
            VideoWriter(small_disk / "out.mp4", reader.info, QUICK) as writer,
        ):
            for frame in reader.frames():
                writer.write(frame)
            filler.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * 4096))

    with pytest.raises(OutputError, match="the disk is full"):
        write_and_fill()
    filler.unlink()
    assert list(small_disk.iterdir()) == []
