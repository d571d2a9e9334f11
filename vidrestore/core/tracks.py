"""One person's face through one shot: when and where it was seen, and when it is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidrestore.contracts import FaceObservation
from vidrestore.core.appearance import Look
from vidrestore.core.kalman import OUTLIER_INNOVATION, Floats, PoseFilter


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One detection that belongs to a track."""

    tick: int
    seconds: float
    observation: FaceObservation
    pose: Floats
    shape: Floats
    look: Look


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
