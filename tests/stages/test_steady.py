"""Steadying as a stage: texture over neighbouring frames, strength without steps."""

import dataclasses

import numpy as np
import pytest

from tests.support.fakes import FakeEmbedder
from tests.support.images import make_frame, textured_picture
from vidrestore.contracts import AlignedFace, FaceTrack, RestoredFace, RestoredFrame
from vidrestore.core import gates
from vidrestore.core.warping import crop_from_planes
from vidrestore.models.registry import Template, landmark_template
from vidrestore.settings import BlendSettings
from vidrestore.stages import steady
from vidrestore.stages.steady import FADE_FRAMES, steady_faces, warmup_ticks

SIZE = 64
TEMPLATE = landmark_template(Template.FFHQ, SIZE)
PICTURE = textured_picture(96, 80)
CROP_FROM_FRAME = np.array([[1.0, 0, -16], [0, 1, -8]])
CENTRE = np.s_[20:44, 20:44]
JUDGED, UNJUDGED = BlendSettings(), BlendSettings(gates=False)


def restored_frame(tick, noise=6.0, strength=1.0, is_cut=None, track_id=1, drawn=None, gone=False):
    """A still picture, and a face in it that the network draws differently each time."""
    frame = make_frame(PICTURE, tick=tick)
    crop = crop_from_planes(frame, CROP_FROM_FRAME, SIZE)
    rng = np.random.default_rng(tick)
    base = crop if drawn is None else drawn
    shown = np.clip(base + rng.normal(scale=noise, size=(SIZE, SIZE, 1)), 0, 255).round()
    landmarks = (TEMPLATE + np.array([16, 8])).astype(np.float32)
    track = FaceTrack(track_id, landmarks, None, 0.9, strength)
    face = RestoredFace(AlignedFace(track, crop, CROP_FROM_FRAME), shown.astype(np.uint8), strength)
    faces = () if gone else (face,)
    return RestoredFrame(frame, faces, is_cut=(tick == 0) if is_cut is None else is_cut)


def run(frames, settings=UNJUDGED, lookahead=12):
    return list(steady_faces(iter(frames), settings, TEMPLATE, SIZE, lookahead))


def strengths(frames):
    return [item.faces[0].strength if item.faces else 0.0 for item in frames]


def flicker(frames):
    """RMS distance from what the network draws on average, luma."""
    truth = crop_from_planes(make_frame(PICTURE), CROP_FROM_FRAME, SIZE)[CENTRE]
    errors = [f.faces[0].crop[CENTRE].mean(axis=2) - truth.mean(axis=2) for f in frames]
    return float(np.sqrt(np.square(errors).mean()))


def test_every_frame_comes_out_once_in_order_with_its_faces():
    frames = [restored_frame(k, gone=k % 5 == 3) for k in range(20)]
    out = run(frames)
    assert [item.frame for item in out] == [item.frame for item in frames]
    assert [len(item.faces) for item in out] == [len(item.faces) for item in frames]


@pytest.mark.parametrize(
    ("temporal", "lookahead", "share"),
    # averages of n pictures: 1/√5 = 0.45 of five, 1/√3 = 0.58 of three
    [(0.0, 12, 1.0), (0.5, 12, 0.68), (1.0, 12, 0.45), (1.0, 0, 0.58)],
)
def test_flicker_of_a_still_face_falls_with_the_setting(temporal, lookahead, share):
    settings = dataclasses.replace(UNJUDGED, temporal=temporal)
    frames = [restored_frame(k) for k in range(12)]
    out = run(frames, settings, lookahead)
    assert flicker(out[3:-3]) / flicker(frames[3:-3]) == pytest.approx(share, rel=0.12)


def test_without_averaging_and_gates_no_texture_is_worked_out(monkeypatch):
    monkeypatch.setattr(steady.Texture, "of", lambda *_: pytest.fail("work that nobody asked for"))
    frames = [restored_frame(k) for k in range(8)]
    out = run(frames, BlendSettings(temporal=0, gates=False))
    for before, after in zip(frames, out, strict=True):
        np.testing.assert_array_equal(before.faces[0].crop, after.faces[0].crop)
    assert strengths(out) == [1.0] * 8


