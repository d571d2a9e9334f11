"""What a film holds, before anything is done to it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidrestore.contracts import Frame
from vidrestore.core.views import to_display, upright_view
from vidrestore.jobs.networks import choose_models, loaded_detector
from vidrestore.media.containers import CONTAINERS
from vidrestore.media.plan import plan_tracks
from vidrestore.media.probe import SourceInfo
from vidrestore.media.read import VideoReader
from vidrestore.report import plain
from vidrestore.settings import DetectSettings, ModelSettings
from vidrestore.stages.detect import is_believed

NUM_SAMPLES = 12
"""Moments at which faces are looked for."""


@dataclass(frozen=True, slots=True)
class FaceSample:
    """The faces at one moment."""

    seconds: float
    widths_px: tuple[float, ...]
    """Width of each face's box in display pixels, largest first."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What ``vidrestore inspect`` shows."""

    source: SourceInfo
    samples: tuple[FaceSample, ...]
    plan: tuple[str, ...]
    """What a run to an MP4 would not keep as it is, one sentence each."""

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
        plan = plan_tracks(reader.info, CONTAINERS[".mp4"])
        notes = tuple(track.note for track in plan if track.note)
        return Inspection(reader.info, tuple(samples), notes)


def _spread_frames(reader: VideoReader) -> list[Frame]:
    """Return the frames in the middle of equal parts of the film; the first if it has no length."""
    duration = reader.info.duration_seconds
    moments = [Fraction(0)]
    if duration:
        moments = [duration * (2 * k + 1) / (2 * NUM_SAMPLES) for k in range(NUM_SAMPLES)]
    frames: dict[int, Frame] = {}
    for moment in moments:
        frame = next(reader.frames(moment), None)
        if frame is not None:
            frames[frame.pts] = frame
    return list(frames.values())
