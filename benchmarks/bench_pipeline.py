"""Times the whole path, stage by stage, with and without overlap, paired in one run.

    python benchmarks/bench_pipeline.py [CLIP] [--pairs 3] [--json FILE]

Prints wall seconds, frames a second, wall over the slowest stage, and the ratio of the two ways;
medians of the pairs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from vidrestore import RestoreSettings, restore_video
from vidrestore.report import RestoreReport, describe_machine, describe_versions

SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "home-video.mp4"


def run_once(clip: Path, folder: Path, overlap: bool) -> RestoreReport:
    """Restore a clip with the default settings."""
    settings = dataclasses.replace(RestoreSettings(), overlap=overlap)
    target = folder / f"out-{overlap}.mp4"
    target.unlink(missing_ok=True)
    return restore_video(clip, target, settings)


def summarise(reports: list[RestoreReport]) -> dict[str, Any]:
    """Return the medians over runs."""
    timings = [r.timings for r in reports]
    names = [s["name"] for s in timings[0]["stages"]]
    busy = {
        name: statistics.median(
            next(s["busy_seconds"] for s in t["stages"] if s["name"] == name) for t in timings
        )
        for name in names
    }
    wall = statistics.median(t["wall_seconds"] for t in timings)
    return {
        "wall_seconds": wall,
        "startup_seconds": statistics.median(t["startup_seconds"] for t in timings),
        "frames_per_second": statistics.median(t["frames_per_second"] for t in timings),
        "busy_seconds": busy,
        "wall_over_slowest_stage": wall / max(busy.values()),
    }


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runs: dict[bool, list[RestoreReport]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        run_once(arguments.clip, Path(folder), overlap=True)  # converts and caches the networks
        for _ in range(arguments.pairs):
            for overlap in (True, False):
                runs[overlap].append(run_once(arguments.clip, Path(folder), overlap))
    result = {
        "clip": arguments.clip.name,
        "frames": runs[True][0].frames,
        "machine": describe_machine(),
        "versions": describe_versions(),
        "pairs": arguments.pairs,
        "overlap": summarise(runs[True]),
        "one_thread": summarise(runs[False]),
        "one_thread_over_overlap": statistics.median(
            b.timings["wall_seconds"] / a.timings["wall_seconds"]
            for a, b in zip(runs[True], runs[False], strict=True)
        ),
    }
    print(json.dumps(result, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
