"""Looks into films with plain PyAV, so that the program's own reading is not its own judge."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vidrestore.media.read import VideoReader
from vidrestore.media.write import VideoWriter
from vidrestore.settings import EncodeSettings
from vidrestore.stages.decode import decode_frames

QUICK = EncodeSettings(preset="ultrafast", overwrite=True)


def rewrite(
    source: Path,
    target: Path,
    settings: EncodeSettings = QUICK,
    start: Fraction | None = None,
    end: Fraction | None = None,
) -> VideoWriter:
    """Read a film and write it again, no face touched; return the closed writer."""
    with (
        VideoReader(source) as reader,
        VideoWriter(target, reader.info, settings, start_seconds=start, end_seconds=end) as writer,
    ):
        for frame in decode_frames(reader, start, end):
            writer.write(frame)
    return writer


def film_times(path: Path) -> list[Fraction]:
    """Seconds of each picture, counted from the start of the film."""
    with VideoReader(path) as reader:
        return [f.pts * f.time_base - reader.info.origin for f in reader.frames()]


def film_planes(path: Path) -> list[tuple[Any, ...]]:
    """The planes of each picture."""
    with VideoReader(path) as reader:
        return [frame.planes for frame in reader.frames()]


def payloads(path: Path, kind: str = "audio") -> list[list[bytes]]:
    """The bytes of every packet, track by track; cover pictures are no video."""
    with av.open(str(path)) as container:
        streams = [
            s
            for s in container.streams
            if s.type == kind and not s.disposition & av.stream.Disposition.attached_pic
        ]
        found: dict[int, list[bytes]] = {s.index: [] for s in streams}
        for packet in container.demux(streams) if streams else ():
            if packet.size:
                found[packet.stream.index].append(bytes(packet))
    return list(found.values())


def beeps(path: Path, track: int = 0) -> list[float]:
    """Seconds, in the container's own time, at which the sound gets loud."""
    moments, quiet_since = [], -1.0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=track):
            if frame.pts is None:
                continue
            samples = frame.to_ndarray()
            if not frame.format.is_planar:
                samples = samples.reshape(-1, frame.layout.nb_channels).T
            if samples.dtype.kind != "f":
                samples = samples / np.iinfo(samples.dtype).max
            loud = np.flatnonzero(np.abs(samples).max(axis=0) > 0.15)
            for moment in frame.pts * float(frame.time_base) + loud / frame.sample_rate:
                if moment - quiet_since > 0.3:
                    moments.append(float(moment))
                quiet_since = moment
    return moments
