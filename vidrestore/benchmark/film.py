"""Times the restoring of a film, stage by stage; what it makes is thrown away."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidrestore.benchmark.rounds import preamble
from vidrestore.contracts import BlendedFrame
from vidrestore.errors import SettingsError
from vidrestore.jobs.batch_inputs import name_outputs
from vidrestore.jobs.estimating import FACE_STAGES
from vidrestore.jobs.networks import choose_models, loaded_networks
from vidrestore.jobs.progress import OnProgress
from vidrestore.jobs.restore import JobResult, OnHang, run_job
from vidrestore.media.write import VideoWriter
from vidrestore.runtime.cores import usable_cores
from vidrestore.runtime.timing import peak_memory_bytes
from vidrestore.settings import RestoreSettings
from vidrestore.stages.encode import encode_frames


@dataclass(frozen=True, slots=True)
class StageCost:
    """What a stage takes for each item that it gives out, which is a frame."""

    name: str
    busy_ms: float
    """In the stage's own code, whatever core or device works meanwhile."""
    waiting_ms: float
    """For its input: work of stages before it on the same thread, or nothing to do."""
    busy_share: float
    """Of the wall time that the stage is busy, 0..1."""
    num_items: int


@dataclass(frozen=True, slots=True)
class FilmBench:
    """How fast a film is restored here: the run of median wall time, without its start."""

    clip: Mapping[str, Any]
    """Name, size, rate and length of the film."""
    frames: Mapping[str, int]
    """Counts of the report: frames written, with faces, painted; faces; damage."""
    wall_seconds: float
    all_wall_seconds: tuple[float, ...]
    """Of every run, in order."""
    frames_per_second: float
    real_time_factor: float
    """Seconds of film done in a second; above 1 is faster than the film plays."""
    ms_per_frame: float
    ms_per_face: float | None
    """Work of all stages that work on faces, for each face; None without faces."""
    network_ms_per_face: float | None
    """The part of it that is the stage ``restore``: the network."""
    slowest_stage: str
    wall_over_slowest_stage: float
    cores_busy_share: float
    """Processor time of this process over the wall time of all cores, 0..1."""
    stages: tuple[StageCost, ...]
    peak_memory_bytes: int | None
    """The most that this process had resident in the runs; None where nothing tells."""
    peak_device_bytes: int | None
    """The most that PyTorch held on CUDA devices; None on a CPU."""
    cold_start_seconds: float
    """Loading the networks with nothing converted yet."""
    warm_start_seconds: float
    """Loading them again, from what was converted."""
    models: Mapping[str, Any]
    settings: Mapping[str, Any]
    choices: tuple[str, ...]
    """What was decided automatically, one sentence each."""
    warnings: tuple[str, ...]
    facts: Mapping[str, Any]
    """Date, machine and versions."""

    def to_plain(self) -> dict[str, Any]:
        """Return everything as a tree of plain data, for ``vidrestore.report.plain``."""
        tree = dataclasses.asdict(self)
        return {**tree.pop("facts"), **tree}


@dataclass(frozen=True, slots=True)
class _Run:
    """One run, and how busy the cores were in it."""

    job: JobResult
    cores_busy_share: float


def bench_film(
    source: Path,
    settings: RestoreSettings,
    *,
    num_runs: int = 3,
    on_progress: OnProgress | None = None,
    on_hang: OnHang | None = None,
) -> FilmBench:
    """Restore a film, or a part of it, several times into a folder that is removed.

    Args:
        source: The film; it is only read.
        settings: Of the run; the output is not theirs to name, and nothing is gone on with.
        num_runs: At least 1.
        on_progress: Called after each frame of each run.
        on_hang: Called when nothing moves any more.

    Raises:
        VidrestoreError: As ``vidrestore.restore_video`` does.
    """
    if num_runs < 1:
        raise SettingsError(f"runs is {num_runs}: use at least 1")
    facts = preamble()
    runs = []
    with tempfile.TemporaryDirectory(prefix="vidrestore-bench-") as folder:
        name = name_outputs([source.name], settings.encode, {})[source.name]
        target = Path(folder) / name
        for _ in range(num_runs):
            runs.append(_run_once(source, target, settings, on_progress, on_hang))
            target.unlink()
    peak, on_device = peak_memory_bytes(), _peak_device_bytes()
    cold, warm = _starts(settings)  # converting needs memory that a run does not
    middle = statistics.median_low([run.job.wall_seconds for run in runs])
    run = next(run for run in runs if run.job.wall_seconds == middle)
    return _summarise(
        run,
        facts,
        all_wall_seconds=tuple(round(run.job.wall_seconds, 3) for run in runs),
        peak_memory_bytes=peak,
        peak_device_bytes=on_device,
        cold_start_seconds=cold,
        warm_start_seconds=warm,
    )


