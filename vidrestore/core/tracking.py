"""Who is who from frame to frame: association of detections, and the life of a track.

Everything said of a frame is a function of what happens within a bounded number of ticks around
it, so a preview that starts in the middle of the film says the same as the full run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vidrestore.contracts import FaceObservation, FaceTrack, Points
from vidrestore.core.association import Place, match
from vidrestore.core.kalman import (
    OUTLIER_INNOVATION,
    Floats,
    PoseFilter,
    landmarks_from_pose,
    pose_from_landmarks,
)
from vidrestore.core.smoothing import find_outliers, smooth_poses, smooth_shapes


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
        it starts afresh, for then it is the face that jumped, and the two tell its speed.
        """
        before = self.sightings[-1]
        self.sightings.append(sighting)
        score = sighting.observation.score
        if self.filter.innovation(sighting.pose, score) <= OUTLIER_INNOVATION:
            self.filter.update(sighting.pose, score)
            self.num_outliers = 0
        elif self.num_outliers == 0:
            self.num_outliers = 1
        else:
            step = sighting.pose - before.pose
            step[3] = np.angle(np.exp(1j * step[3]))
            velocity = step / (sighting.seconds - before.seconds)
            self.filter = PoseFilter(sighting.seconds, sighting.pose, velocity)
            self.num_outliers = 0

    def between(self, first: int, last: int) -> list[Sighting]:
        """Return what was seen from tick ``first`` to tick ``last``, both included."""
        return [s for s in self.sightings if first <= s.tick <= last]


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
        block: Ticks of the blocks in which frames are described, on a grid that begins at 0.
    """

    def __init__(self, horizon: int, max_gap: int, fade: int, block: int) -> None:
        self._horizon, self._max_gap, self._fade = horizon, max_gap, fade
        self._block = block
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
        oldest = self._memory + self._block
        for track in shot.tracks:
            old = [s for s in track.sightings[:-1] if s.tick < tick - oldest]
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
            known = track.between(ticks[0] - self._memory, ticks[-1] + self._horizon)
            if not any(presence) or not known:
                continue
            if track.track_id is None:
                self._num_named += 1
                track.track_id = self._num_named
            path = self._place(track, np.array(ticks), np.array(seconds))
            for k, landmarks in enumerate(path):
                strength = presence[k] * frontality(landmarks)
                if strength > 0:
                    face = _face(track.track_id, known, ticks[k], landmarks, strength)
                    described[k].append(face)
        return [tuple(faces) for faces in described]

    def _place(
        self, track: Track, ticks: npt.NDArray[np.int_], seconds: Floats
    ) -> npt.NDArray[np.float32]:
        """Return the landmarks (n, 5, 2) of a face, smoothed, block by block.

        Within a block, what was said with the future of the block before fades into what this
        block's own future says. So nothing steps where a block begins: its first frame has as much
        future as its last.
        """
        path = np.empty((len(ticks), 5, 2), np.float32)
        for number in np.unique(ticks // self._block).tolist():
            here = ticks // self._block == number
            share = (ticks[here] + 1) / self._block - number
            new = self._smooth(track, number, seconds[here])
            old = self._smooth(track, number - 1, seconds[here]) if share.min() < 1 else new
            if old is not None and new is not None:
                share = (share**2 * (3 - 2 * share))[:, None, None]
                path[here] = (1 - share) * old + share * new
            else:
                path[here] = new if old is None else old
        return path

    def _smooth(self, track: Track, block: int, seconds: Floats) -> npt.NDArray[np.float32] | None:
        """Say where a face is, from what is known when a block is described; None if unseen."""
        start = block * self._block
        window = track.between(start - self._memory, start + self._block - 1 + self._horizon)
        if not window:
            return None
        times = np.array([s.seconds for s in window])
        poses = np.stack([s.pose for s in window])
        kept = ~find_outliers(times, poses)
        scores = np.array([s.observation.score for s in window])[kept]
        shapes = np.stack([s.shape for s in window])[kept]
        smoothed = smooth_poses(times[kept], poses[kept], scores, seconds)
        shapes = smooth_shapes(seconds, times[kept], shapes, scores)
        return np.stack([landmarks_from_pose(p, s) for p, s in zip(smoothed, shapes, strict=True)])


def _face(
    track_id: int, known: Sequence[Sighting], tick: int, landmarks: Points, strength: float
) -> FaceTrack:
    nearest = min(known, key=lambda s: abs(s.tick - tick))
    return FaceTrack(
        track_id=track_id,
        landmarks=landmarks,
        measured=nearest.observation.landmarks if nearest.tick == tick else None,
        score=nearest.observation.score,
        strength=strength,
    )


def _match(tracks: Sequence[Track], sightings: Sequence[Sighting]) -> dict[int, int]:
    """Pair tracks with sightings: first with where they should be, then with where they were.

    The second round is for a face whose speed was misjudged, as after an outlier.
    """
    seen = [Place(s.pose, s.pose, s.observation.box_xyxy) for s in sightings]
    latest = [t.sightings[-1] for t in tracks]
    expected = [
        Place(t.filter.pose, s.pose, s.observation.box_xyxy)
        for t, s in zip(tracks, latest, strict=True)
    ]
    matched = match(expected, seen)
    for back in (-1, -2):
        rows = [k for k in range(len(tracks)) if k not in matched]
        columns = sorted(set(range(len(seen))) - set(matched.values()))
        were = [tracks[k].sightings[max(back, -len(tracks[k].sightings))] for k in rows]
        held = [Place(s.pose, s.pose, s.observation.box_xyxy) for s in were]
        again = match(held, [seen[k] for k in columns])
        matched |= {rows[i]: columns[j] for i, j in again.items()}
    return matched


def frontality(landmarks: Points) -> float:
    """Return how far a face is turned to the camera: 1 up to about 55°, 0 from about 70° on.

    The restoring networks know hardly any profiles, and five landmarks do not place one. The
    measure is the distance of the eyes over that from eyes to mouth, which shrinks as a face turns.
    """
    eyes = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    height = float(np.linalg.norm(landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0)))
    return float(np.clip((eyes - 0.3 * height) / (0.25 * height + 1e-6), 0, 1))
