import math

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from vidrestore.core.metrics import (
    MotionField,
    colour_shift,
    frechet_distance,
    gradient_error,
    lasting_detail,
    luma,
    psnr,
    second_differences,
    sharpness,
    ssim,
    warping_error,
)


def scene(seed: int = 0, height: int = 128, width: int = 160) -> np.ndarray:
    """A textured picture, RGB."""
    rng = np.random.default_rng(seed)
    field = rng.standard_normal((height, width, 3)).astype(np.float32)
    coarse, fine = cv2.GaussianBlur(field, (0, 0), 6), cv2.GaussianBlur(field, (0, 0), 1.5)
    picture = 128 + 30 * coarse / coarse.std() + 25 * fine / fine.std()
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def noisy(plane: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(plane.shape)
    return (plane + sigma * noise).astype(np.float32)


def test_psnr_is_that_of_the_mean_squared_error_and_infinite_for_equals():
    a = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(a, a) == math.inf
    assert psnr(a, a + 30) == pytest.approx(20 * math.log10(255 / 30))
    assert psnr(a + 30, a) == psnr(a, a + 30)  # no wrapping of unsigned numbers


def test_ssim_agrees_with_another_implementation_of_the_paper():
    clean = scene()
    for worse in (cv2.GaussianBlur(clean, (0, 0), 1.2), scene(1), 255 - clean):
        expected = structural_similarity(
            luma(worse).astype(float),
            luma(clean).astype(float),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
        assert ssim(worse, clean) == pytest.approx(expected, abs=2e-3)
    assert ssim(clean, clean) == pytest.approx(1)


def test_ssim_refuses_a_picture_smaller_than_its_window():
    with pytest.raises(ValueError, match="window"):
        ssim(np.zeros((10, 20, 3), np.uint8), np.zeros((10, 20, 3), np.uint8))


def test_blur_lowers_sharpness_and_contrast_scales_it():
    clean = scene()
    assert sharpness(clean, clean) == pytest.approx(1)
    assert sharpness(cv2.GaussianBlur(clean, (0, 0), 2), clean) < 0.5
    half = (128 + (clean.astype(float) - 128) / 2).astype(np.float32)
    assert sharpness(half, clean) == pytest.approx(0.5, abs=1e-3)
    assert math.isnan(sharpness(clean, np.full_like(clean, 7)))


def test_gradient_error_sees_edges_but_no_shift_of_brightness():
    clean = scene()[:, :, :1].repeat(3, axis=2).clip(0, 200)
    assert gradient_error(clean + 20, clean) == pytest.approx(0, abs=1e-4)
    ramp = np.zeros((20, 20), np.float32)
    assert gradient_error(ramp + 3 * np.arange(20, dtype=np.float32), ramp) == pytest.approx(1.5)


def test_colour_shift_is_the_mean_over_the_channels():
    clean = np.full((16, 16, 3), 90, np.uint8)
    other = clean + np.array([3, 0, 6], np.uint8)
    assert colour_shift(other, clean) == pytest.approx(3)
    checks = clean.copy()
    checks[::2] += 10
    checks[1::2] -= 10
    assert colour_shift(checks, clean) == pytest.approx(0)


def test_pictures_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="cannot compare"):
        psnr(np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8))


def test_frechet_distance_agrees_with_the_formula_over_covariances():
    rng = np.random.default_rng(3)
    a = rng.standard_normal((400, 6)) @ rng.standard_normal((6, 6))
    b = rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6)) + 0.5
    c1, c2 = np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.linalg.eigvals(c1 @ c2).real.clip(0)).sum()
    apart = a.mean(axis=0) - b.mean(axis=0)
    expected = apart @ apart + np.trace(c1) + np.trace(c2) - 2 * roots
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="Fréchet"):
        frechet_distance(a, b[:, :3])


def test_following_a_known_motion_leaves_little_and_no_motion_leaves_much():
    big = luma(scene(4, 200, 240))
    now, before = big[20:148, 30:190], big[24:152, 23:183]  # moves by 7 columns and 4 rows
    motion = MotionField(before.astype(np.uint8), now.astype(np.uint8))
    inner = np.zeros(now.shape, bool)
    inner[24:-24, 24:-24] = True
    assert motion.is_seen[inner].mean() > 0.95
    moved = warping_error(before, now, motion, inner)
    assert moved < 0.1 * float(np.square(before - now)[inner].mean())


def test_flicker_is_the_warping_error_and_uncovered_pixels_are_left_out():
    picture = luma(scene(5))
    motion = MotionField(picture.astype(np.uint8), picture.astype(np.uint8))
    everywhere = np.ones(picture.shape, bool)
    assert warping_error(picture, picture + 6, motion, everywhere) == pytest.approx(36, abs=0.2)
    assert math.isnan(warping_error(picture, picture, motion, ~everywhere))
    covered = picture.copy()
    covered[40:90, 50:110] = luma(scene(9))[40:90, 50:110]
    seen = MotionField(picture.astype(np.uint8), covered.astype(np.uint8)).is_seen
    assert seen[50:80, 60:100].mean() < 0.7 < seen[:30].mean()


@pytest.mark.parametrize("blur", [0.8, 2.0])
def test_lasting_detail_tells_blur_but_not_noise(blur):
    clean = luma(scene(6, 200, 240))
    soft = cv2.GaussianBlur(clean, (0, 0), blur)
    motion = MotionField(clean.astype(np.uint8), clean.astype(np.uint8))
    mask = np.ones(clean.shape, bool)
    of_clean = lasting_detail(clean, clean, motion, mask)
    of_soft = lasting_detail(soft, soft, motion, mask)
    of_noisy = lasting_detail(noisy(soft, 6, 1), noisy(soft, 6, 2), motion, mask)
    assert of_soft < 0.8 * of_clean
    assert of_noisy == pytest.approx(of_soft, rel=0.1)


def test_second_differences_of_a_line_vanish():
    assert np.allclose(second_differences(np.arange(6) * 2.5), 0)
    assert second_differences(np.array([0.0, 0, 3, 0, 0])).tolist() == [3, -6, 3]