def _run_once(
    source: Path,
    target: Path,
    settings: RestoreSettings,
    on_progress: OnProgress | None,
    on_hang: OnHang | None,
) -> _Run:
    cpu_at_start = time.process_time()

    def encode(frames: Iterator[BlendedFrame], writer: VideoWriter) -> Iterator[BlendedFrame]:
        nonlocal cpu_at_start
        cpu_at_start = time.process_time()  # everything is loaded, and no frame was pulled yet
        return encode_frames(frames, writer)

    job = run_job(
        source, target, settings, on_progress, encode=encode, is_kept=False, on_hang=on_hang
    )
    cpu_seconds = time.process_time() - cpu_at_start
    return _Run(job, cpu_seconds / (job.wall_seconds * usable_cores()))


def _starts(settings: RestoreSettings) -> tuple[float, float]:
    """Return the seconds of loading the networks with an empty cache, and with a full one."""
    seconds = []
    with tempfile.TemporaryDirectory(prefix="vidrestore-bench-") as folder:
        for _ in range(2):
            begun = time.perf_counter()
            with loaded_networks(choose_models(settings.model), settings, Path(folder)):
                seconds.append(round(time.perf_counter() - begun, 3))
    return seconds[0], seconds[1]


def _peak_device_bytes() -> int | None:
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    return sum(torch.cuda.max_memory_reserved(k) for k in range(torch.cuda.device_count()))


def _summarise(run: _Run, facts: Mapping[str, Any], **measured: Any) -> FilmBench:  # noqa: ANN401
    report, wall, times = run.job.report, run.job.wall_seconds, run.job.times
    num_frames, num_faces = report.frames["written"], report.frames["faces"]
    slowest = max(times, key=lambda stage: stage.busy_seconds)
    # a range passes more frames through some stages than it writes
    for_frame = {stage.name: stage.busy_seconds / max(1, stage.num_items) for stage in times}

    def for_a_face(*names: str) -> float | None:
        seconds = sum(for_frame[name] for name in names)
        return round(seconds * 1e3 * num_frames / num_faces, 3) if num_faces else None

    return FilmBench(
        clip=_describe_clip(report.input, report.output),
        frames=report.frames,
        wall_seconds=round(wall, 3),
        frames_per_second=round(num_frames / wall, 2),
        real_time_factor=round(_film_seconds(report.input, num_frames) / wall, 3),
        ms_per_frame=round(wall * 1e3 / num_frames, 3),
        ms_per_face=for_a_face(*FACE_STAGES),
        network_ms_per_face=for_a_face("restore"),
        slowest_stage=slowest.name,
        wall_over_slowest_stage=round(wall / slowest.busy_seconds, 3),
        cores_busy_share=round(run.cores_busy_share, 3),
        stages=tuple(
            StageCost(
                name=stage.name,
                busy_ms=round(for_frame[stage.name] * 1e3, 3),
                waiting_ms=round(stage.waiting_seconds * 1e3 / max(1, stage.num_items), 3),
                busy_share=round(stage.busy_seconds / wall, 3),
                num_items=stage.num_items,
            )
            for stage in times
        ),
        models=report.models,
        settings=report.settings,
        choices=tuple(report.choices),
        warnings=tuple(report.warnings),
        facts=facts,
        **measured,
    )


def _film_seconds(film: Mapping[str, Any], num_frames: int) -> float:
    """Return how long so many frames of the film play."""
    return float(num_frames / film["video"]["nominal_rate"])


def _describe_clip(film: Mapping[str, Any], output: Mapping[str, Any]) -> dict[str, Any]:
    video = film["video"]
    return {
        "name": Path(film["path"]).name,
        "width": video["width"],
        "height": video["height"],
        "nominal_rate": video["nominal_rate"],
        "duration_seconds": film["duration_seconds"],
        "start_seconds": output["start_seconds"],
        "stop_seconds": output["stop_seconds"],
    }
