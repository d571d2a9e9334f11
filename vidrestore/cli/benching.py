"""The commands that measure speed: a film, stage by stage, and the restoring network."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from vidrestore.cli.console import ProgressBar, complain, say, talking
from vidrestore.cli.ending import leave_hanging
from vidrestore.cli.options import (
    EXPERT,
    MAIN,
    OUTPUT,
    ModelOptions,
    RangeOptions,
    RestoreOptions,
    TalkOptions,
)
from vidrestore.cli.report_file import write_report
from vidrestore.errors import OutputError, SettingsError

if TYPE_CHECKING:  # these load PyTorch, which --help does not need
    from vidrestore.benchmark.film import FilmBench
    from vidrestore.benchmark.network import NetworkBench
    from vidrestore.contracts import RGBImage

bench_app = App(
    name="bench",
    help="Measure speed on this machine: a film (take a short one, or a part), or a network.",
    help_format="plaintext",
)

JsonOut = Annotated[Path | None, Parameter(name="--json", group=OUTPUT, help="Write the numbers.")]

_DASH = "-"


@bench_app.default
def bench(
    clip: Annotated[Path, Parameter(name="CLIP", help="A film; it is only read.")],
    /,
    *,
    runs: Annotated[int, Parameter(group=MAIN, help="How often; the median run counts.")] = 3,
    json_out: JsonOut = None,
    span: RangeOptions | None = None,
    model: ModelOptions | None = None,
    options: RestoreOptions | None = None,
    talk: TalkOptions | None = None,
) -> int:
    """Restore a film into nothing, and say where the time goes.

    Take a short film, or a part of one (--start, --end). All options of a run hold.
    """
    from vidrestore.benchmark.film import bench_film

    options = options or RestoreOptions()
    if options.report is not None:
        raise SettingsError("--report is of a run: use --json")
    settings = options.settings(
        (span or RangeOptions()).span(), (model or ModelOptions()).settings()
    )
    _check_json(json_out, clip)
    with (
        talking(talk or TalkOptions(quiet=True)),
        ProgressBar(talk is not None and talk.quiet) as progress,
    ):
        found = bench_film(
            clip, settings, num_runs=runs, on_progress=progress, on_hang=leave_hanging
        )
    _write_json(json_out, found.to_plain())
    say("\n".join(film_lines(found)))
    return 0


@bench_app.command
def network(
    *,
    random_weights: Annotated[
        bool,
        Parameter(
            group=MAIN, negative="", show_default=False, help="Only the shape; no file is needed."
        ),
    ] = False,
    compilers: Annotated[
        bool,
        Parameter(
            group=MAIN, negative="", show_default=False, help="Also torch-compile and tensorrt."
        ),
    ] = False,
    rounds: Annotated[int, Parameter(group=MAIN, help="Times everything so often, in turns.")] = 7,
    faces: Annotated[
        Path | None,
        Parameter(group=EXPERT, help="Folder of aligned faces: how near is each to fp32?"),
    ] = None,
    json_out: JsonOut = None,
    model: ModelOptions | None = None,
    talk: TalkOptions | None = None,
) -> int:
    """Time a restoring model in every runtime, precision and batch.

    --runtime and --precision pick one of them; all are measured against the official formulation.
    """
    from vidrestore.benchmark.network import bench_network

    settings = (model or ModelOptions()).settings()
    _check_json(json_out, None)
    with talking(talk or TalkOptions(quiet=True)):
        found = bench_network(
            settings,
            random_weights=random_weights,
            with_compilers=compilers,
            num_rounds=rounds,
            faces=() if faces is None else _read_faces(faces),
            on_round=None if talk is not None and talk.quiet else _say_round,
        )
    _write_json(json_out, found.to_plain())
    say("\n".join(network_lines(found)))
    for reason in found.left_out:
        complain(f"left out: {reason}")
    return 0


def film_lines(found: FilmBench) -> list[str]:
    """Return what ``bench CLIP`` prints, as lines."""
    from vidrestore.jobs.space import as_size

    clip, frames = found.clip, found.frames
    rows = [
        (
            stage.name,
            f"{stage.busy_ms:.2f}",
            f"{stage.waiting_ms:.2f}",
            f"{stage.busy_share:.0%}",
            str(stage.num_items),
        )
        for stage in found.stages
    ]
    peaks = [
        f"{what} {_DASH if size is None else as_size(size)}"
        for what, size in (
            ("memory", found.peak_memory_bytes),
            ("memory of the device", found.peak_device_bytes),
        )
    ]
    faces = "no faces"
    if found.ms_per_face is not None:
        faces = f"{found.ms_per_face:.2f} ms a face ({found.network_ms_per_face:.2f} in restore)"
    return [
        f"{clip['name']}: {clip['width']}x{clip['height']}, {frames['written']} frames, "
        f"{frames['faces']} faces; {len(found.all_wall_seconds)} runs, the median one:",
        *_table(("stage", "busy ms", "waiting ms", "of wall", "frames"), rows),
        f"{found.frames_per_second} frames/s, {found.real_time_factor} times real time, "
        f"{found.ms_per_frame:.2f} ms a frame; {faces}",
        f"wall over slowest stage ({found.slowest_stage}): {found.wall_over_slowest_stage}; "
        f"cores busy: {found.cores_busy_share:.0%}",
        f"at most: {', '.join(peaks)}",
        f"start: {found.cold_start_seconds} s with nothing converted, "
        f"{found.warm_start_seconds} s afterwards",
        _machine_line(found.facts),
        *found.choices,
        *found.warnings,
    ]


def network_lines(found: NetworkBench) -> list[str]:
    """Return what ``bench network`` prints, as lines."""
    rows = [
        (
            row.runtime,
            row.precision,
            str(row.batch),
            f"{row.ms_per_face:.2f}",
            f"{row.cpu_ms_per_face:.2f}",
            f"{row.times_reference:.2f}",
            f"{row.times_reference_by_cpu:.2f}",
            _DASH if row.psnr_to_fp32_db is None else f"{row.psnr_to_fp32_db:.1f}",
        )
        for row in found.rows
    ]
    head = ("runtime", "precision", "batch", "ms", "cpu ms", "x official", "by cpu", "dB to fp32")
    weights = ", random weights" if found.has_random_weights else ""
    starts = (
        f"{way} {seconds['cold']} s, then {seconds['warm']} s"
        for way, seconds in found.startup_seconds.items()
    )
    return [
        f"{found.model}{weights}: milliseconds a face, medians of {found.num_rounds} rounds",
        f"official formulation, torch fp32: {found.reference_ms} ms, cpu {found.reference_cpu_ms}",
        *_table(head, rows),
        f"start: {'; '.join(starts)}",
        _machine_line(found.facts),
        *found.notes,
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{wide}}" if k == 0 else f"{cell:>{wide}}"
            for k, (cell, wide) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]


def _machine_line(facts: Mapping[str, Any]) -> str:
    machine, versions = facts["machine"], facts["versions"]
    return (
        f"on {machine['processor']}, {machine['cores']} cores, {machine['system']}, load "
        f"{machine['load_average_1min']}; vidrestore {versions['vidrestore']}, "
        f"torch {versions['torch']}, openvino {versions['openvino']}"
    )


def _say_round(done: int, total: int) -> None:
    print(f"round {done} of {total}", file=sys.stderr, flush=True)


def _read_faces(folder: Path) -> list[RGBImage]:
    from vidrestore.evaluate.pictures import load_pictures

    return [pair.clean for pair in load_pictures(folder, lambda face, _: face, 64, 0).pairs]


def _check_json(path: Path | None, clip: Path | None) -> None:
    """Refuse, before the work begins, a file that could not be written or would do harm."""
    if path is None:
        return
    if clip is not None and path.absolute() == clip.absolute():
        raise SettingsError(f"--json would replace the film {clip}: give it another name")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"cannot write {path}: its folder does not exist")


def _write_json(path: Path | None, facts: Mapping[str, Any]) -> None:
    from vidrestore.report import plain

    write_report(path, json.dumps(plain(facts), indent=2) + "\n")
