"""How long a film is and how fast its pictures come, from headers that are often wrong."""

from __future__ import annotations

import math
from contextlib import suppress
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from vidrestore.media.opening import NOT_A_FILM
from vidrestore.media.timeline import Timeline

_HEADER_DURATION = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "asf", "flv")
"""Containers whose headers say how long the film should be; others measure what is there."""
_FALLBACK_RATE = Fraction(25)
_SLOWEST, _FASTEST = Fraction(1, 60), Fraction(500)
"""Rates beyond are a clock's resolution (1000, 90000) or nonsense, no camera's."""


def duration_of(container: InputContainer, origin: Fraction, timeline: Timeline) -> Fraction | None:
    """Return the seconds from ``origin`` to the end of the longest picture or sound track."""
    if timeline.end is not None and timeline.end > origin:
        return timeline.end - origin
    ends = [
        ((stream.start_time or 0) + stream.duration) * stream.time_base - origin
        for stream in container.streams
        if stream.type in ("video", "audio")
        and stream.duration
        and stream.time_base
        and not (stream.type == "video" and stream.disposition & NOT_A_FILM)
    ]
    if ends:
        return max(ends)
    if not container.duration:
        return None
    whole = Fraction(container.duration, av.time_base)
    # Matroska counts from zero, wherever its first picture is
    return whole - origin if "matroska" in container.format.name and whole > origin else whole


def promised_end(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Return when the pictures should be over by the header, in the container's time."""
    if container.format.name not in _HEADER_DURATION or not stream.time_base:
        return None
    duration = stream.duration or 0
    if container.format.name == "avi":
        # FFmpeg takes what is there for the duration; the header counts pictures
        duration = max(duration, stream.frames)
    if duration:
        return ((stream.start_time or 0) + duration) * stream.time_base
    stated = stream.metadata.get("DURATION", "")  # Matroska: 00:00:10.333000000
    with suppress(ValueError, ZeroDivisionError):  # anything may be written there
        hours, minutes, seconds = stated.split(":")
        return Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds)
    return None if container.streams.audio else stated_end(container)


def stated_end(container: InputContainer) -> Fraction | None:
    """Return when the whole film should be over by the header, in the container's time."""
    if container.format.name not in _HEADER_DURATION or not container.duration:
        return None
    return Fraction(container.duration, av.time_base)


def nominal_rate(stream: VideoStream, timeline: Timeline) -> Fraction:
    """Return how many pictures come in a second, as far as anything credible says so."""
    guess, average = stream.guessed_rate, stream.average_rate
    if guess and average and guess > average * Fraction(3, 2):
        guess = average  # a phone's varying rate: the guess is the grid its times lie on
    for rate in (guess, average, _measured_rate(stream, timeline)):
        if rate and _SLOWEST <= rate <= _FASTEST:
            return rate
    return _FALLBACK_RATE


def _measured_rate(stream: VideoStream, timeline: Timeline) -> Fraction | None:
    num_pictures = timeline.num_pictures or stream.frames
    if not num_pictures or not stream.duration or not stream.time_base or timeline.num_joints:
        return None
    return num_pictures / (stream.duration * stream.time_base)


def num_frames_estimate(
    stream: VideoStream, rate: Fraction, duration: Fraction | None, timeline: Timeline
) -> int | None:
    """Return about how many pictures there are, for progress bars."""
    if timeline.num_pictures:
        return timeline.num_pictures
    by_time = math.ceil(duration * rate) if duration else None
    if stream.frames and by_time:  # frames that an edit list hides are counted in stream.frames
        return min(stream.frames, by_time)
    return stream.frames or by_time
