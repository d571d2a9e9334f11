"""Who is who from frame to frame: association of detections, and the life of a track.

Everything said of a frame is a function of what happens within a bounded number of ticks around
it, so a preview that starts in the middle of the film says the same as the full run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from vidrestore.contracts import FaceEmbedder, FaceObservation, FaceTrack, Points
from vidrestore.core.appearance import Comparer, looks_of
from vidrestore.core.association import Place, match, match_looks
from vidrestore.core.kalman import Floats, PoseFilter, landmarks_from_pose, pose_from_landmarks
from vidrestore.core.smoothing import find_outliers, smooth_poses, smooth_shapes
from vidrestore.core.tracks import Run, Sighting, Track


def memory_ticks(max_gap: int) -> int:
    """Return how much older than a frame a detection may be and still influence it."""
    return max(24, max_gap)


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
        embedder: Asked who is who where the geometry leaves a doubt, if there is one.
    """

    def __init__(
        self,
        horizon: int,
        max_gap: int,
        fade: int,
        block: int,
        embedder: FaceEmbedder | None = None,
    ) -> None:
        self._horizon, self._max_gap, self._fade = horizon, max_gap, fade
        self._block = block
        self._memory = memory_ticks(max_gap)
        self._comparer = None if embedder is None else Comparer(embedder)
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
        seen = [o for o in seen if np.ptp(o.landmarks, axis=0).min() > 0]
        sightings = [
            Sighting(tick, seconds, o, *pose_from_landmarks(o.landmarks), look)
            for o, look in zip(seen, looks_of(seen), strict=True)
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
        matched = self._match(live, sightings)
        for k, track in enumerate(live):
            self._continue(track, tick, sightings[matched[k]] if k in matched else None)
        taken = set(matched.values())
        for k, sighting in enumerate(sightings):
            if k not in taken:
                fades_in = tick != shot.first_search
                start = PoseFilter(seconds, sighting.pose)
                shot.tracks.append(Track(start, [sighting], [Run(tick, tick, fades_in)]))

    def _match(self, tracks: Sequence[Track], sightings: Sequence[Sighting]) -> dict[int, int]:
        """Pair tracks with sightings: first with where they should be, then with where they were.

        The second round is for a face whose speed was misjudged, as after an outlier. Who is left
        then is known by the look alone, if at all.
        """
        matched: dict[int, int] = {}
        for back in (0, -1, -2, None):
            rows = [k for k in range(len(tracks)) if k not in matched]
            columns = sorted(set(range(len(sightings))) - set(matched.values()))
            left, free = [tracks[k] for k in rows], [sightings[k] for k in columns]
            apart = None if self._comparer is None else partial(self._distance, left, free)
            again: dict[int, int] = {}
            if back is not None:
                places = [Place(s.pose, s.pose, s.observation.box_xyxy) for s in free]
                expected = [_place_of(track, back) for track in left]
                latest = [_place_of(track, min(back, -1)) for track in left]
                again = match(expected, places, latest, apart)
            elif apart is not None:
                again = match_looks(len(left), len(free), apart)
            matched |= {rows[i]: columns[j] for i, j in again.items()}
        return matched

    def _distance(
        self, tracks: Sequence[Track], sightings: Sequence[Sighting], i: int, j: int
    ) -> float | None:
        """Return how far the looks of a track and of a sighting are apart, if that is known."""
        assert self._comparer is not None
        tick = sightings[j].tick
        known = [s.look for s in tracks[i].between(tick - self._memory, tick)]
        return self._comparer.distance(known, sightings[j].look)

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
                if presence[k] > 0:
                    face = _face(track.track_id, known, ticks[k], landmarks, presence[k])
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


def _place_of(track: Track, back: int) -> Place:
    """Return where a face should be (``back`` 0), or where it was when last seen, or before."""
    latest = track.sightings[max(back, -len(track.sightings))] if back else track.sightings[-1]
    pose = latest.pose if back else track.filter.pose
    return Place(pose, latest.pose, latest.observation.box_xyxy)
