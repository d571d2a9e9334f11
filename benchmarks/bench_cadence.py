"""What it costs in accuracy, and saves in time, to look for faces in every n-th frame only.

    python benchmarks/bench_cadence.py [--every 1 2 3 4 5 6 7 8 9 10] [--frames 100] [--json [FILE]]

A portrait moves on known paths over a wall at 640x480 (``moving_faces.py``), with grain. Its place,
after tracking and smoothing, is held against the truth by the overlap of boxes, intersection over
union; the box is the middle 60 % of the aligned crop, which holds the face. The loss is that to
looking at every frame. The time is that of decoding, searching and tracking.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import json_option, print_table, write_result
from moving_faces import PATHS, RATE, Clip, aligned_faces, film, write_film

from vidrestore import RestoreSettings
from vidrestore.contracts import FaceDetector, Points, RGBImage
from vidrestore.core.geometry import similarity_transform, transform_points
from vidrestore.jobs.networks import choose_models, loaded_detector
from vidrestore.media.read import VideoReader
from vidrestore.models.registry import Template, landmark_template
from vidrestore.settings import DetectSettings, TrackSettings
from vidrestore.stages.detect import detect_faces
from vidrestore.stages.track import track_faces

MOVES = ("drift", "sway", "shake", "zoom")
SIDE = 256
GRAIN_SIGMA = 4.0


def box_of(landmarks: Points) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the box that belongs to five landmarks."""
    frame_from_crop = similarity_transform(landmark_template(Template.FFHQ, SIDE), landmarks)
    assert frame_from_crop is not None
    low, high = 0.2 * SIDE, 0.8 * SIDE
    corners = np.array([[low, low], [high, low], [high, high], [low, high]])
    placed = transform_points(frame_from_crop, corners)
    return (*placed.min(axis=0).tolist(), *placed.max(axis=0).tolist())


def overlap(a: Points, b: Points) -> float:
    """Return intersection over union of the boxes of two faces."""
    (a0, a1, a2, a3), (b0, b1, b2, b3) = box_of(a), box_of(b)
    inside = max(0.0, min(a2, b2) - max(a0, b0)) * max(0.0, min(a3, b3) - max(a1, b1))
    return inside / ((a2 - a0) * (a3 - a1) + (b2 - b0) * (b3 - b1) - inside)


def follow(path: Path, clip: Clip, every: int, detector: FaceDetector) -> tuple[list[float], float]:
    """Return the overlap in each frame, 0 where nothing was found, and the seconds it took."""
    settings = DetectSettings(every=every)
    overlaps = []
    with VideoReader(path) as reader:
        begun = time.perf_counter()
        seen = detect_faces(reader.frames(), detector, settings)
        for item, truth in zip(
            track_faces(seen, settings, TrackSettings()), clip.landmarks, strict=True
        ):
            shown = [track.landmarks for track in item.tracks if track.strength > 0]
            overlaps.append(max((overlap(points, truth) for points in shown), default=0.0))
        seconds = time.perf_counter() - begun
    return overlaps, seconds


def grainy(frames: list[RGBImage]) -> list[RGBImage]:
    """Add grain."""
    rng = np.random.default_rng(0)
    grain = rng.normal(0, GRAIN_SIGMA, (7, *frames[0].shape))
    return [
        np.clip(np.rint(frame + grain[k % len(grain)]), 0, 255).astype(np.uint8)
        for k, frame in enumerate(frames)
    ]


def rows_of(overlaps: dict[int, list[float]], seconds: dict[int, float]) -> list[dict[str, Any]]:
    """Sum up each cadence."""
    best = float(np.mean(overlaps[min(overlaps)]))
    return [
        {
            "every": every,
            "mean_iou": float(np.mean(values)),
            "iou_loss": best - float(np.mean(values)),
            "worst_5_percent_iou": float(np.percentile(values, 5)),
            "frames_without_face": sum(value == 0 for value in values),
            "ms_a_frame": 1e3 * seconds[every] / len(values),
        }
        for every, values in overlaps.items()
    ]


def main() -> None:
    """Follow all clips at all cadences and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, nargs="+", default=list(range(1, 11)))
    parser.add_argument("--frames", type=int, default=100)
    json_option(parser, "cadence")
    arguments = parser.parse_args()
    overlaps: dict[int, list[float]] = {every: [] for every in sorted(arguments.every)}
    seconds = dict.fromkeys(overlaps, 0.0)
    defaults = RestoreSettings()
    with (
        tempfile.TemporaryDirectory() as folder,
        loaded_detector(choose_models(defaults.model), defaults.model, defaults.detect) as found,
    ):
        detector = found[0]
        (portrait,) = aligned_faces(None, detector, 1)
        for seed, move in enumerate(MOVES):
            clip = film(portrait, PATHS[move](np.arange(arguments.frames) / RATE), detector, seed)
            path = write_film(Path(folder) / f"{move}.mkv", grainy(clip.frames))
            for every in overlaps:
                values, taken = follow(path, clip, every, detector)
                overlaps[every] += values
                seconds[every] += taken
            print(f"{move}: done", flush=True)
    rows = rows_of(overlaps, seconds)
    print_table(rows)
    result = {"moves": MOVES, "frames_of_each": arguments.frames, "rows": rows}
    write_result(arguments.json, "overlap with the truth by cadence of the detector", result)


if __name__ == "__main__":
    main()
