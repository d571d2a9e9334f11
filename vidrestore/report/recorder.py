"""Gathers the report's figures from finished frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from vidrestore.contracts import BlendedFrame, PaintedRegion, Points, RestoredFace
from vidrestore.core.geometry import (
    compose,
    display_from_frame,
    invert_affine,
    transform_points,
    upright_from_frame,
)
from vidrestore.report.history import RunHistory
from vidrestore.report.tracks import TrackState, TrackSummary

_MOST_DAMAGE = 1000


class FrameRecorder:
    """Gathers the report's figures from finished frames, in bounded memory.

    Args:
        with_landmarks: Keep the landmarks of every frame too.
        states: What ``state`` returned in an earlier run, in order, to go on from there.
        history: Gathers what the report's page shows, if that is wanted.
    """

    def __init__(
        self,
        with_landmarks: bool,
        states: Sequence[Mapping[str, Any]] = (),
        history: RunHistory | None = None,
    ) -> None:
        self.history = history
        self._with_landmarks = with_landmarks
        self._tracks: dict[int, TrackState] = {}
        self._touched: set[int] = set()
        """Tracks of which something has changed since the last ``state``."""
        self._names: dict[int, int] | None = None
        """The report's ids by the tracker's, which counts from 1 again when a run goes on."""
        self._goes_on = bool(states)
        self._latest_seconds = 0.0
        self.cuts: list[float] = []
        self.damage: list[tuple[float, str]] = []
        """Where the film is damaged: seconds, and what is wrong; at most the first 1000 places."""
        self.num_frames = 0
        self.num_frames_with_faces = 0
        self.num_frames_painted = 0
        self.num_faces = 0
        self._num_cuts_told = self._num_damage_told = 0
        for state in states:
            self._take_up(state)

    def state(self) -> dict[str, Any]:
        """Return, as plain data, what has changed since the last call."""
        touched, self._touched = self._touched, set()
        cuts, self._num_cuts_told = self.cuts[self._num_cuts_told :], len(self.cuts)
        damage, self._num_damage_told = self.damage[self._num_damage_told :], len(self.damage)
        return {
            "tracks": [self._tracks[k].to_plain() for k in sorted(touched)],
            "latest_seconds": self._latest_seconds,
            "cuts": cuts,
            "damage": damage,
            "history": None if self.history is None else self.history.state(),
            "num_frames": self.num_frames,
            "num_frames_with_faces": self.num_frames_with_faces,
            "num_frames_painted": self.num_frames_painted,
            "num_faces": self.num_faces,
        }

    def _take_up(self, state: Mapping[str, Any]) -> None:
        for data in state["tracks"]:
            number = data["summary"]["id"]
            self._tracks[number] = TrackState.from_plain(data, self._tracks.get(number))
        self._latest_seconds = state["latest_seconds"]
        self.cuts += state["cuts"]
        self._num_cuts_told = len(self.cuts)
        self.add_damage((seconds, what) for seconds, what in state["damage"])
        self._num_damage_told = len(self.damage)
        if self.history is not None and state["history"] is not None:
            self.history.take_up(state["history"])
        self.num_frames = state["num_frames"]
        self.num_frames_with_faces = state["num_frames_with_faces"]
        self.num_frames_painted = state["num_frames_painted"]
        self.num_faces = state["num_faces"]

    def add_damage(self, places: Iterable[tuple[float, str]]) -> None:
        """Take note of damaged places of the film: seconds, and what is wrong."""
        self.damage += islice(places, _MOST_DAMAGE - len(self.damage))

    def add(self, item: BlendedFrame) -> None:
        """Take the next finished frame."""
        if item.is_cut and self.num_frames:
            self.cuts.append(item.frame.seconds)
        self.num_frames += 1
        self.num_frames_with_faces += bool(item.faces)
        self.num_frames_painted += any(region is not None for region in item.regions)
        self.num_faces += len(item.faces)
        if self.history is not None:
            self.history.begin_frame(item, self.num_frames)
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
        pictures = {} if self.history is None else self.history.moments()
        for number, state in self._tracks.items():
            state.summary.moments = pictures.get(number)
        return [self._tracks[k].finished() for k in sorted(self._tracks)]

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
            state = self._tracks[number] = TrackState(summary, track.landmarks)
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
            squares = state.add_jitter(track.measured, track.landmarks)
            if squares is not None and self.history is not None:
                self.history.add_jitter(seconds, squares)
        if self.history is not None:
            flicker = self.history.add_face(item, face, number)
            if flicker is not None:
                state.flicker += flicker
                state.num_flickers += 1
        if summary.frames is not None:
            summary.frames.append(_landmark_row(item, face, region))


def _landmark_row(
    item: BlendedFrame, face: RestoredFace, region: PaintedRegion | None
) -> dict[str, Any]:
    track, geometry = face.aligned.track, item.original.geometry
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
