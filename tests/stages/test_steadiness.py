"""The tracker on faces of known motion, seen by a detector that errs as the real one does."""

import numpy as np
import pytest

from tests.support.fakes import observation
from tests.support.motions import (
    CROP_SIZE,
    ENCOUNTERS,
    MOTIONS,
    RATE,
    NoisyDetector,
    encounter,
    film,
    film_of,
    jump,
    landmarks_of,
    observations_of,
    poses_of,
    wrong_identities,
)
from vidrestore.settings import DetectSettings, TrackSettings
from vidrestore.stages.track import track_faces

NUM_TICKS = 72


def follow(frames, every=3, lookahead=12):
    detect, track = DetectSettings(every=every), TrackSettings(lookahead=lookahead)
    return list(track_faces(frames, detect, track))


def errors(motion, every, width, lookahead=12, misses=0.0, outliers=0.0, cut=0):
    """Errors in a 512 pixel crop, (n, 5, 2): of detections joined by lines, and of tracks.

    Joined are the detections of each shot by itself; live the latest is held.
    """
    rng = np.random.default_rng([width, every])
    poses = poses_of(motion, width / 2.6, np.arange(NUM_TICKS) / RATE, 0.7)
    if cut:
        poses = jump(poses, cut, rng)
    truth, scale = landmarks_of(poses), (CROP_SIZE / np.exp(poses[:, 2]))[:, None, None]
    measured = observations_of(NoisyDetector(rng, misses, outliers), poses, every, cut)
    raw = np.empty((NUM_TICKS, 10))
    for shot in np.split(np.arange(NUM_TICKS), [cut] if cut else []):
        ticks = np.array([t for t in sorted(measured) if t in shot])
        for k, column in enumerate(np.reshape([measured[t] for t in ticks], (-1, 10)).T):
            latest = np.searchsorted(ticks, shot, side="right") - 1
            joined = np.interp(shot, ticks, column) if lookahead else column[latest]
            raw[shot, k] = joined
    items = follow(film_of(measured, NUM_TICKS, every, cut), every, lookahead)
    smooth = np.stack([i.tracks[0].landmarks for i in items])
    return (raw.reshape(-1, 5, 2) - truth) * scale, (smooth - truth) * scale


def jitter(error):
    return np.sqrt((np.diff(error, 2, axis=0) ** 2).sum(axis=2).mean())


def distance(error):
    return np.linalg.norm(error, axis=2).mean()


@pytest.mark.parametrize(
    ("motion", "every"), [*((m, 3) for m in MOTIONS), ("still", 1), ("talks", 1), ("shakes", 1)]
)
def test_jitter_falls_to_a_third_and_the_error_does_not_grow(motion, every):
    both = [errors(motion, every, width) for width in (40, 150)]
    raw, smooth = (np.concatenate(e) for e in zip(*both, strict=True))
    assert np.mean([jitter(s) for _, s in both]) <= np.mean([jitter(r) for r, _ in both]) / 3
    assert distance(smooth) <= distance(raw) + 0.3


@pytest.mark.parametrize(("motion", "every"), [("still", 1), ("shakes", 3), ("shakes", 1)])
def test_misses_and_outliers_leave_hardly_a_trace(motion, every):
    """Held against the same without, so that the outliers do not make it look easy."""
    both = [(errors(motion, every, w)[1], errors(motion, every, w, misses=0.05, outliers=0.04)[1])
            for w in (40, 150)]  # fmt: skip
    clean, smooth = (np.concatenate(e) for e in zip(*both, strict=True))
    assert np.mean([jitter(s) for _, s in both]) <= 1.6 * np.mean([jitter(c) for c, _ in both])
    assert distance(smooth) <= distance(clean) + 2


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("motion", ["still", "talks", "shakes"])
def test_the_error_at_a_cut_is_no_larger_than_unsmoothed(motion, every):
    raw, smooth = [], []
    for width, cut in ((40, 35), (80, 37), (150, 39), (300, 43)):
        pair = errors(motion, every, width, cut=cut)
        for kept, error in zip((raw, smooth), pair, strict=True):
            kept.append(distance(error[cut - 5 : cut + 5]))
    assert np.mean(smooth) <= np.mean(raw)


@pytest.mark.parametrize("motion", ["still", "glides", "talks"])
def test_nothing_shows_where_a_block_begins(motion):
    bends = [np.diff(errors(motion, 3, w, misses=0.05)[1], 2, axis=0) for w in (40, 80, 150)]
    squares = np.mean([(b**2).sum(axis=2).mean(axis=1) for b in bends], axis=0)
    tick = np.arange(1, NUM_TICKS - 1) % 12
    at_edge = (tick == 0) | (tick == 11)
    assert squares[at_edge].mean() <= 1.5 * squares[~at_edge].mean()


@pytest.mark.parametrize("motion", ["talks", "shakes"])
def test_live_tracking_at_every_frame_neither_trembles_nor_lags(motion):
    raw, smooth = errors(motion, 1, 80, lookahead=0)
    assert jitter(smooth) < 0.8 * jitter(raw)
    assert distance(smooth) <= distance(raw) + 0.3


def test_live_tracking_is_not_led_astray_by_outliers():
    raw, smooth = errors("talks", 1, 80, lookahead=0, misses=0.05, outliers=0.06)
    assert jitter(smooth) < 0.2 * jitter(raw)
    assert distance(smooth) <= distance(raw)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ENCOUNTERS)
def test_nobody_becomes_someone_else(kind, seed):
    meeting = encounter(kind, seed)
    frames = film(
        lambda tick: tuple(observation(p) for p in meeting.seen[tick] if p is not None),
        len(meeting.seen),
        3,
    )
    swapped, more = wrong_identities(meeting, follow(frames))
    assert swapped == 0
    assert more <= 0