def test_the_crop_outside_of_the_mask_and_the_film_s_crop_stay():
    frames = [restored_frame(k) for k in range(6)]
    out = run(frames)
    corner = np.s_[:2, :2]
    for before, after in zip(frames, out, strict=True):
        np.testing.assert_array_equal(before.faces[0].crop[corner], after.faces[0].crop[corner])
        assert after.faces[0].aligned is before.faces[0].aligned


def test_pictures_before_and_after_a_cut_never_mix():
    other = 255 - crop_from_planes(make_frame(PICTURE), CROP_FROM_FRAME, SIZE)
    both = [restored_frame(k) for k in range(6)]
    both += [restored_frame(6 + k, is_cut=k == 0, track_id=2, drawn=other) for k in range(6)]
    apart = run(both[:6]) + run(both[6:])
    for a, b in zip(run(both), apart, strict=True):
        np.testing.assert_array_equal(a.faces[0].crop, b.faces[0].crop)
        assert a.faces[0].strength == b.faces[0].strength == 1.0


def test_the_strength_of_a_face_never_jumps_but_at_a_cut():
    steps = [0.0 if k in range(10, 16) else 1.0 for k in range(30)]
    frames = [restored_frame(k, strength=s) for k, s in enumerate(steps)]
    frames[20:22] = [restored_frame(k, gone=True) for k in (20, 21)]
    seen = strengths(run(frames))
    assert seen[0] == 1.0
    assert min(seen) == 0.0
    assert np.abs(np.diff(seen[:20])).max() <= 1 / FADE_FRAMES + 1e-9
    assert seen[19] <= 1 - 1 / FADE_FRAMES + 1e-9  # about to vanish
    cut = [restored_frame(k, strength=float(k < 8), is_cut=k in (0, 8)) for k in range(16)]
    assert strengths(run(cut)) == [1.0] * 8 + [0.0] * 8


