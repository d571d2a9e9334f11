"""Who is who from frame to frame: association of detections, and the life of a track.

Everything said of a frame is a function of what happens within a bounded number of ticks around
it, so a preview that starts in the middle of the film says the same as the full run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from vidrestore.contracts import FaceObservation, FaceTrack, Points
from vidrestore.core.geometry import iou
from vidrestore.core.kalman import (
    OUTLIER_INNOVATION,
    Floats,
    PoseFilter,
    find_outliers,
    landmarks_from_pose,
    pose_from_landmarks,
    smooth_poses,
    smooth_shapes,
)

_COAST_SECONDS = 0.12
"""A face is thought to move on for so long after it was last seen; then it is held."""

_MAX_MATCH_COST = 2.2
"""Association cost, (1 - IoU) + distance in half face widths, of two different people."""
_MAX_LOG_SIZE_STEP = 0.6
"""Change of log size between prediction and detection beyond which they are two people."""


def memory_ticks(max_gap: int) -> int:
    """Return how much older than a frame a detection may be and still influence it."""
    return max(24, max_gap)


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One detection that belongs to a track."""

    tick: int
    seconds: float
    observation: FaceObservation
    pose: Floats
    shape: Floats


@dataclass(slots=True)
class Run:
    """A stretch of a track that is shown without a break, in ticks."""

    first: int
    last: int
    """Tick of the latest sighting."""
    fades_in: bool
    """False where the face was there when the shot began."""
    first_miss: int | None = None
    """First tick after ``last`` at which the face was looked for and not found."""

    def presence(self, tick: int, horizon: int, fade: int) -> float:
        """Return how much of the face is shown at ``tick``, 0..1."""
        if tick < self.first:
            return 0.0
        rise = (tick - self.first + 1) / (fade + 1) if self.fades_in else 1.0
        fall = 1.0
        if self.first_miss is not None and tick > self.last:
            # where the miss was foreseen the fade starts at the last sighting
            foreseen = self.first_miss - self.last <= horizon
            begin = self.last if foreseen else self.first_miss - 1
            fall = 1 - (tick - begin) / (fade + 1)
        return max(0.0, min(1.0, rise, fall))


@dataclass(slots=True, eq=False)
class Track:
    """One person's face through one shot."""

    filter: PoseFilter
    sightings: list[Sighting]
    runs: list[Run]
    track_id: int | None = None
    num_early_searches: int = 1
    num_early_hits: int = 1
    num_outliers: int = 0

    def is_confirmed(self) -> bool:
        """A face seen once out of several looks is a mistake of the detector."""
        return self.num_early_hits >= 2 or self.num_early_searches < 2

    def presence(self, tick: int, horizon: int, fade: int) -> float:
        """Return how much of the face is shown at ``tick``, 0..1."""
        if not self.is_confirmed():
            return 0.0
        return max(run.presence(tick, horizon, fade) for run in self.runs)

    def believe(self, sighting: Sighting) -> None:
        """Add a sighting.

        The filter, which serves prediction only, passes over one outlier; at the second in a row
        it starts afresh, for then it is the face that jumped.
        """
        self.sightings.append(sighting)
        score = sighting.observation.score
        if self.filter.innovation(sighting.pose, score) <= OUTLIER_INNOVATION:
            self.filter.update(sighting.pose, score)
            self.num_outliers = 0
        elif self.num_outliers == 0:
            self.num_outliers = 1
        else:
            self.filter = PoseFilter(sighting.seconds, sighting.pose)
            self.num_outliers = 0

    def predicted_box(self) -> npt.NDArray[np.float32]:
        """Return the latest box, moved and scaled to where the filter believes the face is."""
        latest, pose = self.sightings[-1], self.filter.pose
        corners = latest.observation.box_xyxy.reshape(2, 2) - latest.pose[:2]
        box: npt.NDArray[np.float64] = corners * np.exp(pose[2] - latest.pose[2]) + pose[:2]
        return box.reshape(4).astype(np.float32)


@dataclass(slots=True, eq=False)
class Shot:
    """The tracks between two cuts."""

    first_search: int | None = None
    tracks: list[Track] = field(default_factory=list)


