"""Which files of a folder are taken, and what their outputs are called."""

import os
import re

import pytest

from vidrestore.errors import MediaError, SettingsError
from vidrestore.jobs.batch_inputs import check_folders, find_inputs, name_outputs
from vidrestore.settings import EncodeSettings, TrackChoice, VideoCodec

H264 = EncodeSettings()


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "in"
    for name in (
        "b.mpg", "A.AVI", "photo.JPG", "notes.txt", ".hidden.mp4", "deep/c.mov", "deep/x.srt",
        "old.mp4.unfinished/00000.nut", "out/made.mp4",
    ):  # fmt: skip
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"x")
    return source


def found(folder, pattern=None, *, recursive=False):
    return find_inputs(folder, folder / "out", pattern, recursive=recursive)


def test_films_and_photographs_are_taken_by_their_names(folder):
    inputs = found(folder)
    assert inputs.names == ("A.AVI", "b.mpg", "photo.JPG")
    assert inputs.num_others == 1
    assert inputs.unreadable == {}


def test_folders_below_are_taken_when_asked_for_but_no_outputs_and_no_segments(folder):
    inputs = found(folder, recursive=True)
    assert inputs.names == ("A.AVI", "b.mpg", "deep/c.mov", "photo.JPG")
    assert inputs.num_others == 2


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.avi", ("A.AVI",)),
        ("*", ("A.AVI", "b.mpg", "deep/c.mov", "photo.JPG")),
        ("deep/*", ("deep/c.mov",)),
        ("*.txt", ("notes.txt",)),
        ("n*", ()),
        ("[bc].*", ("b.mpg", "deep/c.mov")),
    ],
)
def test_a_pattern_chooses(folder, pattern, names):
    assert found(folder, pattern, recursive=True).names == names


def test_links_that_go_in_circles_are_not_followed(folder):
    (folder / "deep" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    assert found(folder, "*.mov", recursive=True).names == ("deep/c.mov",)
    assert "loop.mp4" in found(folder).names  # and fails with a line of its own


def test_a_folder_below_that_cannot_be_read_is_named(folder, monkeypatch):
    real = os.scandir

    def refuse(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    inputs = found(folder, recursive=True)
    assert inputs.unreadable == {"deep": "Permission denied"}
    assert "b.mpg" in inputs.names


def test_a_folder_that_cannot_be_read_is_refused(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(MediaError, match=f"cannot read {re.escape(str(folder))}: Permission"):
        found(folder)


def test_outputs_may_lie_in_a_folder_of_their_own_only(tmp_path, folder):
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    check_folders(folder, tmp_path / "new")
    check_folders(folder, folder / "out")
    for target in (folder, tmp_path / "link"):
        with pytest.raises(SettingsError, match="is the input folder itself"):
            check_folders(folder, target)
    with pytest.raises(SettingsError, match="would get among the inputs"):
        check_folders(folder, tmp_path)
    with pytest.raises(MediaError, match="no such folder"):
        check_folders(tmp_path / "no", tmp_path / "new")
    with pytest.raises(MediaError, match="is a file: for one film"):
        check_folders(folder / "b.mpg", tmp_path / "new")


@pytest.mark.parametrize(
    ("name", "encode", "output"),
    [
        ("d/tape.avi", H264, "d/tape.mp4"),
        ("TAPE.MPG", H264, "TAPE.mp4"),
        ("clip.MOV", H264, "clip.MOV"),
        ("clip.mkv", H264, "clip.mkv"),
        ("clip.mov", EncodeSettings(VideoCodec.AV1), "clip.mp4"),
        ("clip.mp4", EncodeSettings(VideoCodec.FFV1), "clip.mkv"),
        ("tape.dv", EncodeSettings(audio=TrackChoice.COPY), "tape.mkv"),
        ("p.TIFF", EncodeSettings(VideoCodec.FFV1), "p.TIFF"),
    ],
)
def test_an_output_is_called_like_its_input_with_a_suffix_that_can_be_written(name, encode, output):
    assert name_outputs([name], encode, {}) == {name: output}


def test_no_two_inputs_get_one_output():
    names = ["a.avi", "a.mp4", "a.mpg", "A.vob", "a.mpg.mp4"]
    outputs = name_outputs(names, H264, {})
    assert outputs["a.mp4"] == "a.mp4"
    assert outputs["a.mpg.mp4"] == "a.mpg.mp4"
    assert outputs["a.avi"] == "a.avi.mp4"
    assert outputs["a.mpg"] == "a.mpg-2.mp4"
    assert len({output.casefold() for output in outputs.values()}) == len(names)


def test_an_input_keeps_the_output_that_it_had():
    known = {"a.mpg": "a.mp4", "gone.avi": "gone.mp4"}
    outputs = name_outputs(["a.avi", "a.mpg", "gone.mpg"], H264, known)
    assert outputs == {"a.avi": "a.avi.mp4", "a.mpg": "a.mp4", "gone.mpg": "gone.mpg.mp4"}
    ffv1 = EncodeSettings(VideoCodec.FFV1)
    assert name_outputs(["a.mpg"], ffv1, known) == {"a.mpg": "a.mkv"}
