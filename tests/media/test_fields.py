from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.interlaced import NTSC, Luma, Tape, moments, pull_down, weave, write_tape
from vidrestore.errors import MediaError
from vidrestore.media.fields import FieldKind, FieldReport, measure_fields
from vidrestore.media.probe import probe

MPEG2 = {"g": "12", "bf": "2"}
HARD = {"crf": "30"}
PLAIN = Tape()


@pytest.fixture(scope="module")
def film() -> list[Luma]:
    return moments(96)


@pytest.fixture(scope="module")
def noisy() -> list[Luma]:
    return moments(60, 240, speed=2.0, noise=10.0)


def measure(path: Path, pictures: list[Luma], tape: Tape = PLAIN) -> FieldReport:
    return measure_fields(probe(write_tape(path, pictures, tape)))


@pytest.mark.parametrize(
    ("name", "order", "tape"),
    [
        ("dvd.mpg", "top", Tape("mpeg2video", "top", options=MPEG2, quantiser=4)),
        ("dvd.mpg", "bottom", Tape("mpeg2video", "bottom", options=MPEG2, quantiser=4)),
        ("camera.mp4", "top", Tape(flag="top", options={"x264-params": "tff=1"})),
        ("camera.ts", "bottom", Tape(flag="bottom", options={"x264-params": "bff=1"})),
        ("grab.mkv", "top", Tape()),
        ("grab.mkv", "bottom", Tape()),
        ("hard.mkv", "top", Tape(options=HARD)),
        ("motion.avi", "bottom", Tape("mjpeg", pixel_format="yuvj420p", quantiser=5)),
        ("flipped.mkv", "bottom", Tape("ffv1", flag="top")),
    ],
)
def test_fields_and_their_order_are_measured_whatever_is_flagged(tmp_path, film, name, order, tape):
    report = measure(tmp_path / name, weave(film, order), tape)
    assert (report.kind, report.order) == (FieldKind.INTERLACED, order)
    assert report.measured_share > 0.9
    assert report.is_flagged == (tape.flag is not None)
    assert report.num_pictures == 48


@pytest.mark.parametrize("name", ["tape.dv", "tape.avi"])
def test_dv_is_bottom_field_first(tmp_path, name):
    tape = Tape("dvvideo", "bottom", container="dv" if name.endswith("dv") else None)
    report = measure(tmp_path / name, weave(moments(24, 720, 576), "bottom"), tape)
    assert (report.kind, report.order, report.flagged_share) == ("interlaced", "bottom", 1.0)


@pytest.mark.parametrize("order", ["top", "bottom"])
def test_a_tapes_noise_does_not_hide_its_fields(tmp_path, noisy, order):
    report = measure(tmp_path / "vhs.mkv", weave(noisy, order), Tape(options={"crf": "22"}))
    assert (report.kind, report.order) == (FieldKind.INTERLACED, order)


@pytest.mark.parametrize("flag", [None, "top"])
def test_noise_does_not_make_fields(tmp_path, noisy, flag):
    report = measure(tmp_path / "grain.mkv", noisy[:30], Tape(flag=flag))
    assert report.kind is FieldKind.PROGRESSIVE
    assert report.order is None


@pytest.mark.parametrize(
    ("name", "tape"),
    [
        ("whole.mkv", Tape()),
        ("film.mpg", Tape("mpeg2video", "top", options=MPEG2, quantiser=4)),
        ("hard.mpg", Tape("mpeg2video", "top", options=MPEG2, quantiser=20)),
        ("segmented.mp4", Tape(flag="top", options={"x264-params": "tff=1"})),
        ("blocky.avi", Tape("mpeg4", quantiser=25)),
        ("blocky.wmv", Tape("wmv2", quantiser=25)),
    ],
)
def test_whole_pictures_are_progressive_whatever_is_flagged(tmp_path, film, name, tape):
    report = measure(tmp_path / name, film[:40], tape)
    assert (report.kind, report.order) == (FieldKind.PROGRESSIVE, None)
    assert report.is_flagged == (tape.flag is not None)
    assert report.measured_share < 0.1


@pytest.mark.parametrize("quantiser", [5, 10, 20])
def test_the_coarse_jpeg_of_early_cameras_is_not_taken_for_fields(tmp_path, quantiser):
    """A slow zoom: ``idet`` alone finds the top field first in every picture."""
    soft = cv2.GaussianBlur(np.random.default_rng(0).standard_normal((480, 320)), (0, 0), 12)
    soft = (120 + 50 * soft / soft.std()).astype(np.float32)
    zoom = [
        cv2.warpAffine(
            soft,
            np.array([[1 + 0.004 * n, 0, 0], [0, 1 + 0.004 * n, 0]]),
            (320, 480),
            borderMode=cv2.BORDER_REFLECT,
        )
        .clip(16, 235)
        .astype(np.uint8)
        for n in range(30)
    ]
    tape = Tape("mjpeg", pixel_format="yuvj420p", quantiser=quantiser)
    assert measure(tmp_path / "camera.avi", zoom, tape).kind is FieldKind.PROGRESSIVE


