"""Measures a restored film against its original and, where there is one, the clean truth.

All of it looks at the faces alone. Every figure of the restored film stands beside the same figure
of the original: a blurred film is steadier than any other, so neither steadiness nor sharpness
says anything without the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidrestore.contracts import Frame, Points
from vidrestore.errors import MediaError
from vidrestore.evaluate.film_faces import (
    FacedFrame,
    FilmFace,
    RunReport,
    frames_with_found_faces,
    frames_with_known_faces,
    nearest_truth,
)
from vidrestore.evaluate.landmark_paths import PathMeasures, Sight, measure_paths
from vidrestore.evaluate.steadiness import FaceMoment, Film, FilmSide, SideMeasures
from vidrestore.jobs.networks import cache_dir
from vidrestore.media.read import VideoReader
from vidrestore.models import identity
from vidrestore.models.identity import DlibIdentity
from vidrestore.settings import RestoreSettings

_NUM_EMBEDDINGS = 24
"""Faces of each film whose identity is looked at: 0.13 s each."""

OnFrame = Callable[[int], None]
"""Told how many frames are done."""


@dataclass(frozen=True, slots=True)
class FilmMeasures:
    """What ``evaluate video`` tells."""

    num_frames: int
    num_pairs: int
    """Faces that were seen in two frames running, which is what most figures are made of."""
    original: SideMeasures
    restored: SideMeasures
    truth: SideMeasures | None
    warping_ratio: float | None
    """E_warp of the restored film over that of the original: above 1 it flickers more."""
    sharpness_ratio: float | None
    """Lasting detail of the restored film over that of the original."""
    largest_strength_step: float | None
    """From the run's report."""
    landmarks: PathMeasures
    notes: tuple[str, ...]
    """What was left out and why, one sentence each."""

    def to_plain(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return dataclasses.asdict(self)


def evaluate_film(
    original: Path,
    restored: Path,
    truth: Path | None = None,
    *,
    report: RunReport | None = None,
    true_landmarks: Sequence[Points | None] = (),
    settings: RestoreSettings | None = None,
    on_frame: OnFrame = lambda _: None,
) -> FilmMeasures:
    """Measure how steady, sharp and true the faces of a restored film are.

    Args:
        original: The film that was restored.
        restored: What came of it, the whole or a range.
        truth: The same film before it was degraded, frame for frame.
        report: Of the run, with landmarks; None: the faces are looked for in the original.
        true_landmarks: For each frame of the original, in pixels of the upright picture.
        settings: How faces are looked for without a report, and how the original is read.
        on_frame: Called after each frame.

    Raises:
        MediaError: A film cannot be read, or the films do not show the same frames.
        WeightsError: The detector is not installed.
    """
    settings = settings or RestoreSettings()
    with ExitStack() as stack:
        sources = [
            stack.enter_context(VideoReader(path, settings.read))
            for path in (original, restored, truth)
            if path is not None
        ]
        found = (
            frames_with_found_faces(sources[0], settings)
            if report is None
            else frames_with_known_faces(sources[0], report)
        )
        shift = 0.0 if report is None else report.start_seconds
        faced = stack.enter_context(closing(found))  # type: ignore[type-var]
        films = [stack.enter_context(closing(reader.frames())) for reader in sources[1:]]
        metric = DlibIdentity.installed(cache_dir())
        measuring = _Measuring(len(sources), metric, _stride(sources[1]), true_landmarks)
        for frames in _in_step(faced, films, shift, sources):
            measuring.add(*frames)
            on_frame(measuring.num_frames)
    notes = [] if metric is not None else [f"left out: {identity.MISSING}"]
    if not measuring.num_pairs:
        notes.append("no face was seen in two frames running: there is nothing to compare")
    return measuring.result(report, tuple(notes))


def _stride(restored: VideoReader) -> int:
    """Return every how many frames a face's identity is looked at."""
    duration, rate = restored.info.duration_seconds, restored.info.video.nominal_rate
    return max(1, round(float((duration or 0) * rate) / _NUM_EMBEDDINGS))


def _in_step(
    faced: Iterator[FacedFrame],
    films: Sequence[Iterator[Frame]],
    shift: float,
    sources: Sequence[VideoReader],
) -> Iterator[tuple[FacedFrame, list[Frame]]]:
    """Pair the frames of all films by their times; the restored film's decide."""
    tolerance = 0.5 / float(sources[0].info.video.nominal_rate)
    shifts = (shift, 0.0)
    waiting = [next(film, None) for film in films]
    has_begun = False
    for item in faced:
        seconds = item.frame.seconds
        if not has_begun:
            _skip_to(seconds - tolerance, films, waiting)
        together = [frame for frame in waiting if frame is not None]
        if len(together) < len(films):
            return
        if not has_begun and seconds < together[0].seconds + shift - tolerance:
            continue
        has_begun = True
        for frame, by, source in zip(together, shifts, sources[1:], strict=False):
            _require_same_moment(item.frame, frame, by, tolerance, (sources[0], source))
        yield item, together
        waiting = [next(film, None) for film in films]


def _skip_to(seconds: float, films: Sequence[Iterator[Frame]], waiting: list[Frame | None]) -> None:
    """Pass over what the truth shows before the restored range begins."""
    for k, film in enumerate(films[1:], start=1):
        while (frame := waiting[k]) is not None and frame.seconds < seconds:
            waiting[k] = next(film, None)


def _require_same_moment(
    original: Frame,
    frame: Frame,
    shift: float,
    tolerance: float,
    sources: tuple[VideoReader, VideoReader],
) -> None:
    first, other = (source.info.path for source in sources)
    if abs(frame.seconds + shift - original.seconds) > tolerance:
        raise MediaError(
            f"{other} has no frame at {original.seconds - shift:.3f} s, but {first} has one there: "
            "these are not the same film"
        )
    if frame.geometry != original.geometry:
        raise MediaError(
            f"{other} has pictures of another shape than {first}: these are not the same film"
        )


class _Measuring:
    """Gathers the figures while frames go by; keeps one frame back."""

    def __init__(
        self,
        num_films: int,
        metric: DlibIdentity | None,
        stride: int,
        true_landmarks: Sequence[Points | None],
    ) -> None:
        self._sides = [FilmSide(metric) for _ in range(num_films)]
        self._stride, self._true_landmarks = stride, true_landmarks
        self._paths: dict[int, list[Sight]] = {}
        self._before: tuple[dict[int, FilmFace], list[Frame]] | None = None
        self.num_frames = 0
        self.num_pairs = 0

    def add(self, item: FacedFrame, others: Sequence[Frame]) -> None:
        """Take the next frame of every film."""
        frames = [item.frame, *others]
        faces: dict[int, FilmFace] = {}
        for face in item.faces:
            truth = nearest_truth(face, self._true_landmarks, item.number)
            if face.is_painted:
                # where the truth is known, all runs are judged by the same pixels
                at = face.smoothed if truth is None else truth
                faces[face.track_id] = dataclasses.replace(face, smoothed=at)
            sight = Sight(item.number, face.smoothed, face.raw, truth)
            self._paths.setdefault(face.track_id, []).append(sight)
        before = self._before
        for face in faces.values():
            earlier = None if before is None else before[0].get(face.track_id)
            moment = FaceMoment(item.frame.geometry, face, earlier)
            earlier_frames = None if before is None or earlier is None else before[1]
            film = Film(item.number, frames, earlier_frames)
            self.num_pairs += earlier is not None
            with_identity = item.number % self._stride == 0
            moment.measure(film, self._sides, with_identity=with_identity)
        self._before = faces, frames
        self.num_frames += 1

    def result(self, report: RunReport | None, notes: tuple[str, ...]) -> FilmMeasures:
        """Return the means."""
        best = self._sides[-1] if len(self._sides) > 2 else self._sides[0]
        sides = [side.measures(best, self._sides[0]) for side in self._sides]
        return FilmMeasures(
            num_frames=self.num_frames,
            num_pairs=self.num_pairs,
            original=sides[0],
            restored=sides[1],
            truth=sides[2] if len(sides) > 2 else None,
            warping_ratio=_ratio(sides[1].warping_error, sides[0].warping_error),
            sharpness_ratio=_ratio(sides[1].lasting_detail, sides[0].lasting_detail),
            largest_strength_step=None if report is None else report.largest_strength_step,
            landmarks=measure_paths(list(self._paths.values())),
            notes=notes,
        )


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base
