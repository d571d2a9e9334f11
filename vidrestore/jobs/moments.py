"""Looks into a film here and there, and chooses the moments that tell most about a run.

The search is bounded in places and in time; nothing is restored.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction

from vidrestore.contracts import FaceDetector, FaceObservation, FaceTrack, Frame
from vidrestore.core.portraits import facing, take_portrait
from vidrestore.core.views import to_display, upright_view
from vidrestore.jobs.drawing import clock_time
from vidrestore.media.read import VideoReader
from vidrestore.settings import DetectSettings
from vidrestore.stages.detect import is_believed

NUM_PLACES = 32
"""Places of the film that are looked at."""
LONGEST_LOOK_SECONDS = 30.0
"""When the look has taken so long, the places that are left are given up."""
CLIP_SECONDS = Fraction(5, 2)
"""Length of the clip around a moment."""

_LEAST_FACING = 0.4
"""A face turned further away is not restored."""
_MINUTE = Fraction(60)


@dataclass(frozen=True, slots=True)
class Place:
    """What was seen at one place."""

    seconds: Fraction
    """When the picture is shown, exactly."""
    widths_px: tuple[float, ...]
    """Widths of the faces that are sure, display pixels, largest first."""
    worst: float | None
    """How well the worst face that would be restored can be made out: grows with its size and
    sharpness; None if there is none."""
    worst_px: float = 0.0
    """Width of that face."""
    num_doubtful: int = 0
    """Faces that are not sure: a run follows them where it has seen them surely before or after."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a film."""

    places: tuple[Place, ...]
    """By time."""
    is_cut_short: bool = False
    """It took too long, and places were given up."""

    def faces_per_frame(self, most: int | None) -> float:
        """Estimate the mean number of faces followed in a picture, of which ``most`` count.

        A doubtful one counts half: of three films that were restored, 0.53, 0.0 and 0.4 of them
        were followed.
        """
        counts = [len(place.widths_px) + place.num_doubtful / 2 for place in self.places]
        limited = [count if most is None else min(most, count) for count in counts]
        return sum(limited) / len(limited) if limited else 0.0


@dataclass(frozen=True, slots=True)
class TellingMoment:
    """A moment worth a clip."""

    name: str
    """``large``, ``many`` or ``worst``."""
    why: str
    start: Fraction
    stop: Fraction
    """The clip, in seconds of the film."""


def look_through(reader: VideoReader, detector: FaceDetector, settings: DetectSettings) -> Look:
    """Search for faces at places spread over the whole film.

    Of a film in which nothing can be seeked the first minute stands for the whole. Where seeking
    is slow the search ends after ``LONGEST_LOOK_SECONDS``, its places being spread evenly then too.

    Raises:
        MediaError: The film cannot be read.
    """
    duration = reader.info.duration_seconds or Fraction(0)
    if not reader.info.timeline.can_seek:
        duration = min(duration, _MINUTE)
    moments = [duration * (2 * k + 1) / (2 * NUM_PLACES) for k in range(NUM_PLACES)]
    begun, found, is_cut_short = time.monotonic(), {}, False
    for frame in _frames_at(reader, moments):
        seconds = frame.pts * frame.time_base - reader.info.origin
        if seconds not in found:
            (seen,) = detector.detect([upright_view(frame, settings.max_side)])
            shown = [to_display(o, frame, settings.max_side) for o in seen]
            found[seconds] = _place(seconds, frame, shown, settings)
        if time.monotonic() - begun > LONGEST_LOOK_SECONDS:
            is_cut_short = True
            break
    return Look(tuple(found[k] for k in sorted(found)), is_cut_short)