@pytest.mark.parametrize("flag", [None, "top"])
@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_telecine_is_recognised(tmp_path, flag, noise):
    film = pull_down(moments(32, 352, 480, noise=0.0))
    if noise:
        rng = np.random.default_rng(3)
        film = [
            np.clip(p + noise * rng.standard_normal(p.shape), 0, 255).astype(np.uint8) for p in film
        ]
    report = measure(tmp_path / "film.mkv", film, Tape(flag=flag, rate=NTSC))
    assert (report.kind, report.order) == (FieldKind.TELECINED, "top")
    if not noise:
        assert report.repeated_share == pytest.approx(0.4, abs=0.1)


def test_video_is_not_taken_for_telecine(tmp_path):
    smooth = moments(240, 176, 480, speed=2.0)
    steps = np.random.default_rng(5).integers(0, 5, 96).cumsum()  # a hand that shakes
    shaken = [smooth[n] for n in steps if n < len(smooth)]
    woven = weave(shaken[: len(shaken) // 2 * 2], "top")
    assert len(woven) > 40
    report = measure(tmp_path / "v.mkv", woven, Tape(rate=NTSC))
    assert report.kind is FieldKind.INTERLACED


def test_doubled_pictures_are_progressive(tmp_path, film):
    doubled = [picture for picture in film[:24] for _ in (0, 1)]
    assert measure(tmp_path / "web.mkv", doubled).kind is FieldKind.PROGRESSIVE


def test_where_nothing_moves_the_flag_decides(tmp_path, film):
    still = [film[0]] * 30
    flagged = measure(tmp_path / "a.mkv", still, Tape(flag="top"))
    assert (flagged.kind, flagged.order) == (FieldKind.INTERLACED, None)
    assert measure(tmp_path / "b.mkv", still).kind is FieldKind.PROGRESSIVE


def test_one_moving_scene_in_a_still_film_is_enough(tmp_path, film):
    pictures = [film[0]] * 90 + weave(film[:60], "bottom")
    assert measure(tmp_path / "a.mkv", pictures, Tape(flag="top")).order == "bottom"
    assert measure(tmp_path / "b.mkv", pictures).order == "bottom"


def test_heights_that_no_interlaced_film_has_are_looked_at_only_if_flagged(tmp_path):
    woven = weave(moments(60, 352, 400), "top")
    free = measure(tmp_path / "a.mkv", woven)
    assert (free.kind, free.num_pictures) == (FieldKind.PROGRESSIVE, 0)
    assert measure(tmp_path / "b.mkv", woven, Tape(flag="top")).kind is FieldKind.INTERLACED
    still = measure(tmp_path / "c.mkv", [woven[0]] * 20, Tape(flag="top"))
    assert still.kind is FieldKind.PROGRESSIVE


@pytest.mark.parametrize("name", ["long.mkv", "long.mpg", "long.ts", "long.m2v"])
def test_a_long_film_is_looked_at_in_several_places(tmp_path, name):
    """It begins with two minutes in which nothing moves."""
    still, moving = moments(1, 128, 576), weave(moments(240, 128, 576, speed=1.5), "top")
    tape = Tape("mpeg2video", options={"g": "15"}, quantiser=6)
    report = measure(tmp_path / name, still * 480 + moving, tape)
    if name.endswith("m2v"):  # nothing to seek by
        assert (report.kind, report.num_pictures) == (FieldKind.PROGRESSIVE, 200)
    else:
        assert (report.kind, report.order) == (FieldKind.INTERLACED, "top")
        assert 150 <= report.num_pictures <= 200


def test_a_film_that_cannot_be_sought_in_is_looked_at_from_its_start(tmp_path, film):
    info = probe(write_tape(tmp_path / "raw.h264", film[:60]))
    long = replace(info, duration_seconds=Fraction(100))
    assert measure_fields(long).num_pictures == 40


def test_damaged_pictures_have_no_vote(tmp_path, film):
    path = write_tape(tmp_path / "hurt.mkv", weave(film, "top"), Tape(options={"g": "12"}))
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 4, len(data) // 2, 501):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    report = measure_fields(probe(path))
    assert (report.kind, report.order) == (FieldKind.INTERLACED, "top")
    assert report.num_pictures < 48


def test_a_film_that_vanishes_is_a_media_error(tmp_path, film):
    path = write_tape(tmp_path / "gone.mkv", film[:3])
    info = probe(path)
    path.unlink()
    with pytest.raises(MediaError, match="no such file"):
        measure_fields(info)


def test_no_handle_is_left(tmp_path, film):
    info = probe(write_tape(tmp_path / "a.mkv", weave(film[:20], "top"), Tape(rate=Fraction(25))))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        measure_fields(info)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
