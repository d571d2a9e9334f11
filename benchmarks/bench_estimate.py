"""Measures how well a preview foretells time and size of the full run.

python benchmarks/bench_estimate.py [FILM ...] [--pairs 1] [--long SECONDS] [--json FILE]

Each pair previews a film without naming a range, then restores it whole, both as the command does.
A ratio is what the preview said over what the run took: starting and working, and the size of the
output. Given are all of them, and their medians for each film. Without a FILM it is the sample.
With ``--long`` each film is measured a second time, repeated until it is that long.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from films import repeated

from vidrestore import EncodeSettings, RestoreSettings, preview_video, restore_video
from vidrestore.report import describe_machine, describe_versions

SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "home-video.mp4"
SETTINGS = RestoreSettings(encode=EncodeSettings(overwrite=True))


def one_pair(film: Path, folder: Path) -> dict[str, Any]:
    """Preview a film and restore it; return what was said and what was so."""
    said = preview_video(film, folder / "preview.mp4", SETTINGS)
    report = restore_video(film, folder / "out.mp4", SETTINGS)
    seconds = float(report.timings["startup_seconds"]) + float(report.timings["wall_seconds"])
    num_bytes = (folder / "out.mp4").stat().st_size
    assert said.estimate is not None
    assert said.bytes_for_film is not None
    return {
        "clips": [clip.why for clip in said.clips],
        "basis": said.estimate.basis,
        "seconds_said": round(said.estimate.seconds, 1),
        "seconds": round(seconds, 1),
        "seconds_ratio": round(said.estimate.seconds / seconds, 3),
        "faces_per_frame": round(report.frames["faces"] / report.frames["written"], 2),
        "bytes_said": said.bytes_for_film,
        "bytes": num_bytes,
        "bytes_ratio": round(said.bytes_for_film / num_bytes, 3),
    }


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", nargs="*", type=Path, default=[SAMPLE])
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--long", type=float, help="seconds")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "machine": describe_machine(),
        "versions": describe_versions(),
        "films": {},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        restore_video(SAMPLE, folder / "out.mp4", SETTINGS)  # converts and caches the networks
        films = list(arguments.films)
        if arguments.long is not None:
            for film in arguments.films:
                longer = folder / f"{film.stem} repeated{film.suffix}"
                films.append(repeated(film, arguments.long, longer))
        for film in films:
            pairs = [one_pair(film, folder) for _ in range(arguments.pairs)]
            result["films"][film.name] = {
                "median_seconds_ratio": statistics.median(p["seconds_ratio"] for p in pairs),
                "median_bytes_ratio": statistics.median(p["bytes_ratio"] for p in pairs),
                "pairs": pairs,
            }
            print(film.name, json.dumps(result["films"][film.name], indent=2), flush=True)
            if arguments.json is not None:
                text = json.dumps(result, indent=2) + "\n"
                arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
