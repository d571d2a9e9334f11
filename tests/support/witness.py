"""What a film holds, read with PyAV alone: for comparing what went in with what came out."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Planes = tuple[npt.NDArray[Any], ...]


def video_times(path: Path) -> list[Fraction]:
    """Times of all pictures in seconds, from the first of picture or sound."""
    with av.open(str(path)) as film:
        streams = [*film.streams.video[:1], *film.streams.audio]
        origin = min(s.start_time * s.time_base for s in streams if s.start_time is not None)
        base = film.streams.video[0].time_base
        return [f.pts * base - origin for f in film.decode(video=0)]


def planes_of(path: Path) -> list[Planes]:
    """All pictures as copies of their planes, 8 bit."""
    with av.open(str(path)) as film:
        return [
            tuple(
                np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width].copy()
                for p in frame.planes
            )
            for frame in film.decode(video=0)
        ]


def pictures_of(path: Path) -> list[npt.NDArray[np.uint8]]:
    """All pictures in RGB."""
    with av.open(str(path)) as film:
        return [f.to_ndarray(format="rgb24") for f in film.decode(video=0)]


def audio_digests(path: Path) -> list[str]:
    """SHA-256 of all packets' payload, for each track of sound."""
    digests = []
    with av.open(str(path)) as film:
        for track in range(len(film.streams.audio)):
            film.seek(0)
            digest = hashlib.sha256()
            for packet in film.demux(audio=track):
                if packet.size and not packet.is_discard:
                    digest.update(bytes(packet))
            digests.append(digest.hexdigest())
    return digests


def assert_same_film(a: Path, b: Path) -> None:
    """Two films have the same pictures, times and sound."""
    assert video_times(a) == video_times(b)
    for before, after in zip(planes_of(a), planes_of(b), strict=True):
        for plane_a, plane_b in zip(before, after, strict=True):
            np.testing.assert_array_equal(plane_a, plane_b)
    assert audio_digests(a) == audio_digests(b)
