"""Times the whole path in several ways, in turn: as it is, on one thread, without steadying.

    python benchmarks/bench_pipeline.py [CLIP] [--rounds 3] [--json FILE]

Prints for each way wall seconds, frames a second, each stage's busy seconds, wall over the slowest
stage, and the ratio of its wall time to that of the default; medians of the rounds. What
steadiness costs is the wall time that goes when textures and gates are left out, and the busy
seconds of cuts and tracking, which cannot be left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vidrestore import BlendSettings, RestoreSettings, restore_video
from vidrestore.report import RestoreReport, describe_machine, describe_versions

SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "home-video.mp4"

DEFAULT, UNSTEADY = "default", "without steadying"
WAYS: Mapping[str, RestoreSettings] = MappingProxyType(
    {
        DEFAULT: RestoreSettings(),
        "one thread": RestoreSettings(overlap=False),
        UNSTEADY: RestoreSettings(blend=BlendSettings(temporal=0.0, gates=False)),
    }
)
_TRACKING = ("cuts", "track")


def run_once(clip: Path, folder: Path, settings: RestoreSettings) -> dict[str, Any]:
    """Restore a clip; return the timings of the report."""
    target = folder / "out.mp4"
    target.unlink(missing_ok=True)
    report: RestoreReport = restore_video(clip, target, settings)
    return report.timings


def summarise(timings: list[dict[str, Any]], default: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of one way, and of its ratios to the default."""
    busy = {
        stage["name"]: statistics.median(t["stages"][k]["busy_seconds"] for t in timings)
        for k, stage in enumerate(timings[0]["stages"])
    }
    wall = statistics.median(t["wall_seconds"] for t in timings)
    return {
        "wall_seconds": wall,
        "startup_seconds": statistics.median(t["startup_seconds"] for t in timings),
        "frames_per_second": statistics.median(t["frames_per_second"] for t in timings),
        "busy_seconds": busy,
        "wall_over_slowest_stage": wall / max(busy.values()),
        "wall_over_default": statistics.median(
            t["wall_seconds"] / d["wall_seconds"] for t, d in zip(timings, default, strict=True)
        ),
    }


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        run_once(arguments.clip, Path(folder), WAYS[DEFAULT])  # converts and caches the networks
        for _ in range(arguments.rounds):
            for name, settings in WAYS.items():
                runs[name].append(run_once(arguments.clip, Path(folder), settings))
    ways = {name: summarise(timings, runs[DEFAULT]) for name, timings in runs.items()}
    default = ways[DEFAULT]
    tracking = sum(default["busy_seconds"].get(name, 0.0) for name in _TRACKING)
    result = {
        "clip": arguments.clip.name,
        "machine": describe_machine(),
        "versions": describe_versions(),
        "rounds": arguments.rounds,
        "ways": ways,
        "cost_of_steadying": 1 - ways[UNSTEADY]["wall_over_default"],
        "cost_of_tracking": tracking / default["wall_seconds"],
    }
    print(json.dumps(result, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
