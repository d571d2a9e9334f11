"""The report as a document: its fields, and what is the same for every frame of a run.

The JSON schema is versioned by ``SCHEMA_VERSION``; fields are only added within a version.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from vidrestore.report.tracks import TrackSummary
from vidrestore.runtime.cores import usable_cores
from vidrestore.runtime.timing import StageTimes

SCHEMA_VERSION = 1

_PACKAGES = (
    "vidrestore",
    "torch",
    "openvino",
    "av",
    "facexlib",
    "filterpy",
    "opencv-python",
    "numpy",
    "scipy",
)


@dataclass(slots=True)
class RestoreReport:
    """What ``restore_video`` did; ``to_json`` gives the same as text."""

    schema_version: int
    versions: dict[str, str]
    machine: dict[str, Any]
    input: dict[str, Any]
    output: dict[str, Any]
    settings: dict[str, Any]
    models: dict[str, Any]
    frames: dict[str, int]
    cuts: list[float]
    """Times in seconds at which a new shot begins, the first frame left out."""
    tracks: list[TrackSummary]
    timings: dict[str, Any]
    choices: list[str]
    """What was decided automatically, one sentence each."""
    warnings: list[str]
    damage: list[tuple[float, str]] = field(default_factory=list)
    """Where the film is damaged: seconds, and what is wrong; at most the first 1000 places."""
    history: dict[str, Any] | None = None
    """How the run went, see ``RunHistory.to_plain``; None if it was not recorded."""

    def to_json(self) -> str:
        """Return the report as indented JSON."""
        return json.dumps(plain(dataclasses.asdict(self)), indent=2) + "\n"


def describe_machine() -> dict[str, Any]:
    """Return operating system, processor and cores of this machine."""
    return {
        "system": platform.system(),
        "processor": _processor_name(),
        "cores": usable_cores(),
        "python": platform.python_version(),
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of the packages that decide the result."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def describe_times(
    times: tuple[StageTimes, ...], wall_seconds: float, startup_seconds: float, num_frames: int
) -> dict[str, Any]:
    """Return the timings of a run.

    Args:
        times: Of each stage.
        wall_seconds: From the first pull of a frame to the closed output.
        startup_seconds: Opening the film and loading the networks, before that.
        num_frames: Frames written.
    """
    slowest = max(times, key=lambda t: t.busy_seconds, default=None)
    return {
        "startup_seconds": round(startup_seconds, 3),
        "wall_seconds": round(wall_seconds, 3),
        "frames_per_second": round(num_frames / wall_seconds, 2) if wall_seconds > 0 else None,
        "slowest_stage": slowest.name if slowest else None,
        "stages": [
            {
                "name": t.name,
                "busy_seconds": round(t.busy_seconds, 3),
                "waiting_seconds": round(t.waiting_seconds, 3),
                "num_items": t.num_items,
            }
            for t in times
        ],
    }


def plain(value: Any) -> Any:  # noqa: ANN401 - any tree of plain data
    """Turn fractions, paths, enums and numpy scalars of a tree into what JSON knows."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