class FaceTracker:
    """Gathers detections into tracks, and says later what is believed of each frame.

    Args:
        horizon: Ticks of the future that are known when a frame is described.
        max_gap: Ticks that a face may be out of sight and still be the same track.
        fade: Ticks of the fades at the ends of a track.
    """

    def __init__(self, horizon: int, max_gap: int, fade: int) -> None:
        self._horizon, self._max_gap, self._fade = horizon, max_gap, fade
        self._memory = memory_ticks(max_gap)
        self._num_named = 0
        self.shot = Shot()
        """The shot that is going on; replaced by ``cut``."""

    def cut(self) -> Shot:
        """Begin a new shot, which shares nothing with the one before; return it."""
        self.shot = Shot()
        return self.shot

    def search(self, tick: int, seconds: float, seen: Sequence[FaceObservation]) -> None:
        """Take what the detector found at a tick; ticks and seconds increase from call to call."""
        shot = self.shot
        if shot.first_search is None:
            shot.first_search = tick
        sightings = [
            Sighting(tick, seconds, o, *pose_from_landmarks(o.landmarks))
            for o in seen
            if np.ptp(o.landmarks, axis=0).min() > 0
        ]
        live = []
        for track in shot.tracks:
            run = track.runs[-1]
            if tick - run.last <= self._max_gap:
                live.append(track)
            elif run.first_miss is None:  # no picture to look for it in: it is gone all the same
                run.first_miss = run.last + 1
        for track in live:
            track.filter.predict(seconds)
        matched = _match(live, sightings)
        for k, track in enumerate(live):
            self._continue(track, tick, sightings[matched[k]] if k in matched else None)
        taken = set(matched.values())
        for k, sighting in enumerate(sightings):
            if k not in taken:
                fades_in = tick != shot.first_search
                start = PoseFilter(seconds, sighting.pose)
                shot.tracks.append(Track(start, [sighting], [Run(tick, tick, fades_in)]))

    def _continue(self, track: Track, tick: int, sighting: Sighting | None) -> None:
        run = track.runs[-1]
        is_early = tick - track.runs[0].first <= self._horizon
        track.num_early_searches += is_early
        if sighting is None:
            run.first_miss = tick if run.first_miss is None else run.first_miss
            return
        track.num_early_hits += is_early
        track.believe(sighting)
        if run.first_miss is None or tick - run.last <= self._horizon:
            run.last, run.first_miss = tick, None
        else:
            track.runs.append(Run(tick, tick, fades_in=True))

    def forget(self, tick: int) -> None:
        """Drop what no frame from ``tick`` on can depend on."""
        shot = self.shot
        shot.tracks = [
            t for t in shot.tracks if tick - t.runs[-1].last <= self._max_gap + self._fade
        ]
        for track in shot.tracks:
            old = [s for s in track.sightings[:-1] if s.tick < tick - self._memory]
            del track.sightings[: len(old)]

    def describe(
        self, shot: Shot, ticks: Sequence[int], seconds: Sequence[float]
    ) -> list[tuple[FaceTrack, ...]]:
        """Say which faces are in some successive frames of a shot, smoothed.

        Args:
            shot: The shot that the frames belong to.
            ticks: Of the frames, not decreasing; searches are known ``horizon`` ticks beyond.
            seconds: Of the frames, increasing.

        Returns:
            For each frame its tracks with a presence above zero.
        """
        described: list[list[FaceTrack]] = [[] for _ in ticks]
        for track in shot.tracks:
            presence = [track.presence(tick, self._horizon, self._fade) for tick in ticks]
            window = [
                s
                for s in track.sightings
                if ticks[0] - self._memory <= s.tick <= ticks[-1] + self._horizon
            ]
            if not any(presence) or not window:
                continue
            if track.track_id is None:
                self._num_named += 1
                track.track_id = self._num_named
            faces = _smooth(window, track.track_id, seconds, presence)
            for k, face in enumerate(faces):
                if face.strength > 0:
                    described[k].append(face)
        return [tuple(faces) for faces in described]


def _match(tracks: Sequence[Track], sightings: Sequence[Sighting]) -> dict[int, int]:
    """Pair predictions with sightings so that the total cost is least (Hungarian algorithm)."""
    if not tracks or not sightings:
        return {}
    believed = np.stack([t.filter.pose for t in tracks])
    seen = np.stack([s.pose for s in sightings])
    overlap = iou(
        np.stack([t.predicted_box() for t in tracks]),
        np.stack([s.observation.box_xyxy for s in sightings]),
    )
    size = 2 * np.exp(np.maximum(believed[:, None, 2], seen[None, :, 2]))
    distance = np.linalg.norm(believed[:, None, :2] - seen[None, :, :2], axis=2) / size
    cost = (1 - overlap) + distance
    step = np.abs(believed[:, None, 2] - seen[None, :, 2])
    is_possible = (cost <= _MAX_MATCH_COST) & (step <= _MAX_LOG_SIZE_STEP)
    rows, columns = linear_sum_assignment(np.where(is_possible, cost, 1e3))
    return {int(i): int(j) for i, j in zip(rows, columns, strict=True) if is_possible[i, j]}


def _smooth(
    window: Sequence[Sighting],
    track_id: int,
    seconds: Sequence[float],
    presence: Sequence[float],
) -> list[FaceTrack]:
    is_outlier = find_outliers(
        np.array([s.seconds for s in window]), np.stack([s.pose for s in window])
    )
    by_time = {s.seconds: s for s in window}
    window = [s for s, out in zip(window, is_outlier, strict=True) if not out]
    measured_at = np.array([s.seconds for s in window])
    scores = np.array([s.observation.score for s in window])
    wanted = np.clip(seconds, measured_at[0], measured_at[-1] + _COAST_SECONDS)
    times = np.union1d(measured_at, wanted)
    at = np.searchsorted(times, measured_at)
    poses = np.full((len(times), 4), np.nan)
    poses[at] = [s.pose for s in window]
    weights = np.ones(len(times))
    weights[at] = scores
    smoothed = smooth_poses(times, poses, weights)
    shapes = smooth_shapes(wanted, measured_at, np.stack([s.shape for s in window]), scores)
    nearest = np.abs(wanted[:, None] - measured_at[None, :]).argmin(axis=1)
    where = np.searchsorted(times, wanted)
    placed = [landmarks_from_pose(smoothed[i], shapes[k]) for k, i in enumerate(where)]
    return [
        FaceTrack(
            track_id=track_id,
            landmarks=landmarks,
            measured=by_time[time].observation.landmarks if time in by_time else None,
            score=float(scores[nearest[k]]),
            strength=presence[k] * frontality(landmarks),
        )
        for k, (time, landmarks) in enumerate(zip(seconds, placed, strict=True))
    ]


def frontality(landmarks: Points) -> float:
    """Return how far a face is turned to the camera: 1 up to about 55°, 0 from about 70° on.

    The restoring networks know hardly any profiles, and five landmarks do not place one. The
    measure is the distance of the eyes over that from eyes to mouth, which shrinks as a face turns.
    """
    eyes = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    height = float(np.linalg.norm(landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0)))
    return float(np.clip((eyes - 0.3 * height) / (0.25 * height + 1e-6), 0, 1))
