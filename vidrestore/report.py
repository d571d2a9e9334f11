"""The report of a run: what was found, what was done, what was chosen, how long it took.

The JSON schema is versioned by ``SCHEMA_VERSION``; fields are only added within a version.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidrestore.contracts import BlendedFrame, PaintedRegion, Points, RestoredFace
from vidrestore.core.geometry import (
    compose,
    display_from_frame,
    invert_affine,
    transform_points,
    upright_from_frame,
)
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
_JITTER_CROP = 512
"""Jitter is given in pixels of a crop of this size, whatever the model's own size."""


@dataclass(slots=True)
class TrackSummary:
    """One person's face through one shot."""

    id: int
    start_seconds: float
    end_seconds: float
    """Time of the last frame with this face."""
    num_frames: int = 0
    num_detections: int = 0
    mean_score: float = 0.0
    mean_strength: float = 0.0
    mean_width_px: float = 0.0
    """Width of the face, about twice the distance between the eyes; display pixels."""
    jitter_raw_px: float | None = None
    jitter_smoothed_px: float | None = None
    """RMS second difference of the landmarks from one detection to the next, before and after
    smoothing, in pixels of a 512-pixel crop; None where there were fewer than three detections."""
    largest_strength_step: float = 0.0
    """Largest change of strength from one frame to the next within the track."""
    held_back: dict[str, int] = field(default_factory=dict)
    """Frames in which the face was not shown fully, by the reason."""
    frames: list[dict[str, Any]] | None = None
    face_id: int | None = None
    """The face's number in the faces file."""


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


