"""Small pictures of faces before and after, at a few moments of each track."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vidrestore.contracts import BlendedFrame, Frame, RestoredFace
from vidrestore.core.enlarging import large_from_small
from vidrestore.core.geometry import compose, invert_affine
from vidrestore.core.portraits import facing
from vidrestore.core.warping import crop_from_planes
from vidrestore.report.stretches import Stretches

PICTURE_SIZE = 112
"""Side of the pictures in pixels."""
MOST_TRACKS = 40
MOMENTS_PER_TRACK = 5
MOST_CHARACTERS = 1_500_000
"""Of all pictures together, as base64."""

_JPEG_QUALITY = 80
_SLOT_SECONDS = 0.8
_MOST_SLOTS = 2 * MOMENTS_PER_TRACK
_MARKEDLY = 1.2
"""A picture costs time, so it must be so much better than the one it would replace."""
_AWAY_SECONDS = 2.0
"""A track that was not seen for so long is over."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A face at one moment, before and after."""

    seconds: float
    quality: float
    """Grows with how frontal and how fully shown the face is."""
    strength: float
    """How much of the restored face is shown, 0..1."""
    held_back: str | None
    before: str
    after: str
    """JPEG as base64, shape (S, S, 3), S being ``PICTURE_SIZE``."""


class _Series:
    """The moments of one track."""

    def __init__(self) -> None:
        self.num_frames = 0
        self.latest_seconds = 0.0
        self.slots: Stretches[Moment] = Stretches(_SLOT_SECONDS, _MOST_SLOTS, _better)

    def chosen(self) -> list[Moment]:
        """Return a few moments, evenly spread."""
        moments = [moment for _, moment in self.slots.items()]
        count = min(MOMENTS_PER_TRACK, len(moments))
        places = np.linspace(0, len(moments) - 1, count).round().astype(int)
        return [moments[place] for place in places]


class Gallery:
    """Keeps a few pictures of each of the faces that are seen longest, while frames go by."""

    def __init__(self) -> None:
        self._series: dict[int, _Series] = {}
        self._changed: set[int] = set()

    def offer(self, item: BlendedFrame, face: RestoredFace, number: int) -> None:
        """Take a face of a finished frame; ``number`` is its number in the report."""
        if number not in self._series:
            self._forget_short_ones(item.frame.seconds)
        series = self._series.setdefault(number, _Series())
        series.num_frames += 1
        series.latest_seconds = seconds = item.frame.seconds
        self._changed.add(number)
        landmarks = face.aligned.track.landmarks
        quality = (0.1 + facing(landmarks)) * (0.1 + face.strength)
        known = series.slots.at(seconds)
        if known is None or quality > _MARKEDLY * known.quality:
            pictures = (_picture(frame, item, face) for frame in (item.original, item.frame))
            told = round(quality, 4), round(face.strength, 4), face.held_back
            series.slots.add(seconds, Moment(seconds, *told, *pictures))

    def moments(self) -> dict[int, list[dict[str, Any]]]:
        """Return the moments of the faces that were seen longest, by number, as plain data.

        They have a time, how much is shown (``strength``), what held the face back, and two JPEG
        pictures as base64, ``before`` and ``after``.
        """
        found: dict[int, list[dict[str, Any]]] = {}
        num_left = MOST_CHARACTERS
        for number in self._longest()[:MOST_TRACKS]:
            rows = [dataclasses.asdict(moment) for moment in self._series[number].chosen()]
            num_left -= sum(len(row["before"]) + len(row["after"]) for row in rows)
            if num_left < 0:
                break
            found[number] = [{k: v for k, v in row.items() if k != "quality"} for row in rows]
        return found

    def state(self) -> list[dict[str, Any]]:
        """Return, as plain data, what has changed since the last call."""
        changed, self._changed = sorted(self._changed & set(self._series)), set()
        return [
            {
                "number": number,
                "num_frames": (series := self._series[number]).num_frames,
                "latest_seconds": series.latest_seconds,
                "slot_seconds": series.slots.seconds,
                "slots": [[k, dataclasses.asdict(m)] for k, m in series.slots.changes()],
            }
            for number in changed
        ]

    def take_up(self, state: list[Mapping[str, Any]]) -> None:
        """Go on from what ``state`` returned in an earlier run; to be called in order."""
        for data in state:
            series = self._series.setdefault(data["number"], _Series())
            series.num_frames = data["num_frames"]
            series.latest_seconds = data["latest_seconds"]
            slots = [(number, Moment(**moment)) for number, moment in data["slots"]]
            series.slots.take_up(data["slot_seconds"], slots)
            self._forget_short_ones(series.latest_seconds)

    def _forget_short_ones(self, now: float) -> None:
        """Forget tracks that can no longer be among the longest, if there are many."""
        if len(self._series) < 2 * MOST_TRACKS:
            return
        for number in self._longest()[MOST_TRACKS:]:
            if now - self._series[number].latest_seconds > _AWAY_SECONDS:
                del self._series[number]

    def _longest(self) -> list[int]:
        return sorted(self._series, key=lambda k: (-self._series[k].num_frames, k))


def _better(first: Moment, second: Moment) -> Moment:
    return second if second.quality > first.quality else first


def _picture(frame: Frame, item: BlendedFrame, face: RestoredFace) -> str:
    """Cut a face out of a frame, which may have been enlarged, and code it; small."""
    crop, film = face.aligned.crop, item.original.geometry
    picture_from_crop = large_from_small(crop.shape[:2], (PICTURE_SIZE, PICTURE_SIZE))
    sizes = (film.width, film.height), (frame.geometry.width, frame.geometry.height)
    film_from_frame = invert_affine(large_from_small(*sizes))
    matrix = compose(picture_from_crop, face.aligned.crop_from_frame, film_from_frame)
    image = crop_from_planes(frame, matrix, PICTURE_SIZE)
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return base64.b64encode(coded.tobytes()).decode("ascii")
