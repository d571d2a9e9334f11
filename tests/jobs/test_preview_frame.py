from contextlib import ExitStack, contextmanager
from fractions import Fraction
from unittest.mock import patch

import cv2
import numpy as np
import pytest

from tests.support.job_runner import CHOSEN, fake_networks, run_faked
from tests.support.synthetic import Clip, drawn_number, make_clip
from vidrestore.errors import OutputError, RangeError
from vidrestore.jobs import restore
from vidrestore.jobs.contact_sheet import upright_rgb
from vidrestore.jobs.preview_frame import frame_before_after, preview_frame
from vidrestore.media.read import VideoReader
from vidrestore.settings import EncodeSettings, Moment, RestoreSettings, VideoCodec

LOSSLESS = RestoreSettings(encode=EncodeSettings(codec=VideoCodec.FFV1))
OPTIONS = {"preset": "ultrafast", "crf": "10", "g": "20"}


@contextmanager
def faked():
    with ExitStack() as stack:
        stack.enter_context(fake_networks())
        for name, value in (
            ("choose_models", lambda _: CHOSEN),
            ("loaded_networks", restore.loaded_networks),
        ):
            stack.enter_context(patch(f"vidrestore.jobs.preview_frame.{name}", value))
        yield


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    return make_clip(folder / "in.mp4", Clip(num_frames=150, options=OPTIONS))


@pytest.fixture(scope="module")
def whole(film, tmp_path_factory):
    """The film restored as a whole, picture by picture in RGB."""
    path = tmp_path_factory.mktemp("whole") / "out.mkv"
    run_faked(film, path, LOSSLESS)
    with VideoReader(path) as reader:
        return [upright_rgb(frame) for frame in reader.frames()]


@pytest.mark.parametrize(
    ("at", "number"), [("0", 0), ("@100", 100), ("4", 100), ("3.99", 100), ("5.97", 149)]
)
def test_the_frame_is_that_of_the_full_run(film, whole, at, number):
    with faked():
        before, after, faces = frame_before_after(film, Moment.parse(at))
    assert drawn_number(before) == number
    np.testing.assert_array_equal(after, whole[number])
    assert (before != after).any()
    (face,) = faces
    left, top, right, bottom = face.box_xyxy
    assert left < 80 < right
    assert top < 48 < bottom
    assert face.strength == 1
    assert 10 < face.width_px < 60


def test_the_file_shows_before_and_after_beside_each_other(film, whole, tmp_path):
    copy = tmp_path / "tape.mp4"
    copy.write_bytes(film.read_bytes())
    with faked():
        made = preview_frame(copy, Moment.parse("4"))
    assert made.path.name == "tape-frame-4s.png"
    assert made.seconds == 4
    shown = cv2.imread(str(made.path))[..., ::-1]
    assert shown.shape == (96, 320, 3)
    np.testing.assert_array_equal(shown[:, 160:], whole[100])
    assert drawn_number(shown[:, :160]) == 100


def test_a_turned_and_pressed_picture_is_shown_as_it_is_seen(tmp_path):
    clip = Clip(num_frames=3, rotation=90, pixel_aspect=Fraction(2))
    film = make_clip(tmp_path / "in.mp4", clip)
    with faked():
        before, after, _ = frame_before_after(film, Moment.parse("@2"))
    assert before.shape == after.shape == (320, 96, 3)
    assert drawn_number(np.rot90(before, -1)) == 2  # it was turned counter-clockwise


def test_bad_wishes_are_refused_before_the_work(film, tmp_path):
    with pytest.raises(OutputError, match=r"call it out\.png"):
        preview_frame(film, Moment.parse("1"), tmp_path / "out.mp4")
    (tmp_path / "out.png").touch()
    with pytest.raises(OutputError, match=r"out\.png exists: use --overwrite"):
        preview_frame(film, Moment.parse("1"), tmp_path / "out.png")
    for at in ("7", "@150"):
        with faked(), pytest.raises(RangeError, match=r"starts at 7s|no frame @150"):
            preview_frame(film, Moment.parse(at), tmp_path / "other.png")
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
