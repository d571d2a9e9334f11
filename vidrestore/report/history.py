"""How a run went, for the report's page: faces before and after, steadiness, speed and memory.

It costs time, so it is gathered only when a report is asked for. Memory is bounded, whatever the
length of the film.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import BlendedFrame, RestoredFace
from vidrestore.report.moments import Gallery
from vidrestore.report.stretches import Stretches

_MOST_STRETCHES = 600
_FILM_SECONDS = 1.0
_RUN_SECONDS = 1.0
_STEADINESS = ("detections", "raw", "smoothed", "pairs", "before", "after")
"""What is summed in each second of the film; see ``RunHistory.to_plain``."""

Sums = tuple[float, ...]
Sample = tuple[float, int, int]
"""Seconds of work, frames done since the run began, bytes of memory (0: nothing tells)."""
Luma = npt.NDArray[np.uint8]


class RunHistory:
    """Gathers how a run went from finished frames.

    Args:
        strength: How much of the restored faces is shown, 0..1, on top of each face's own.
        now: A clock, in seconds.
    """

    def __init__(self, strength: float = 1.0, now: Callable[[], float] = time.perf_counter) -> None:
        self._strength, self._now = strength, now
        self._steadiness: Stretches[Sums] = Stretches(_FILM_SECONDS, _MOST_STRETCHES, _sum)
        self._speed: Stretches[Sample] = Stretches(_RUN_SECONDS, _MOST_STRETCHES, _later)
        self._gallery = Gallery()
        self._previous: dict[int, tuple[Luma, Luma]] = {}
        """The middle of each face's crop in the frame before, as it was and as it is shown."""
        self._current: dict[int, tuple[Luma, Luma]] = {}
        self._begun: float | None = None
        self._seconds_before = 0.0
        """Seconds of work of earlier runs."""

    def begin_frame(self, item: BlendedFrame, num_frames: int) -> None:
        """Take the next finished frame; its faces follow.

        Args:
            item: The frame.
            num_frames: How many are done with it, those of earlier runs included.
        """
        self._previous, self._current = {} if item.is_cut else self._current, {}
        now = self._now()
        self._begun = now if self._begun is None else self._begun
        elapsed = self._seconds_before + now - self._begun
        if self._speed.at(elapsed) is None:
            self._speed.add(elapsed, (elapsed, num_frames, _resident_bytes()))

    def add_face(
        self, item: BlendedFrame, face: RestoredFace, number: int
    ) -> tuple[float, float] | None:
        """Take a face of the frame.

        Args:
            item: The frame.
            face: One of its faces.
            number: The face's number in the report.

        Returns:
            Its flicker before and after: the mean difference of the luma of the middle of the crop
            (half its side) from that of the frame before, in steps of 8 bit. Crops follow the
            smoothed landmarks, so what moves with the face does not count. None in a face's first
            frame.
        """
        self._gallery.offer(item, face, number)
        before, after = self._current[number] = self._middles(face)
        if number not in self._previous:
            return None
        was, was_shown = self._previous[number]
        flicker = (_difference(was, before), _difference(was_shown, after))
        self._steadiness.add(item.frame.seconds, (0.0, 0.0, 0.0, 1.0, *flicker))
        return flicker

    def add_jitter(self, seconds: float, squares: npt.NDArray[np.float64]) -> None:
        """Take the squared second differences of landmarks, before and after smoothing.

        Args:
            seconds: Time of the film.
            squares: Shape (2,), pixels squared of a crop of 512.
        """
        self._steadiness.add(seconds, (1.0, float(squares[0]), float(squares[1]), 0.0, 0.0, 0.0))

    def state(self) -> dict[str, Any]:
        """Return, as plain data, what has changed since the last call."""
        return {
            "steadiness": [self._steadiness.seconds, self._steadiness.changes()],
            "speed": [self._speed.seconds, self._speed.changes()],
            "gallery": self._gallery.state(),
        }

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned in an earlier run; to be called in order."""
        for name, course in (("steadiness", self._steadiness), ("speed", self._speed)):
            seconds, changes = state[name]
            course.take_up(seconds, [(number, tuple(value)) for number, value in changes])
        self._gallery.take_up(state["gallery"])
        self._seconds_before = max((row[0] for _, row in self._speed.items()), default=0.0)

    def moments(self) -> dict[int, list[dict[str, Any]]]:
        """Return pictures of the faces that were seen longest, by number; see ``Gallery``."""
        return self._gallery.moments()

    def to_plain(self) -> dict[str, Any]:
        """Return the courses as plain data.

        ``steadiness``: rows of seconds (start of a stretch of the film), jitter of the landmarks as
        measured and as smoothed (RMS, pixels of a crop of 512), flicker of the faces before and
        after (mean, steps of 8 bit); None where nothing was measured. ``speed``: rows of seconds of
        work, frames done, bytes of memory.
        """
        rows = []
        for seconds, sums in self._steadiness.items():
            found = dict(zip(_STEADINESS, sums, strict=True))
            jitter = [_mean(found[name], found["detections"]) for name in ("raw", "smoothed")]
            flicker = [_mean(found[name], found["pairs"]) for name in ("before", "after")]
            roots = [None if square is None else square**0.5 for square in jitter]
            rows.append([seconds, *map(_rounded, roots), *map(_rounded, flicker)])
        return {
            "steadiness": rows,
            "speed": [
                [round(seconds, 2), num_frames, num_bytes or None]
                for _, (seconds, num_frames, num_bytes) in self._speed.items()
            ],
        }

    def _middles(self, face: RestoredFace) -> tuple[Luma, Luma]:
        before, restored = _middle(face.aligned.crop), _middle(face.crop)
        share = face.strength * self._strength
        # as in the blend, the restored face has the mean of the film's
        shift = share * (cv2.mean(before)[0] - cv2.mean(restored)[0])
        after = cv2.addWeighted(before, 1 - share, restored, share, shift)
        return before, np.asarray(after, np.uint8)


def _middle(crop: npt.NDArray[np.uint8]) -> Luma:
    edge = len(crop) // 4
    part = crop[edge : len(crop) - edge, edge : len(crop) - edge]
    return np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), np.uint8)


def _difference(first: Luma, second: Luma) -> float:
    return float(cv2.norm(first, second, cv2.NORM_L1)) / first.size


def _sum(first: Sums, second: Sums) -> Sums:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _later(first: Sample, second: Sample) -> Sample:
    return (second[0], second[1], max(first[2], second[2]))


def _mean(total: float, count: float) -> float | None:
    return total / count if count else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _resident_bytes() -> int:
    """Return how much memory of this process is resident now; 0 where nothing tells."""
    with suppress(OSError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return 0
