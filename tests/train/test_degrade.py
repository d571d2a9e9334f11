"""The two families of degradations: reproducible, of the promised character and strength."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest

from vidrestore.errors import SettingsError
from vidrestore.media.recode import LossyCodec
from vidrestore.train import tape_signal
from vidrestore.train.blind import BlindDegradation, draw_blind, draw_nearly_clean, gaussian_kernel
from vidrestore.train.degrade import FAMILIES, Mix, degrade_clip, degrade_image, draw
from vidrestore.train.scaling import draw_source_px
from vidrestore.train.tape import (
    Deinterlacing,
    TapeDegradation,
    _film_from_crop,
    draw_tape,
)

NAMES = list(FAMILIES)


def picture(height=256, width=256, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (9, 9, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    smooth.setflags(write=False)
    return smooth


def quiet_tape(**changes):
    """A tape that does nothing to a whole frame but what the changes say, and limit its bands."""
    parameters = replace(
        draw_tape(np.random.default_rng(0)).parameters,
        luma_cutoff=0.45, ringing=0.0, chroma_cutoff=0.4, chroma_tail=0.0, chroma_delay=0.0,
        chroma_drop=0.0, luma_noise=0.0, streak_noise=0.0, chroma_noise=0.0, dropouts=0.0,
        wobble=0.0, jitter=0.0, field_shift=0.0, deinterlacing=Deinterlacing.NONE,
        comb_residue=0.0, head_switch_reach=0.0, codec=None,
    )  # fmt: skip
    return TapeDegradation(replace(parameters, **changes))


def play(degradation, *frames):
    return degradation.apply(frames, np.random.default_rng(0))


# --- both families ---


@pytest.mark.parametrize("family", NAMES)
def test_the_seed_alone_says_what_happens(family):
    image = picture()
    first = degrade_image(image, family, 7)
    np.testing.assert_array_equal(first, degrade_image(image, family, 7))
    assert (first != degrade_image(image, family, 8)).any()


@pytest.mark.parametrize("family", NAMES)
@pytest.mark.parametrize("shape", [(256, 256), (255, 255), (48, 48), (512, 512), (121, 164)])
def test_size_count_and_type_stay(family, shape):
    frames = [picture(*shape, seed=seed) for seed in range(3)]
    for seed in range(6):
        degraded = degrade_clip(frames, family, seed)
        assert [frame.shape for frame in degraded] == [(*shape, 3)] * 3
        assert {frame.dtype for frame in degraded} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("family", NAMES)
def test_frames_stay_in_order_and_in_place(family):
    frames = [picture(120, 160, seed) for seed in range(4)]
    for seed in range(8):
        for index, frame in enumerate(degrade_clip(frames, family, seed)):
            quality = [cv2.PSNR(frame, clean) for clean in frames]
            # fields that are mixed are as like the picture before as their own
            assert quality[index] > max(quality) - 0.5
            assert quality[index] > 15


@pytest.mark.parametrize("family", NAMES)
def test_no_frames_give_none(family):
    assert degrade_clip([], family, 0) == []


@pytest.mark.parametrize("family", NAMES)
def test_noise_differs_from_frame_to_frame_but_not_in_strength(family):
    image = picture()
    for seed in range(6):
        parameters = asdict(draw(family, np.random.default_rng(seed)).parameters)
        has_noise = family == "tape" or parameters["noise_sigma"] + parameters["shot_gain"] > 0
        first, *others = degrade_clip([image] * 4, family, seed)
        for other in others:
            assert (other != first).any() == has_noise
            assert cv2.PSNR(image, other) == pytest.approx(cv2.PSNR(image, first), abs=2.5)


@pytest.mark.parametrize("family", NAMES)
def test_what_was_drawn_is_plain_data(family):
    for seed in range(20):
        degradation = draw(family, np.random.default_rng(seed))
        assert degradation.name == family
        plain = asdict(degradation.parameters)
        assert json.loads(json.dumps(plain)) == plain


@pytest.mark.parametrize("family", NAMES)
def test_colour_stays_on_average(family):
    for seed in range(12):
        image = picture(seed=seed)
        shift = degrade_image(image, family, seed).mean(axis=(0, 1)) - image.mean(axis=(0, 1))
        assert np.abs(shift).max() < 2.5


@pytest.mark.parametrize(("family", "low", "high"), [("blind", 25, 30), ("tape", 24, 28)])
def test_faces_are_as_bad_as_in_home_video(shared_dir, family, low, high):
    paths = sorted((shared_dir / "faces" / "val").glob("*.webp"))[::4]
    quality = []
    for seed, path in enumerate(paths):
        image = cv2.imread(str(path))[:, :, ::-1]
        quality.append(cv2.PSNR(np.ascontiguousarray(image), degrade_image(image, family, seed)))
    assert len(quality) > 50
    assert low < np.median(quality) < high
    assert min(quality) > 18
    assert max(quality) < 38


def test_an_unknown_family_is_refused():
    with pytest.raises(SettingsError, match="'film': use blind or tape"):
        degrade_image(picture(), "film", 0)


def test_a_face_was_64_to_256_pixels_wide():
    rng = np.random.default_rng(0)
    sides = [draw_source_px(rng) for _ in range(2000)]
    assert min(sides) >= 64
    assert max(sides) <= 256
    assert np.median(sides) == pytest.approx(128, abs=8)


# --- the mix for training ---


def test_the_mix_keeps_to_its_probabilities():
    rng = np.random.default_rng(0)
    drawn = [Mix(tape=0.3, nearly_clean=0.2).draw(rng) for _ in range(3000)]
    tapes = sum(d.name == "tape" for d in drawn)
    clean = sum(d.name == "blind" and d.parameters.noise_sigma <= 1.5
                and d.parameters.sigma_major < 0.4 and d.parameters.source_px is None
                for d in drawn)  # fmt: skip
    assert tapes / 3000 == pytest.approx(0.8 * 0.3, abs=0.03)
    assert clean / 3000 == pytest.approx(0.2, abs=0.03)
    assert {d.name for d in (Mix(tape=1, nearly_clean=0).draw(rng) for _ in range(20))} == {"tape"}


@pytest.mark.parametrize("side", [256, 512])
def test_nearly_clean_is_nearly_clean(side):
    rng = np.random.default_rng(0)
    smooth = cv2.resize(picture(), (side, side))
    grain = rng.normal(0, 6, (side, side, 1))  # the finest detail
    image = np.clip(np.rint(smooth + grain), 0, 255).astype(np.uint8)
    for _ in range(20):
        (result,) = draw_nearly_clean(rng).apply([image], rng)
        assert cv2.PSNR(image, result) > 36


@pytest.mark.parametrize("wrong", [{"tape": 1.1}, {"nearly_clean": -0.1}])
def test_a_probability_out_of_range_is_refused(wrong):
    with pytest.raises(SettingsError, match=f"{next(iter(wrong))} is a probability"):
        Mix(**wrong)


# --- blind ---


def test_kernel_has_the_axes_it_was_asked_for():
    angle = 0.6
    kernel = gaussian_kernel(1.6, 0.8, angle).astype(float)
    radius = kernel.shape[0] // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    covariance = np.array([[(kernel * a * b).sum() for a in (x, y)] for b in (x, y)])
    values, vectors = np.linalg.eigh(covariance)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert np.sqrt(values) == pytest.approx([0.8, 1.6], rel=0.05)
    assert abs(vectors[:, 1] @ [np.cos(angle), np.sin(angle)]) == pytest.approx(1, abs=1e-3)


def test_blind_noise_grows_with_the_light():
    parameters = replace(
        draw_blind(np.random.default_rng(0)).parameters,
        source_px=256, noise_sigma=3.0, shot_gain=0.4, is_noise_grey=False,
        jpeg_quality=None, blurs_first=True,
    )  # fmt: skip
    degradation = BlindDegradation(parameters)
    for level in (60, 180):
        (noisy,) = play(degradation, np.full((256, 256, 3), level, np.uint8))
        assert noisy.std() == pytest.approx(np.sqrt(9 + 0.4 * level), rel=0.03)


def test_grey_noise_is_the_same_in_all_channels():
    parameters = replace(
        draw_blind(np.random.default_rng(0)).parameters,
        noise_sigma=8.0, shot_gain=0.0, is_noise_grey=True, jpeg_quality=None,
    )  # fmt: skip
    (noisy,) = play(BlindDegradation(parameters), np.full((64, 64, 3), 128, np.uint8))
    np.testing.assert_array_equal(noisy[:, :, 0], noisy[:, :, 2])
    assert noisy.std() > 4


# --- tape ---


def step_response(kernel):
    """What becomes of an edge from 0 to 1 that lies just before the middle."""
    step = np.zeros((1, 81), np.float32)
    step[:, 40:] = 1
    return tape_signal.convolve(step, kernel, np.ones(1))[0]


def test_a_quiet_tape_changes_next_to_nothing():
    frame = picture(120, 160)
    (played,) = play(quiet_tape(), frame)
    assert cv2.PSNR(frame, played) > 40


def test_luma_keeps_below_its_cutoff_and_loses_what_is_above():
    kernel = tape_signal.luma_kernel(0.22, 0.0, 2.0)
    t = np.arange(len(kernel)) - len(kernel) // 2
    gain = {f: abs((kernel * np.exp(-2j * np.pi * f * t)).sum()) for f in (0, 0.1, 0.22, 0.35)}
    assert gain[0] == pytest.approx(1)
    assert gain[0.1] == pytest.approx(1, abs=0.03)
    assert gain[0.22] == pytest.approx(0.5, abs=0.05)
    assert gain[0.35] < 0.02


def test_luma_rings_to_the_right_of_edges():
    plain = step_response(tape_signal.luma_kernel(0.25, 0.0, 2.5))
    ringing = step_response(tape_signal.luma_kernel(0.25, 0.4, 2.5))
    assert ringing[-1] == pytest.approx(1, abs=1e-4)  # flat areas keep their level
    assert ringing[40:60].max() > plain[40:60].max() + 0.05
    assert ringing[:38].min() > plain[:38].min() - 0.05


def test_colour_smears_and_slips_to_the_right():
    still = step_response(tape_signal.chroma_kernel(0.05, 0.0, 0.0))
    late = step_response(tape_signal.chroma_kernel(0.05, 0.0, 3.0))
    assert still[39] + still[40] == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(late[20:60], still[17:57], atol=0.01)
    kernel = tape_signal.chroma_kernel(0.05, 4.0, 0.5)
    t = np.arange(len(kernel)) - len(kernel) // 2
    mean = (kernel * t).sum()
    assert kernel.sum() == pytest.approx(1)
    assert mean == pytest.approx(0.5, abs=0.1)
    assert (kernel * (t - mean) ** 3).sum() > 40  # a long tail to the right


def test_only_the_colour_slips():
    frame = np.full((64, 96, 3), 90, np.uint8)
    frame[:, 48:] = (160, 60, 60)
    (played,) = play(quiet_tape(chroma_delay=5.0, chroma_cutoff=0.1), frame)
    before = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb).astype(float)
    after = cv2.cvtColor(played, cv2.COLOR_RGB2YCrCb).astype(float)
    half = (before[32, 0] + before[32, -1]) / 2
    assert int(np.argmax(after[32, :, 1] > half[1])) == 53
    np.testing.assert_allclose(after[32, :, 0], before[32, :, 0], atol=4)


def test_streaks_lie_along_the_lines():
    noise = tape_signal.streaks(200, 300, 8.0, 1.0, np.random.default_rng(0))
    along = np.corrcoef(noise[:, :-3].ravel(), noise[:, 3:].ravel())[0, 1]
    across = np.corrcoef(noise[:-3].ravel(), noise[3:].ravel())[0, 1]
    assert noise.std() == pytest.approx(1, abs=1e-3)
    assert abs(noise.mean()) < 0.05
    assert along > 0.6
    assert abs(across) < 0.1


def test_a_line_is_shifted_to_the_right_by_its_offset():
    frame = picture(40, 60).astype(np.float32)
    offsets = np.zeros(40, np.float32)
    offsets[7], offsets[9] = 3, -2
    shifted = tape_signal.shift_lines(frame, offsets)
    np.testing.assert_allclose(shifted[7, 3:], frame[7, :-3], atol=0.01)
    np.testing.assert_allclose(shifted[9, :-2], frame[9, 2:], atol=0.01)
    np.testing.assert_allclose(shifted[8], frame[8], atol=0.01)


def test_wobble_is_smooth_jitter_is_not_and_fields_lie_apart():
    def offsets(**what):
        amounts = {"wobble": 0.0, "jitter": 0.0, "field_shift": 0.0} | what
        return tape_signal.line_offsets(576, rng=np.random.default_rng(0), **amounts)

    wobble, jitter = offsets(wobble=1.0), offsets(jitter=1.0)
    assert np.diff(wobble).std() < 0.2 * wobble.std()
    assert np.diff(jitter).std() > 1.2 * jitter.std()
    np.testing.assert_array_equal(offsets(field_shift=0.5)[:4], [0, 0.5, 0, 0.5])


def test_the_head_switch_tears_the_last_lines_of_a_frame_only():
    frame = picture(288, 352)
    degradation = quiet_tape(head_switch_lines=8, head_switch_reach=20.0)
    (played,) = play(degradation, frame)
    change = np.abs(played.astype(int) - frame).mean(axis=(1, 2))
    assert change[-4] > 5  # 8 of 576 lines are 4 of 288
    assert change[:-4].max() < 2


def test_a_crop_has_a_head_switch_only_if_it_was_drawn():
    def bottom(has):
        changes = {"head_switch_lines": 8, "head_switch_reach": 20.0, "tilt_degrees": 0.0}
        degradation = quiet_tape(source_px=256, is_head_switch_in_crop=has, **changes)
        (played,) = play(degradation, picture())
        return np.abs(played.astype(int) - picture()).mean(axis=(1, 2))[-8:].max()

    assert bottom(True) > 5
    assert bottom(False) < 2


def test_dropouts_are_short_and_bright():
    luma = np.zeros((100, 200), np.float32)
    tape_signal.add_dropouts(luma, 0.1, np.random.default_rng(0))
    rows = np.flatnonzero(luma.max(axis=1))
    assert 3 <= len(rows) <= 20
    assert (luma > 0).mean() < 0.02
    assert luma.max() > 40
    assert luma.min() == 0


def test_weave_takes_lines_in_turn():
    woven = tape_signal.weave(np.zeros((5, 4), np.float32), np.ones((5, 4), np.float32))
    np.testing.assert_array_equal(woven[:, 0], [0, 1, 0, 1, 0])


@pytest.mark.parametrize("height", [7, 8])
def test_bob_keeps_one_field_and_nothing_of_the_other(height):
    ramp = np.repeat(np.arange(height, dtype=np.float32)[:, None], 5, axis=1)
    combed = ramp.copy()
    combed[1::2] = 99
    whole = tape_signal.discard_lower_field(combed)
    kept = height - 1 + height % 2
    np.testing.assert_allclose(whole[:kept], ramp[:kept])
    assert whole.max() < height


@pytest.mark.parametrize("kind", [Deinterlacing.BOB, Deinterlacing.BLEND])
def test_a_deinterlacer_leaves_its_share_of_the_combing(kind):
    dark, light = (np.full((64, 80, 3), level, np.uint8) for level in (80, 160))

    def combing(residue):
        _, second = play(quiet_tape(deinterlacing=kind, comb_residue=residue), dark, light)
        middle = second[8:48, 20:60, 1].astype(int)
        return abs(middle[0::2] - middle[1::2]).mean()

    assert combing(0.0) < 1.5
    assert combing(0.5) == pytest.approx(40, abs=3)


def test_the_first_picture_has_the_motion_that_was_drawn():
    frame = np.full((64, 80, 3), 80, np.uint8)
    frame[:, 40:] = 160
    tape = quiet_tape(deinterlacing=Deinterlacing.BOB, comb_residue=1.0, motion_x=6.0, motion_y=0.0)
    (played,) = play(tape, frame)
    np.testing.assert_allclose(played[20, 42:44, 1], 160, atol=25)
    np.testing.assert_allclose(played[21, 42:44, 1], 80, atol=25)


def test_a_turned_crop_comes_back_in_its_place():
    image = picture()
    for tilt in (-12.0, 5.0, 12.0):
        tape = quiet_tape(tilt_degrees=tilt, source_px=160, up_filter="cubic")
        assert cv2.PSNR(image, play(tape, image)[0]) > 38


def test_the_codec_that_was_drawn_is_applied():
    frame = picture(120, 160)
    kept, coded = (
        play(quiet_tape(codec=c, quality=31), frame)[0] for c in (None, LossyCodec.MPEG2)
    )
    assert cv2.PSNR(frame, coded) < cv2.PSNR(frame, kept) - 5


def test_a_crop_is_turned_not_sheared():
    film_from_crop, side = _film_from_crop(256, 128, 10.0)
    linear = film_from_crop[:, :2]
    np.testing.assert_allclose(linear.T @ linear, 0.25 * np.eye(2), atol=1e-12)
    corners = np.array([[0, 0, 1], [255, 0, 1], [0, 255, 1], [255, 255, 1]]) @ film_from_crop.T
    assert corners.min() >= -0.5
    assert corners.max() <= side - 0.5