def telling_moments(look: Look, duration: Fraction) -> tuple[TellingMoment, ...]:
    """Choose up to three moments whose clips do not overlap.

    Args:
        look: What was seen of the film.
        duration: Length of the film in seconds.

    Returns:
        Where the faces are largest, where most are together, and where the one that can be made
        out worst is; fewer in a film with few faces or in a short one, in this order.
    """
    with_faces = [place for place in look.places if place.widths_px]
    crowded = [place for place in with_faces if len(place.widths_px) > 1]
    restorable = [place for place in with_faces if place.worst is not None]
    kinds: tuple[tuple[str, list[Place], Callable[[Place], float]], ...] = (
        ("large", with_faces, lambda place: -place.widths_px[0]),
        ("many", crowded, lambda place: -len(place.widths_px)),
        ("worst", restorable, lambda place: place.worst or 0.0),
    )
    chosen: list[TellingMoment] = []
    for name, places, badness in kinds:
        for place in sorted(places, key=badness):
            start = max(Fraction(0), min(place.seconds, duration) - CLIP_SECONDS / 2)
            start = min(start, max(Fraction(0), duration - CLIP_SECONDS))
            stop = start + CLIP_SECONDS
            if all(stop <= other.start or start >= other.stop for other in chosen):
                chosen.append(TellingMoment(name, _reason(name, place), start, stop))
                break
    return tuple(chosen)


def _reason(name: str, place: Place) -> str:
    moment = clock_time(float(place.seconds))
    if name == "large":
        return f"its large face: {place.widths_px[0]:.0f} px wide at {moment}"
    if name == "many":
        return f"its many faces: {len(place.widths_px)} at {moment}"
    return f"a face that is hard to make out: {place.worst_px:.0f} px wide at {moment}"


def _place(
    seconds: Fraction, frame: Frame, seen: Sequence[FaceObservation], settings: DetectSettings
) -> Place:
    lenient = dataclasses.replace(settings, threshold=settings.doubtful)
    faces = [o for o in seen if is_believed(o, settings)]
    num_doubtful = sum(is_believed(o, lenient) for o in seen) - len(faces)
    widths = sorted((float(o.box_xyxy[2] - o.box_xyxy[0]) for o in faces), reverse=True)
    worst = min(
        (k for o in faces if (k := _legibility(frame, o)) is not None),
        key=lambda found: found[0],
        default=None,
    )
    quality, width = worst or (None, 0.0)
    return Place(seconds, tuple(widths), quality, width, num_doubtful)


def _legibility(frame: Frame, face: FaceObservation) -> tuple[float, float] | None:
    """Return how well a face can be made out, and its width; None if it is turned away."""
    straight = facing(face.landmarks)
    if straight < _LEAST_FACING:
        return None
    track = FaceTrack(0, face.landmarks, face.landmarks, face.score, 1.0)
    portrait = take_portrait(frame, track)
    if portrait is None:
        return None
    return portrait.quality / straight, float(face.box_xyxy[2] - face.box_xyxy[0])


def _frames_at(reader: VideoReader, moments: Sequence[Fraction]) -> Iterator[Frame]:
    """Yield the first frame at or after each moment.

    Where the film can be seeked in they come in an order that covers it evenly from the start.
    """
    if reader.info.timeline.can_seek:
        for moment in _spread(moments):
            with closing(reader.frames(moment)) as frames:
                yield from (frame for frame in [next(frames, None)] if frame is not None)
        return
    waiting = deque(moments)
    with closing(reader.frames()) as frames:
        for frame in frames:
            if not waiting:
                return
            if frame.seconds >= waiting[0]:
                yield frame
                while waiting and frame.seconds >= waiting[0]:
                    waiting.popleft()


def _spread(moments: Sequence[Fraction]) -> list[Fraction]:
    """Order moments so that the first few of them are spread over all.

    >>> [int(k) for k in _spread([Fraction(k) for k in range(8)])]
    [0, 4, 2, 6, 1, 5, 3, 7]
    """
    bits = max(1, (len(moments) - 1).bit_length())
    places = (int(f"{k:0{bits}b}"[::-1], 2) for k in range(1 << bits))
    return [moments[k] for k in places if k < len(moments)]
