"""What it costs that a film grows in segments.

    python benchmarks/bench_segments.py [CLIP] [--seconds 60] [--pairs 3] [--json FILE]

The clip is repeated to the length asked for, packet by packet. Each pair restores it in segments as
usual and in a single one, in turns; given are medians of the pairs, and of the time that joining
takes. Whether memory grows with the film, ``bench_scaling.py --long`` measures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from films import repeated

from vidrestore import restore_video
from vidrestore.media.write import VideoWriter
from vidrestore.report import describe_machine, describe_versions

SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "home-video.mp4"


def run_once(film: Path, target: Path, in_segments: bool) -> tuple[float, float, int]:
    """Restore a film; return seconds in all, those of joining, and the number of segments."""
    joining = [0.0]
    join = VideoWriter._join

    def timed_join(*args: Any) -> None:  # noqa: ANN401
        begun = time.perf_counter()
        join(*args)
        joining[0] = time.perf_counter() - begun

    with ExitStack() as stack:
        stack.enter_context(patch.object(VideoWriter, "_join", timed_join))
        if not in_segments:
            for name in ("SHORTEST_SECONDS", "LONGEST_SECONDS"):
                stack.enter_context(patch(f"vidrestore.media.write.{name}", float("inf")))
        report = restore_video(film, target)
    target.unlink()
    num_segments = int(report.output["streams"][0]["num_segments"])
    return float(report.timings["wall_seconds"]), joining[0], num_segments


def main() -> None:
    """Run the pairs, then the long films, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "clip": arguments.clip.name,
        "machine": describe_machine(),
        "versions": describe_versions(),
        "pairs": arguments.pairs,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = repeated(arguments.clip, arguments.seconds, folder / "film.mp4")
        run_once(film, folder / "out.mp4", in_segments=True)  # converts and caches the networks
        pairs = []
        for k in range(arguments.pairs):
            ways = (True, False) if k % 2 == 0 else (False, True)
            pairs.append({way: run_once(film, folder / "out.mp4", way) for way in ways})
        if pairs:
            result["num_segments"] = pairs[0][True][2]
            result["segments_over_one"] = statistics.median(p[True][0] / p[False][0] for p in pairs)
            result["joining_share"] = statistics.median(p[True][1] / p[True][0] for p in pairs)
    print(json.dumps(result, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
