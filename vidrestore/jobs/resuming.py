"""What lets a run that was cut short go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vidrestore.media.work_folder import fingerprint
from vidrestore.media.write import VideoWriter
from vidrestore.report import describe_versions, plain
from vidrestore.settings import RestoreSettings


def describe_job(
    source: Path, settings: RestoreSettings, models: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that decides how the pictures come out, as plain nested data.

    Where things are found, how many threads work and what becomes of the sound is not in it.

    Args:
        source: The film.
        settings: Of the run.
        models: The report's facts about the networks: name, hash, and how they are computed.
    """
    encode = settings.encode
    return {
        "film": fingerprint(source),
        "settings": plain(
            {
                "start": settings.span.start and str(settings.span.start),
                "end": settings.span.end and str(settings.span.end),
                "read": dataclasses.asdict(settings.read),
                "detect": dataclasses.asdict(settings.detect),
                "track": dataclasses.asdict(settings.track),
                "blend": dataclasses.asdict(settings.blend),
                "codec": encode.codec,
                "crf": encode.crf,
                "preset": encode.preset,
            }
        ),
        "models": plain(models),
        "versions": describe_versions(),
    }


@contextmanager
def keeping(writer: VideoWriter) -> Iterator[None]:
    """Add a note to an exception that leaves the block: what is kept, and how to go on."""
    try:
        yield
    except BaseException as error:
        if writer.kept_folder is not None:
            error.add_note(
                f"{writer.num_frames_kept} frames are finished and kept in {writer.kept_folder}: "
                "the same command goes on from there"
            )
        raise
