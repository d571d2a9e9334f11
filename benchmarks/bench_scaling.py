"""How speed and memory go with the number of faces, the size of the picture and the film's length.

    python benchmarks/bench_scaling.py [--model auto] [--seconds 10] [--long] [--json [FILE]]

Faces: 0, 1, 2, 5 and 10 of the same size, at 720x576. Sizes: 480p, 576p, 1080p and 2160p, one face
that grows with the picture. Lengths: 10 s, 1 min and, with --long, 10 min, at 720x576 with one
face, made of one clip again and again. Every run has a process of its own, so that its peak of
memory is its own. No gate holds a face back. The film of 2160p is 4 s long.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from films import Scene, make_film, repeated
from measuring import json_option, print_table, restored_apart, write_result

from vidrestore.settings import BlendSettings, ModelSettings, RestoreSettings

FACES = (0, 1, 2, 5, 10)
SHARE_OF_TEN = 0.26
"""Of the picture's height that a portrait takes where ten must fit."""
SIZES = {"480p": (854, 480), "576p": (720, 576), "1080p": (1920, 1080), "2160p": (3840, 2160)}
SECONDS_AT_2160P = 4.0


def row_of(series: str, film: Path, scene: Scene, settings: RestoreSettings) -> dict[str, Any]:
    """Restore a film and sum up what it took."""
    report = restored_apart(film, film.with_name("out.mp4"), settings)
    frames, timings = report.frames, report.timings
    expected = frames["written"] * scene.num_faces
    if not 0.9 * expected <= frames["faces"] <= expected:
        raise SystemExit(f"{series}: {frames['faces']} faces restored instead of {expected}")
    busy = {stage["name"]: stage["busy_seconds"] for stage in timings["stages"]}
    wall = float(timings["wall_seconds"])
    row = {
        "series": series,
        "faces": scene.num_faces,
        "size": f"{scene.width}x{scene.height}",
        "frames": frames["written"],
        "frames_per_second": frames["written"] / wall,
        "ms_a_frame": 1e3 * wall / frames["written"],
        "slowest_stage": timings["slowest_stage"],
        "wall_over_slowest_stage": wall / max(busy.values()),
        "peak_memory_mb": timings["peak_memory_bytes"] / 1e6,
    }
    print(f"{series}: {row['frames_per_second']:.1f} frames/s", flush=True)
    return row


def by_faces(folder: Path, seconds: float, settings: RestoreSettings) -> list[dict[str, Any]]:
    """Measure films of the same size with more and more faces."""
    rows = []
    for count in FACES:
        scene = Scene(num_faces=count, seconds=seconds, portrait_share=SHARE_OF_TEN)
        film = make_film(scene, folder / "faces.mp4")
        name = f"{count} face{'s' * (count != 1)}"
        rows.append(row_of(name, film, scene, settings))
    return rows


def by_size(folder: Path, seconds: float, settings: RestoreSettings) -> list[dict[str, Any]]:
    """Measure larger and larger pictures."""
    rows = []
    for name, (width, height) in SIZES.items():
        length = min(seconds, SECONDS_AT_2160P) if name == "2160p" else seconds
        scene = Scene(width, height, seconds=length)
        film = make_film(scene, folder / "size.mp4")
        rows.append(row_of(name, film, scene, settings))
    return rows


def by_length(
    folder: Path, seconds: float, lengths: list[float], settings: RestoreSettings
) -> list[dict[str, Any]]:
    """Measure one clip again and again."""
    scene = Scene(seconds=seconds)
    clip = make_film(scene, folder / "clip.mp4")
    rows = []
    for length in lengths:
        film = repeated(clip, length, folder / "long.mp4")
        rows.append(row_of(f"{length:.0f} s", film, scene, settings))
    return rows


def main() -> None:
    """Run all series and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="auto")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--long", action="store_true", help="also ten minutes")
    json_option(parser, "scaling")
    arguments = parser.parse_args()
    settings = RestoreSettings(
        model=ModelSettings(name=arguments.model), blend=BlendSettings(gates=False)
    )
    seconds = arguments.seconds
    lengths = [seconds, 6 * seconds, *([60 * seconds] if arguments.long else [])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lengths_rows = by_length(folder, seconds, lengths, settings)
        rows = [
            *by_faces(folder, seconds, settings),
            *by_size(folder, seconds, settings),
            *lengths_rows,
        ]
    print_table(rows)
    result: dict[str, Any] = {"model": arguments.model, "rows": rows}
    if arguments.long:
        _, minute, ten_minutes = (row["peak_memory_mb"] for row in lengths_rows)
        result["memory_10_min_over_1_min"] = ten_minutes / minute
        print(f"memory of the longest film over a tenth of it: {ten_minutes / minute:.3f}")
    write_result(arguments.json, "speed and memory by faces, size and length", result)


if __name__ == "__main__":
    main()