@pytest.mark.parametrize("every", [1, 5])
def test_a_face_that_fades_out_and_goes_leaves_no_step(every):
    fade = [1.0] * 6 + [5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    frames = [restored_frame(every * k, strength=s) for k, s in enumerate(fade)]
    frames += [restored_frame(every * k, gone=True) for k in range(len(fade), len(fade) + 5)]
    seen = strengths(run(frames))
    assert seen[0] == 1.0
    assert seen[-1] == 0.0
    assert np.abs(np.diff(seen)).max() <= 1 / FADE_FRAMES + 1e-9


def test_a_face_that_is_held_back_stays_so_up_to_a_long_pause():
    soft = np.full((SIZE, SIZE, 3), 128, np.uint8)
    frames = [restored_frame(k, noise=0, drawn=soft) for k in range(10)]
    frames.append(restored_frame(60, noise=0, drawn=soft, is_cut=True, track_id=2))
    assert strengths(run(frames, JUDGED))[:10] == [0.0] * 10


def test_pictures_far_apart_do_not_mix():
    frames = [restored_frame(8 * k) for k in range(6)]
    for a, b in zip(run(frames), run(frames[:4]), strict=False):
        if a.frame.tick <= 16:  # 24 is the last that both know to lie within reach
            np.testing.assert_array_equal(a.faces[0].crop, b.faces[0].crop)


def test_a_sharp_face_that_would_be_softened_is_left_alone_and_it_is_said():
    soft = np.full((SIZE, SIZE, 3), 128, np.uint8)
    frames = [restored_frame(k, noise=0, drawn=soft) for k in range(8)]
    out = run(frames, JUDGED)
    assert strengths(out) == [0.0] * 8
    assert {item.faces[0].held_back for item in out} <= {"already sharp", "not the same face"}
    assert strengths(run(frames)) == [1.0] * 8


def test_a_range_with_warmup_is_steadied_exactly_as_in_the_whole_film():
    rng = np.random.default_rng(1)
    crop = crop_from_planes(make_frame(PICTURE), CROP_FROM_FRAME, SIZE)
    gains = 1 + 0.3 * np.sin(np.arange(140) / 9) + rng.normal(scale=0.05, size=140)

    def frame(tick):
        mean = crop.mean()
        drawn = np.clip(mean + gains[tick] * (crop - mean), 0, 255)
        return restored_frame(tick, noise=1.0, drawn=drawn, gone=tick in (50, 51, 97))

    whole = run([frame(k) for k in range(140)], JUDGED)
    assert np.std(strengths(whole)) > 0.05
    before, after = warmup_ticks()
    for start, stop in ((60, 75), (83, 90)):
        part = run([frame(k) for k in range(start - before, stop + after)], JUDGED)
        for a, b in zip(part[before : before + stop - start], whole[start:stop], strict=True):
            assert strengths([a]) == strengths([b])
            for x, y in zip(a.faces, b.faces, strict=True):
                np.testing.assert_array_equal(x.crop, y.crop)


def test_frames_wait_for_two_more_at_most():
    given = []

    def source():
        for k in range(10):
            given.append(k)
            yield restored_frame(k)

    for k, _ in enumerate(steady_faces(source(), UNJUDGED, TEMPLATE, SIZE, 12)):
        assert len(given) <= k + 3
    given.clear()
    for k, _ in enumerate(steady_faces(source(), UNJUDGED, TEMPLATE, SIZE, 0)):
        assert len(given) == k + 1


@pytest.mark.parametrize(("levels", "shown"), [(10, 1.0), (80, 0.0)])
def test_a_face_that_becomes_another_person_s_is_held_back(levels, shown, monkeypatch):
    """For the fake, brightness is the person; the other gates are not asked."""
    monkeypatch.setattr(steady, "measure_pictures", lambda *_: (0.7, 1.5, -2.0, 0.99))
    crop = crop_from_planes(make_frame(PICTURE), CROP_FROM_FRAME, SIZE)
    drawn = np.clip(crop.astype(int) // 2 + levels, 0, 255)
    film = dataclasses.replace
    embedder, frames = FakeEmbedder(), []
    for k in range(8):
        item = restored_frame(k, noise=0, drawn=drawn)
        face = item.faces[0]
        aligned = film(face.aligned, crop=crop // 2)
        frames.append(film(item, faces=(film(face, aligned=aligned),)))
    out = list(steady_faces(iter(frames), JUDGED, TEMPLATE, SIZE, 12, embedder))
    assert strengths(out) == [shown] * 8
    assert out[-1].faces[0].held_back == (None if shown else "not the same face")
    assert embedder.num_asked == 2


def test_a_range_with_warmup_is_judged_by_the_same_identity_as_the_whole_film(monkeypatch):
    monkeypatch.setattr(gates, "IDENTITY_TICKS", 48)

    class Trembling(FakeEmbedder):
        """Asked for film and result in turn; how far they are apart is another for each picture."""

        def describe(self, chip):
            self.num_asked += 1
            rng = np.random.default_rng(int(chip.astype(int).sum()))
            return np.array([0.0 if self.num_asked % 2 else rng.uniform(0.5, 0.6)])

    def judged(first, last):
        frames = (restored_frame(k, noise=6.0) for k in range(first, last))
        return list(steady_faces(frames, settings, TEMPLATE, SIZE, 12, Trembling()))

    settings = dataclasses.replace(JUDGED, temporal=0.0)
    monkeypatch.setattr(steady, "measure_pictures", lambda *_: (0.7, 1.5, -2.0, 0.99))
    before, after = warmup_ticks(with_identity=True)
    start, stop = 92, 96  # what was measured at tick 48 holds until tick 96
    whole, part = judged(0, stop + after), judged(start - before, stop + after)
    shown = strengths(whole[start:stop])
    assert 0 < min(shown) <= max(shown) < 1
    assert strengths(part[before : before + stop - start]) == shown
