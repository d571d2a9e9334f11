"""Makes the tables of docs/BENCHMARKS.md from the results of the scripts.

    python benchmarks/tables.py [--write docs/BENCHMARKS.md]

Without --write it prints them. With it, what stands between ``<!-- table NAME -->`` and
``<!-- end -->`` in the page is replaced; NAME is that of a file in ``benchmarks/results``, without
its suffix. A result that is not there yet leaves the words "not measured yet".
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Result = Mapping[str, Any]
_MARKED = re.compile(r"(<!-- table (?P<name>[\w-]+) -->\n).*?(?=<!-- end -->)", re.DOTALL)
NOT_MEASURED = "not measured yet\n"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown: words to the left, the other columns to the right."""
    ends = ["---", *["---:"] * (len(head) - 1)]
    lines = [head, ends, *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def machine_line(result: Result) -> str:
    """Return the sentence that says where and when a result was measured."""
    machine, versions = result["machine"], result["versions"]
    names = ", ".join(f"{name} {versions[name]}" for name in ("torch", "openvino", "av"))
    load = machine.get("load_average_1min")
    return (
        f"\n{machine['processor']}, {machine['cores']} cores, {machine['system']}, load {load}, "
        f"{result['date']}; {names}.\n"
    )


def network_table(result: Result) -> str:
    """Return what ``vidrestore bench network`` measured."""
    rows: list[Sequence[object]] = [
        ("official form, torch fp32", 1, f"{result['reference_ms']:.1f}", "1.0", "1.0", "")
    ]
    for row in result["rows"]:
        near = row["psnr_to_fp32_db"]
        rows.append(
            (
                f"{row['runtime']} {row['precision']}",
                row["batch"],
                f"{row['ms_per_face']:.1f}",
                f"{row['times_reference']:.1f}",
                f"{row['times_reference_by_cpu']:.1f}",
                "" if near is None else f"{near:.1f}",
            )
        )
    head = ("way", "batch", "ms a face", "times as fast", "by processor time", "dB to fp32")
    return table(head, rows)


def film_table(result: Result) -> str:
    """Return what ``vidrestore bench CLIP`` measured."""
    rows = [
        (s["name"], f"{s['busy_ms']:.2f}", f"{s['waiting_ms']:.2f}", f"{s['busy_share']:.0%}")
        for s in result["stages"]
    ]
    faces = result["ms_per_face"]
    memory = result["peak_memory_bytes"]
    cold, warm = result["cold_start_seconds"], result["warm_start_seconds"]
    facts = [
        f"{result['frames_per_second']:.1f} frames/s",
        f"{result['real_time_factor']:.2f} times real time",
        *([] if faces is None else [f"{faces:.1f} ms a face"]),
        f"wall over slowest stage {result['wall_over_slowest_stage']:.2f}",
        f"cores busy {result['cores_busy_share']:.0%}",
        *([] if memory is None else [f"at most {memory / 1e6:.0f} MB"]),
        f"start {cold:.1f} s cold, {warm:.1f} s warm",
    ]
    text = table(("stage", "busy, ms a frame", "waiting", "busy of wall"), rows)
    return f"{text}\n{'; '.join(facts)}.\n"


def end_to_end_table(result: Result) -> str:
    """Return what ``bench_end_to_end.py`` measured."""
    rows = [
        (
            row["model"],
            f"{row['ours_ms_a_frame']:.0f}",
            f"{row['plain_loop_ms_a_frame']:.0f}",
            f"{row['times_as_fast']:.1f}",
            f"{row['wall_over_slowest_stage']:.2f}",
        )
        for row in result["rows"]
    ]
    head = ("model", "ours, ms a frame", "plain loop", "times as fast", "wall over slowest stage")
    return table(head, rows)


def scaling_table(result: Result) -> str:
    """Return what ``bench_scaling.py`` measured."""
    rows = [
        (
            row["series"],
            row["size"],
            row["faces"],
            f"{row['frames_per_second']:.1f}",
            f"{row['ms_a_frame']:.1f}",
            f"{row['wall_over_slowest_stage']:.2f}",
            f"{row['peak_memory_mb']:.0f}",
        )
        for row in result["rows"]
    ]
    head = (
        "film", "size", "faces", "frames/s", "ms a frame", "wall over slowest stage",
        "peak memory, MB",
    )  # fmt: skip
    text = table(head, rows)
    ratio = result.get("memory_10_min_over_1_min")
    return text if ratio is None else f"{text}\nMemory of 10 min over that of 1 min: {ratio:.3f}.\n"


def cadence_table(result: Result) -> str:
    """Return what ``bench_cadence.py`` measured."""
    rows = [
        (
            row["every"],
            f"{row['mean_iou']:.3f}",
            f"{row['iou_loss']:.3f}",
            f"{row['worst_5_percent_iou']:.3f}",
            row["frames_without_face"],
            f"{row['ms_a_frame']:.1f}",
        )
        for row in result["rows"]
    ]
    head = ("every", "IoU", "loss", "worst 5 %", "frames without face", "ms a frame")
    return table(head, rows)


def passthrough_table(result: Result) -> str:
    """Return what ``bench_passthrough.py`` measured."""
    rows = [
        ("ours", f"{result['ours_frames_per_second']:.1f}", f"{result['ours_over_transcode']:.2f}"),
        ("plain transcode", f"{result['transcode_frames_per_second']:.1f}", "1.00"),
    ]
    return table(("", "frames/s", "ratio of the pairs"), rows)


def detector_table(result: Result) -> str:
    """Return what ``bench_detector.py`` measured."""
    rows = [
        (size, name, f"{ms['median']:.1f}", f"{found['median_of_paired_ratios'][name]:.1f}")
        for size, found in result["sizes"].items()
        for name, ms in found["milliseconds"].items()
    ]
    return table(("size", "way", "ms a frame", "times as fast"), rows)


MAKERS: Mapping[str, Callable[[Result], str]] = {
    "network-lite-256": network_table,
    "network-gpen-256": network_table,
    "network-gpen-512": network_table,
    "detector": detector_table,
    "film-sample": film_table,
    "end-to-end": end_to_end_table,
    "passthrough": passthrough_table,
    "scaling": scaling_table,
    "cadence": cadence_table,
}


def made(name: str, folder: Path) -> str:
    """Return one table and where it was measured."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return NOT_MEASURED
    result = json.loads(path.read_text(encoding="utf-8"))
    return MAKERS[name](result) + machine_line(result)


def filled(page: str, folder: Path) -> str:
    """Return a page with every marked table made anew."""
    return _MARKED.sub(lambda found: found[1] + made(found["name"], folder), page)


def main() -> None:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.write is not None:
        page = arguments.write.read_text(encoding="utf-8")
        arguments.write.write_text(filled(page, arguments.results), encoding="utf-8")
        return
    for name in MAKERS:
        print(f"## {name}\n\n{made(name, arguments.results)}")


if __name__ == "__main__":
    main()
