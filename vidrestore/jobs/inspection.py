"""What a film holds, before anything is done to it."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

from vidrestore.contracts import Frame
from vidrestore.core.views import to_display, upright_view
from vidrestore.errors import OutputError
from vidrestore.jobs.networks import choose_models, loaded_detector
from vidrestore.media.containers import CONTAINERS
from vidrestore.media.decoding import Damage
from vidrestore.media.encoders import choose_encoder
from vidrestore.media.estimate import estimate_output_bytes
from vidrestore.media.fields import FieldReport
from vidrestore.media.plan import plan_pictures, plan_tracks
from vidrestore.media.probe import SourceInfo
from vidrestore.media.read import VideoReader
from vidrestore.report import plain
from vidrestore.settings import DetectSettings, EncodeSettings, ModelSettings
from vidrestore.stages.detect import is_believed

NUM_SAMPLES = 12
"""Moments at which faces are looked for."""
_MINUTE = Fraction(60)
_PACE_PICTURES = 100
_ROUNDING_SECONDS = 0.0021
"""Matroska rounds each time to a millisecond."""


@dataclass(frozen=True, slots=True)
class FaceSample:
    """The faces at one moment."""

    seconds: float
    widths_px: tuple[float, ...]
    """Width of each face's box in display pixels, largest first."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the pictures follow each other at the beginning of the film."""

    num_pictures: int
    """Pictures looked at."""
    shortest_seconds: float
    longest_seconds: float
    """Time from a picture to the next."""

    @property
    def is_even(self) -> bool:
        """All follow at one rate, but for the rounding of the container."""
        return self.longest_seconds - self.shortest_seconds <= _ROUNDING_SECONDS


@dataclass(frozen=True, slots=True)
class Inspection:
    """What ``vidrestore inspect`` shows."""

    source: SourceInfo
    fields: FieldReport | None
    """What its pictures say about interlacing."""
    pace: Pace
    samples: tuple[FaceSample, ...]
    damage: Damage
    """What was wrong with the pictures read for all this."""
    choices: tuple[str, ...]
    """What a run would decide, one sentence each."""
    plan: Mapping[str, tuple[str, ...]]
    """For ``.mp4`` and ``.mkv`` what a run would not keep as it is, one sentence each."""
    output_bytes: tuple[int, int]
    """Least and most that the output of a run would take."""

    def to_json(self) -> str:
        """Return the same as indented JSON."""
        return json.dumps(plain(dataclasses.asdict(self)), indent=2)


def inspect_video(source: str | Path, model: ModelSettings | None = None) -> Inspection:
    """Read a film's streams and look for faces at a few moments spread over it.

    Raises:
        MediaError: The film cannot be read.
        WeightsError: The detector is not installed.
    """
    model = model or ModelSettings()
    detect = DetectSettings()
    with VideoReader(Path(source)) as reader:
        chosen = choose_models(model)
        samples = []
        with loaded_detector(chosen, model, detect) as (detector, _, _):
            for frame in _spread_frames(reader):
                (found,) = detector.detect([upright_view(frame, detect.max_side)])
                seen = [to_display(o, frame, detect.max_side) for o in found]
                boxes = [o.box_xyxy for o in seen if is_believed(o, detect)]
                widths = sorted((float(b[2] - b[0]) for b in boxes), reverse=True)
                samples.append(FaceSample(frame.seconds, tuple(widths)))
        return Inspection(
            source=reader.info,
            fields=reader.fields,
            pace=_pace(reader),
            samples=tuple(samples),
            damage=reader.damage,
            choices=tuple(reader.notes),
            plan={suffix: _plan_for(reader.info, suffix) for suffix in (".mp4", ".mkv")},
            output_bytes=estimate_output_bytes(reader.info, EncodeSettings(), None),
        )


def _plan_for(info: SourceInfo, suffix: str) -> tuple[str, ...]:
    """Say what a run to a container with the default codec would change or leave out."""
    container, settings = CONTAINERS[suffix], EncodeSettings()
    try:
        pictures = plan_pictures(info.video, choose_encoder(settings, container), container)
    except OutputError as refusal:
        pictures = [str(refusal)]
    tracks = plan_tracks(info, container, settings)
    return (*pictures, *(track.note for track in tracks if track.note))


def _pace(reader: VideoReader) -> Pace:
    """Measure the distances of the first pictures."""
    with closing(reader.frames()) as frames:
        times = [frame.seconds for frame in islice(frames, _PACE_PICTURES)]
    steps = [b - a for a, b in pairwise(times)] or [0.0]
    return Pace(len(times), min(steps), max(steps))


def _spread_frames(reader: VideoReader) -> list[Frame]:
    """Return the frames in the middle of equal parts of the film; the first if it has no length.

    Of a film in which nothing can be seeked the first minute stands for the whole.
    """
    duration = reader.info.duration_seconds
    if not duration:
        return list(islice(reader.frames(), 1))
    can_seek = reader.info.timeline.can_seek
    if not can_seek:
        duration = min(duration, _MINUTE)
    moments = [duration * (2 * k + 1) / (2 * NUM_SAMPLES) for k in range(NUM_SAMPLES)]
    if can_seek:
        found = [next(reader.frames(moment), None) for moment in moments]
    else:
        found = list(_frames_at(reader, moments))
    return list({frame.pts: frame for frame in found if frame is not None}.values())


def _frames_at(reader: VideoReader, moments: Sequence[Fraction]) -> Iterator[Frame]:
    """Yield the first frame at or after each of some moments, in one pass."""
    waiting = deque(moments)
    with closing(reader.frames()) as frames:
        for frame in frames:
            if not waiting:
                return
            if frame.seconds >= waiting[0]:
                yield frame
                while waiting and frame.seconds >= waiting[0]:
                    waiting.popleft()
