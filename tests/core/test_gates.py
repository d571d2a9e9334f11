"""What holds a face back, and how gently."""

import dataclasses

import cv2
import numpy as np
import pytest

from tests.support.fakes import landmarks_at
from tests.support.images import make_frame, textured_picture
from vidrestore.core.gates import (
    GATES,
    IDENTITY_TICKS,
    GateKeeper,
    Measures,
    measure_geometry,
    measure_pictures,
    warmup_ticks,
)

OPEN = Measures(100.0, 0.8, 1.0, 0.7, 1.5, -2.0, 0.99)
SIDE = 128
MASK = np.zeros((SIDE, SIDE), np.float32)
MASK[16:112, 16:112] = 1


def kept(changes, ticks=40):
    """Follow a face whose measures are OPEN but for changes: {tick: {name: value}}."""
    keeper, now, seen = GateKeeper(), OPEN, []
    for tick in range(ticks):
        now = dataclasses.replace(now, **changes.get(tick, {}))
        keeper.add(tick, now)
        seen.append(keeper.openness(tick))
    return seen


@pytest.mark.parametrize("name", list(GATES))
def test_each_gate_shuts_at_its_bound_and_says_why(name):
    gate = GATES[name]
    shut = kept({0: {name: gate.shut}})
    assert shut[-1] == (0.0, gate.reason)
    assert kept({0: {name: gate.open}})[-1] == (1.0, None)
    half, reason = kept({0: {name: (gate.shut + gate.open) / 2}})[-1]
    assert half == pytest.approx(0.5)
    assert reason == gate.reason


def test_one_odd_picture_shuts_nothing():
    assert kept({20: {"likeness": 0.1}, 21: {"likeness": 0.99}})[-20:] == [(1.0, None)] * 20


def test_a_measure_that_trembles_about_a_bound_moves_no_gate():
    gate = GATES["gain"]
    middle, width = (gate.shut + gate.open) / 2, gate.open - gate.shut
    noise = np.random.default_rng(3).normal(scale=0.05 * width, size=200)
    seen = kept({k: {"gain": middle + n} for k, n in enumerate(noise)}, 200)
    shares = np.array([s for s, _ in seen[30:]])
    trembling = np.abs(np.diff((middle + noise - gate.shut) / width))
    assert np.abs(np.diff(shares)).mean() < trembling.mean() / 8


def test_the_state_depends_on_a_bounded_past_alone():
    rng = np.random.default_rng(5)
    values = 1.2 + np.cumsum(rng.normal(scale=0.03, size=150))
    whole = kept({k: {"gain": v} for k, v in enumerate(values)}, 150)
    for start in (60, 71, 83):
        keeper = GateKeeper()
        for tick in range(start - warmup_ticks(), 150):
            keeper.add(tick, dataclasses.replace(OPEN, gain=values[tick]))
            if tick >= start:
                assert keeper.openness(tick) == whole[tick]


def test_what_the_first_picture_cannot_know_the_second_tells():
    keeper = GateKeeper()
    keeper.add(0, dataclasses.replace(OPEN, gain=float("nan")))
    assert keeper.openness(0) == (1.0, None)
    keeper.add(1, dataclasses.replace(OPEN, gain=0.5))
    assert keeper.openness(0) == (0.0, "already sharp")


def test_geometry_of_a_face_half_outside_the_picture():
    frame = make_frame(textured_picture(200, 160))
    points = np.array([[-20, 60], [20, 60], [0, 80], [-15, 100], [15, 100]], np.float32)
    crop_from_frame = np.array([[1, 0, SIDE / 2 - 0.5], [0, 1, SIDE / 2 - 80]])
    width, frontality, inside = measure_geometry(points, frame, crop_from_frame, MASK)
    assert width == 80
    assert frontality == pytest.approx(1)
    assert inside == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("share", "openness"), [(1.0, 1.0), (0.7, 1.0), (0.25, 0.0)])
def test_a_face_turned_far_away_is_not_shown(share, openness):
    frame = make_frame(textured_picture(200, 160))
    turned = (landmarks_at(0, 0, 20) * [share, 1] + [100, 80]).astype(np.float32)
    frontality = measure_geometry(turned, frame, np.eye(2, 3), MASK)[1]
    reason = None if openness == 1 else "turned away"
    assert kept({0: {"frontality": frontality}})[-1] == (openness, reason)


def test_identity_is_measured_once_in_each_stretch_of_the_grid():
    keeper, asked = GateKeeper(), []

    def measure():
        asked.append(True)
        return -len(asked) / 10

    ticks = [50, 51, IDENTITY_TICKS - 1, IDENTITY_TICKS, IDENTITY_TICKS + 5, 3 * IDENTITY_TICKS + 7]
    assert [keeper.identity_at(t, measure) for t in ticks] == [-0.1] * 3 + [-0.2] * 2 + [-0.3]


def face(seed=1):
    """A picture with features of all sizes, luma."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)).astype(np.float32), (0, 0), s) * s * 14
        for s in (1.0, 3.0, 8.0)
    ]
    return np.clip(128 + sum(layers), 0, 255).astype(np.float32)


def judged(film, restored, noise=0.0):
    return dict(
        zip(
            ("structure", "gain", "agreement", "likeness"),
            measure_pictures(film, restored, noise, MASK),
            strict=True,
        )
    )


def test_gain_tells_a_blurred_film_from_a_sharp_one():
    sharp = face()
    soft = cv2.GaussianBlur(sharp, (0, 0), 2)
    assert judged(soft, sharp)["gain"] > GATES["gain"].open
    assert judged(sharp, soft)["gain"] < GATES["gain"].shut
    assert np.isnan(judged(sharp, soft, None)["gain"])


def test_noise_is_not_taken_for_detail():
    soft = cv2.GaussianBlur(face(), (0, 0), 2)
    noisy = soft + np.random.default_rng(2).normal(scale=12, size=soft.shape).astype(np.float32)
    hidden = judged(noisy, face(), 0.0)["gain"]
    detail = noisy - cv2.GaussianBlur(noisy, (0, 0), 1.5)
    level = float(np.std(detail - (soft - cv2.GaussianBlur(soft, (0, 0), 1.5))))
    seen = judged(noisy, face(), level)["gain"]
    assert hidden < GATES["gain"].open < seen


def test_structure_falls_as_a_face_becomes_a_blot():
    values = [
        judged(cv2.GaussianBlur(face(), (0, 0), s), face())["structure"] for s in (0.5, 2, 4, 8)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] < GATES["structure"].shut < values[0]


def test_a_hand_that_was_painted_over_and_another_person_are_noticed():
    film = face()
    same = judged(film, cv2.GaussianBlur(film, (0, 0), 1))
    assert same["agreement"] > GATES["agreement"].open
    assert same["likeness"] > GATES["likeness"].open
    covered = film.copy()
    cv2.circle(covered, (70, 80), 20, 15, -1)
    assert judged(covered, film)["agreement"] < GATES["agreement"].shut
    assert judged(film, face(2))["likeness"] < GATES["likeness"].shut