@dataclass(slots=True, eq=False)
class _TrackState:
    """What is gathered of a track while frames go by."""

    summary: TrackSummary
    at: Points
    """The latest landmarks."""
    detections: list[tuple[Points, Points]] = field(default_factory=list)
    """The latest three (measured, smoothed)."""
    squares: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    num_squares: int = 0
    strength: float | None = None
    num_rows_told: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Return everything as plain data, of the landmark rows those since the last call."""
        rows = self.summary.frames
        new = None if rows is None else rows[self.num_rows_told :]
        self.num_rows_told = 0 if rows is None else len(rows)
        summary = {f.name: getattr(self.summary, f.name) for f in dataclasses.fields(TrackSummary)}
        return {
            "summary": {**summary, "frames": new},
            "at": self.at.tolist(),
            "detections": [[points.tolist() for points in pair] for pair in self.detections],
            "squares": self.squares.tolist(),
            "num_squares": self.num_squares,
            "strength": self.strength,
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], earlier: _TrackState | None) -> _TrackState:
        """Read what ``to_plain`` returned, after what it returned before."""
        made = cls(TrackSummary(**data["summary"]), np.array(data["at"], np.float32))
        if earlier is not None and earlier.summary.frames is not None:
            made.summary.frames = [*earlier.summary.frames, *(made.summary.frames or [])]
        made.num_rows_told = len(made.summary.frames or [])
        for measured, smoothed in data["detections"]:
            pair = (np.array(measured, np.float32), np.array(smoothed, np.float32))
            made.detections.append(pair)
        made.squares = np.array(data["squares"], np.float64)
        made.num_squares, made.strength = data["num_squares"], data["strength"]
        return made


class FrameRecorder:
    """Gathers the report's figures from finished frames, in bounded memory.

    Args:
        with_landmarks: Keep the landmarks of every frame too.
        states: What ``state`` returned in an earlier run, in order, to go on from there.
    """

    def __init__(self, with_landmarks: bool, states: Sequence[Mapping[str, Any]] = ()) -> None:
        self._with_landmarks = with_landmarks
        self._tracks: dict[int, _TrackState] = {}
        self._touched: set[int] = set()
        """Tracks of which something has changed since the last ``state``."""
        self._names: dict[int, int] | None = None
        """The report's ids by the tracker's, which counts from 1 again when a run goes on."""
        self._goes_on = bool(states)
        self._latest_seconds = 0.0
        self.cuts: list[float] = []
        self.num_frames = 0
        self.num_frames_with_faces = 0
        self.num_frames_painted = 0
        self.num_faces = 0
        self._num_cuts_told = 0
        for state in states:
            self._take_up(state)

    def state(self) -> dict[str, Any]:
        """Return, as plain data, what has changed since the last call."""
        touched, self._touched = self._touched, set()
        cuts, self._num_cuts_told = self.cuts[self._num_cuts_told :], len(self.cuts)
        return {
            "tracks": [self._tracks[k].to_plain() for k in sorted(touched)],
            "latest_seconds": self._latest_seconds,
            "cuts": cuts,
            "num_frames": self.num_frames,
            "num_frames_with_faces": self.num_frames_with_faces,
            "num_frames_painted": self.num_frames_painted,
            "num_faces": self.num_faces,
        }

    def _take_up(self, state: Mapping[str, Any]) -> None:
        for data in state["tracks"]:
            number = data["summary"]["id"]
            self._tracks[number] = _TrackState.from_plain(data, self._tracks.get(number))
        self._latest_seconds = state["latest_seconds"]
        self.cuts += state["cuts"]
        self._num_cuts_told = len(self.cuts)
        self.num_frames = state["num_frames"]
        self.num_frames_with_faces = state["num_frames_with_faces"]
        self.num_frames_painted = state["num_frames_painted"]
        self.num_faces = state["num_faces"]

    def add(self, item: BlendedFrame) -> None:
        """Take the next finished frame."""
        if item.is_cut and self.num_frames:
            self.cuts.append(item.frame.seconds)
        self.num_frames += 1
        self.num_frames_with_faces += bool(item.faces)
        self.num_frames_painted += any(region is not None for region in item.regions)
        self.num_faces += len(item.faces)
        if self._goes_on and self._names is None:
            self._names = {} if item.is_cut else self._recognise(item.faces)
        for face, region in zip(item.faces, item.regions, strict=True):
            self._add_face(item, face, region)
        self._latest_seconds = item.frame.seconds

    def _recognise(self, faces: Sequence[RestoredFace]) -> dict[int, int]:
        """Find the tracks that were in the latest frame of an earlier run: a face moves little."""
        known: dict[int, int] = {}
        left = [k for k in self._tracks.values() if k.summary.end_seconds == self._latest_seconds]
        for track in (face.aligned.track for face in faces):
            eyes = float(np.linalg.norm(track.landmarks[1] - track.landmarks[0]))
            steps = [float(np.abs(kept.at - track.landmarks).mean()) for kept in left]
            if steps and min(steps) < eyes / 2:
                known[track.track_id] = left.pop(int(np.argmin(steps))).summary.id
        return known

    def counts(self) -> dict[str, int]:
        """Return how many frames and faces went by."""
        return {
            "written": self.num_frames,
            "with_faces": self.num_frames_with_faces,
            "painted": self.num_frames_painted,
            "faces": self.num_faces,
        }

    def tracks(self) -> list[TrackSummary]:
        """Return the summary of each track, by id."""
        for state in self._tracks.values():
            if state.num_squares:
                rms = np.sqrt(state.squares / state.num_squares)
                state.summary.jitter_raw_px = float(rms[0])
                state.summary.jitter_smoothed_px = float(rms[1])
        return [self._tracks[k].summary for k in sorted(self._tracks)]

    def _add_face(
        self, item: BlendedFrame, face: RestoredFace, region: PaintedRegion | None
    ) -> None:
        track, seconds = face.aligned.track, item.frame.seconds
        number = track.track_id
        if self._names is not None:
            number = self._names.setdefault(number, max(self._tracks, default=0) + 1)
        state = self._tracks.get(number)
        if state is None:
            summary = TrackSummary(number, seconds, seconds)
            summary.frames = [] if self._with_landmarks else None
            state = self._tracks[number] = _TrackState(summary, track.landmarks)
        self._touched.add(number)
        state.at, summary = track.landmarks, state.summary
        summary.end_seconds = seconds
        summary.face_id = track.face_id if summary.face_id is None else summary.face_id
        summary.num_frames += 1
        gain = 1 / summary.num_frames
        summary.mean_score += (track.score - summary.mean_score) * gain
        summary.mean_strength += (face.strength - summary.mean_strength) * gain
        if face.held_back is not None:
            summary.held_back[face.held_back] = summary.held_back.get(face.held_back, 0) + 1
        width = 2 * float(np.linalg.norm(track.landmarks[1] - track.landmarks[0]))
        summary.mean_width_px += (width - summary.mean_width_px) * gain
        if state.strength is not None:
            step = abs(face.strength - state.strength)
            summary.largest_strength_step = max(summary.largest_strength_step, step)
        state.strength = face.strength
        if track.measured is not None:
            summary.num_detections += 1
            self._add_jitter(state, track.measured, track.landmarks)
        if summary.frames is not None:
            summary.frames.append(_landmark_row(item, face, region))

    @staticmethod
    def _add_jitter(state: _TrackState, measured: Points, smoothed: Points) -> None:
        state.detections = [*state.detections[-2:], (measured, smoothed)]
        if len(state.detections) < 3:
            return
        a, b, c = (np.stack(pair).astype(np.float64) for pair in state.detections)
        size = float(np.linalg.norm(b[1, 1] - b[1, 0]))
        if size > 0:
            # the eyes are about a quarter of the crop apart in both templates
            scale = _JITTER_CROP / 4 / size
            second = (a - 2 * b + c) * scale  # (2, 5, 2): measured, smoothed
            state.squares += (second**2).sum(axis=2).mean(axis=1)
            state.num_squares += 1


def _landmark_row(
    item: BlendedFrame, face: RestoredFace, region: PaintedRegion | None
) -> dict[str, Any]:
    track, geometry = face.aligned.track, item.frame.geometry
    upright = compose(upright_from_frame(geometry), invert_affine(display_from_frame(geometry)))

    def rounded(points: Points) -> list[list[float]]:
        return [[round(float(v), 3) for v in p] for p in transform_points(upright, points)]

    return {
        "time": item.frame.seconds,
        "raw": None if track.measured is None else rounded(track.measured),
        "smoothed": rounded(track.landmarks),
        "strength": round(face.strength, 4),
        "painted": None
        if region is None
        else [region.left, region.top, region.right, region.bottom],
    }


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
