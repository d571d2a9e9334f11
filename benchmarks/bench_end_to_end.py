"""A whole film, ours against a plain loop over its frames, with the same weights and cores.

    python benchmarks/bench_end_to_end.py --weights-dir FOLDER [--json [FILE]]
        [--models gpen-bfr-256 gpen-bfr-512] [--pairs 3] [--seconds 6]

FOLDER holds facexlib's detection_mobilenet0.25_Final.pth. The film is 720x576 with one face; the
networks have random weights. Each pair runs both ways; given is the median of the pairs' ratios
of seconds a frame. Starting is left out on both sides, and the plain loop sees fewer frames,
because it takes the same time for each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from films import RATE, Scene, make_film
from measuring import (
    json_option,
    print_table,
    restored,
    with_random_weights,
    write_result,
)
from naive_loop import NaiveLoop

from vidrestore.benchmark.rounds import paired_ratio

NAIVE_FRAMES = {256: 25, 512: 8}
"""By the model's size: some seconds."""


def seconds_a_frame_plainly(loop: NaiveLoop, film: Path, num_frames: int) -> float:
    """Run the plain loop."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        num_faces = loop.run(film, Path(folder) / "out.mp4", num_frames, Path(folder))
        seconds = time.perf_counter() - begun
    if num_faces != num_frames:
        raise SystemExit(f"the plain loop found {num_faces} faces in {num_frames} frames")
    return seconds / num_frames


def measure(model: str, film: Path, folder: Path, weights_dir: Path, pairs: int) -> dict[str, Any]:
    """Run the pairs of one model."""
    settings = with_random_weights(model, folder, weights_dir)
    loop = NaiveLoop(model, weights_dir)
    num_frames = NAIVE_FRAMES[int(model.rpartition("-")[2])]
    target = folder / "ours.mp4"
    seconds_a_frame_plainly(loop, film, 1)  # to warm up
    report = restored(film, target, settings)
    ours, plainly, over_slowest = [], [], []
    for _ in range(pairs):
        plainly.append(seconds_a_frame_plainly(loop, film, num_frames))
        report = restored(film, target, settings)
        written = report.frames["written"]
        if report.frames["painted"] < 0.9 * written:
            raise SystemExit(f"only {report.frames['painted']} of {written} frames were restored")
        wall = float(report.timings["wall_seconds"])
        ours.append(wall / written)
        busy = [stage["busy_seconds"] for stage in report.timings["stages"]]
        over_slowest.append(wall / max(busy))
    return {
        "model": model,
        "ours_ms_a_frame": 1e3 * float(np.median(ours)),
        "plain_loop_ms_a_frame": 1e3 * float(np.median(plainly)),
        "times_as_fast": paired_ratio(plainly, ours),
        "wall_over_slowest_stage": float(np.median(over_slowest)),
        "slowest_stage": report.timings["slowest_stage"],
        "plain_loop_frames": num_frames,
        "runs_as": report.models["restorer"]["runs_as"],
    }


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights-dir", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["gpen-bfr-256", "gpen-bfr-512"])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    json_option(parser, "end-to-end")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = make_film(Scene(seconds=arguments.seconds), folder / "film.mp4")
        rows = [
            measure(model, film, folder, arguments.weights_dir, arguments.pairs)
            for model in arguments.models
        ]
    print_table([{k: v for k, v in row.items() if k != "runs_as"} for row in rows])
    result = {
        "pairs": arguments.pairs,
        "frames": round(arguments.seconds * RATE),
        "size": "720x576",
        "rows": rows,
    }
    write_result(arguments.json, "a film, ours against a plain loop over its frames", result)


if __name__ == "__main__":
    main()
