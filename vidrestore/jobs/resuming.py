"""What lets a run that was cut short go on."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidrestore.jobs.faces_file import identify
from vidrestore.media.decoding import Damage
from vidrestore.media.segments import LONGEST_SECONDS, SHORTEST_SECONDS
from vidrestore.media.write import VideoWriter
from vidrestore.models.weights import sha256_of
from vidrestore.pipeline import Span
from vidrestore.report import FrameRecorder, describe_versions, plain
from vidrestore.settings import Moment, RestoreSettings

logger = logging.getLogger(__name__)


def describe_job(
    source: Path, settings: RestoreSettings, models: Mapping[str, Any], faces: str | None
) -> dict[str, Any]:
    """Return everything that decides how the pictures come out, as plain nested data.

    Where things are found, how many threads work and what becomes of the sound is not in it.

    Args:
        source: The film.
        settings: Of the run.
        models: The report's facts about the networks: name, hash, and how they are computed.
        faces: Digest of what the faces file says, if there is one.
    """
    options = _by_option(settings) | {"--faces-file": faces}
    return {
        "film": identify(source),
        "settings": plain(options),
        "models": plain(models),
        "versions": describe_versions(),
    }


def _by_option(settings: RestoreSettings) -> dict[str, Any]:
    """Return what decides about the pictures, under the names a user knows."""
    model = settings.background.model
    return {
        "--start": _exactly(settings.span.start),
        "--end": _exactly(settings.span.end),
        "--deinterlace": settings.read.deinterlace,
        "--fields": settings.read.fields,
        "--nvdec": settings.read.nvdec,
        "--denoise": settings.read.denoise,
        "--background": None if model is None else sha256_of(model),
        "--upscale": settings.background.upscale,
        "--strength": settings.blend.strength,
        "--temporal": settings.blend.temporal,
        "--gates": settings.blend.gates,
        "--faces": settings.blend.faces,
        "--detect-every": settings.detect.every,
        "--detect-threshold": settings.detect.threshold,
        "detect-max-side": settings.detect.max_side,
        "detect-min-face": settings.detect.min_face_px,
        "--lookahead": settings.track.lookahead,
        "fade-frames": settings.track.fade_frames,
        "--codec": settings.encode.codec,
        "--crf": settings.encode.crf,
        "--preset": settings.encode.preset,
        "--nvenc": settings.encode.nvenc,
    }


def _exactly(moment: Moment | None) -> str | None:
    if moment is None:
        return None
    return f"@{moment.frame}" if moment.seconds is None else f"{moment.seconds} s"


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier run of the same job has done."""

    num_frames: int
    frames: tuple[Mapping[str, Any], ...]
    """What the recorder learnt in each segment."""
    damage: Damage
    rest: Span | None
    """What is still to be done; None if only the joining is."""


def take_up(
    writer: VideoWriter, job: Mapping[str, Any] | None, span: Span, *, resume: bool
) -> Earlier:
    """Go on with what is there, if there is something.

    Args:
        writer: Of the output.
        job: From ``describe_job``; None if this run is not to be gone on with.
        span: What is wanted.
        resume: False starts over.

    Raises:
        SettingsError: What is there was begun otherwise.
        OutputError: The work folder cannot be written, or another run is at work in it.
    """
    kept = None if job is None else writer.take_up(job, resume=resume)
    if kept is None:
        return Earlier(0, (), Damage(), span)
    logger.info("going on with an unfinished run: %d frames are done", kept.num_frames)
    rest = None if kept.next_seconds is None else Span(kept.next_seconds, span.stop)
    frames = tuple(state["frames"] for state in kept.states)
    return Earlier(kept.num_frames, frames, Damage(**kept.states[-1]["damage"]), rest)


def state_of(
    recorder: FrameRecorder,
    damage: Callable[[], Damage],
    places: Callable[[], Iterable[tuple[float, str]]],
) -> dict[str, Any]:
    """Return what the next run must know if this one is cut short.

    Args:
        recorder: Of this run.
        damage: Returns what was wrong with the film up to the latest frame.
        places: Returns where that was, since the last call.
    """
    recorder.add_damage(places())
    return {"frames": recorder.state(), "damage": dataclasses.asdict(damage())}


@contextmanager
def keeping(writer: VideoWriter, target: Path) -> Iterator[None]:
    """Add a note to an exception that leaves the block: what there is now, and how to go on."""
    try:
        yield
    except BaseException as error:
        if writer.kept_folder is not None:
            error.add_note(
                f"{writer.num_frames_kept} frames are finished and kept in {writer.kept_folder}: "
                "the same command goes on from there"
            )
        elif writer.is_complete:
            error.add_note(f"{target} is complete all the same")
        elif writer.is_resumable and writer.num_frames:
            error.add_note(
                f"nothing is kept: the first segment, {SHORTEST_SECONDS} to {LONGEST_SECONDS} s of "
                "the film, was not finished yet"
            )
        raise
