"""Where the faces of a film are: as a run's report tells, or found anew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidrestore.contracts import FaceTrack, Frame, Points
from vidrestore.core.geometry import (
    compose,
    display_from_frame,
    invert_affine,
    transform_points,
    upright_from_frame,
)
from vidrestore.errors import SettingsError
from vidrestore.jobs.networks import choose_models, loaded_detector
from vidrestore.media.read import VideoReader
from vidrestore.settings import RestoreSettings
from vidrestore.stages.detect import detect_faces
from vidrestore.stages.track import track_faces


@dataclass(frozen=True, slots=True, eq=False)
class FilmFace:
    """A face in one frame, in pixels of the upright picture as it is stored."""

    track_id: int
    smoothed: Points
    raw: Points | None
    is_painted: bool
    """The restored film shows the restored face here; also True where nobody says otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class FacedFrame:
    """A frame of the original and the faces in it."""

    frame: Frame
    number: int
    """Counted from 0 at the start of the film."""
    faces: tuple[FilmFace, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RunReport:
    """What a run's report says that is needed here."""

    start_seconds: float
    """Where in the original the restored film begins."""
    largest_strength_step: float | None
    """Largest change of strength from one frame to the next; None if there was no face."""
    faces: Mapping[float, tuple[FilmFace, ...]]
    """By the frame's time."""


def read_report(path: Path) -> RunReport:
    """Read a report that ``--report`` and ``--report-landmarks`` wrote.

    Raises:
        SettingsError: The file is not such a report, or has no landmarks.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return parse_report(report)
    except OSError as error:
        raise SettingsError(f"cannot read the report {path}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise SettingsError(
            f"{path} is no report with landmarks: make one with --report and --report-landmarks"
        ) from error


def parse_report(report: Mapping[str, Any]) -> RunReport:
    """Take what is needed from a report as plain data; raises what such reading raises."""
    by_time: dict[float, list[FilmFace]] = {}
    for track in report["tracks"]:
        for row in track["frames"]:
            raw = None if row["raw"] is None else np.array(row["raw"], np.float32)
            face = FilmFace(
                track_id=track["id"],
                smoothed=np.array(row["smoothed"], np.float32),
                raw=raw,
                is_painted=row["painted"] is not None,
            )
            by_time.setdefault(row["time"], []).append(face)
    return RunReport(
        start_seconds=float(report["output"]["start_seconds"] or 0),
        largest_strength_step=max(
            (track["largest_strength_step"] for track in report["tracks"]), default=None
        ),
        faces={seconds: tuple(faces) for seconds, faces in by_time.items()},
    )


def frames_with_known_faces(reader: VideoReader, report: RunReport) -> Iterator[FacedFrame]:
    """Yield the film's frames with the faces that the report tells of."""
    with closing(reader.frames()) as frames:
        for number, frame in enumerate(frames):
            yield FacedFrame(frame, number, report.faces.get(frame.seconds, ()))


def frames_with_found_faces(reader: VideoReader, settings: RestoreSettings) -> Iterator[FacedFrame]:
    """Find and follow the faces of a film as a run does, without restoring any.

    Raises:
        WeightsError: The detector is not installed.
    """
    with (
        loaded_detector(choose_models(settings.model), settings.model, settings.detect) as (
            detector,
            _,
            _,
        ),
        closing(reader.frames()) as frames,
    ):
        seen = detect_faces(frames, detector, settings.detect)
        followed = track_faces(seen, settings.detect, settings.track)
        for number, item in enumerate(followed):
            faces = tuple(_face(track, item.frame) for track in item.tracks if track.strength > 0)
            yield FacedFrame(item.frame, number, faces)


def read_landmarks(path: Path) -> list[Points | None]:
    """Read the true landmarks of a film, made where its motion was made.

    Args:
        path: JSON with ``landmarks``: for each frame five points in pixels of the upright
            picture, or null where there is no face.

    Raises:
        SettingsError: The file is not such a list.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["landmarks"]
        points = [None if row is None else np.array(row, np.float32) for row in rows]
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise SettingsError(f"{path} holds no landmarks: see samples/README.md") from error
    if any(p is not None and p.shape != (5, 2) for p in points):
        raise SettingsError(f"{path}: a face has five landmarks, x and y")
    return points


def nearest_truth(face: FilmFace, truth: Sequence[Points | None], number: int) -> Points | None:
    """Return the true landmarks of a frame if they are this face's, not another's."""
    points = truth[number] if number < len(truth) else None
    if points is None:
        return None
    eyes = float(np.linalg.norm(points[1] - points[0]))
    apart = float(np.linalg.norm(face.smoothed - points, axis=1).mean())
    return points if apart < eyes else None


def _face(track: FaceTrack, frame: Frame) -> FilmFace:
    g = frame.geometry
    upright_from_display = compose(upright_from_frame(g), invert_affine(display_from_frame(g)))

    def upright(points: Points) -> Points:
        return transform_points(upright_from_display, points).astype(np.float32)

    raw = None if track.measured is None else upright(track.measured)
    return FilmFace(track.track_id, upright(track.landmarks), raw, is_painted=True)
