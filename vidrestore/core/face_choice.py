"""Whose faces are shown, frame by frame: a function of the frame alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from vidrestore.contracts import FaceTrack, TrackedFrame
from vidrestore.core.face_index import FaceIndex, KnownFace, place_of
from vidrestore.settings import FaceChoice

_CHOICE_BAND = 0.1
"""``largest`` passes from one face to another while log(size ratio) crosses this band around 0."""


class FaceChooser:
    """Gives tracks the ids of known faces, and keeps those that are wanted.

    Ids that are asked for are shown, whatever ``KnownFace.restore`` says; it takes faces away from
    "everyone" and from "the largest". A face that is not known is one of everyone.

    Args:
        choice: Everyone, the largest, or the ids of known faces.
        known: The faces that have ids.
    """

    def __init__(
        self, choice: FaceChoice | tuple[int, ...], known: Sequence[KnownFace] = ()
    ) -> None:
        self._choice = choice
        self._index = FaceIndex(known) if known else None
        self._factors: dict[int | None, float] = {f.face_id: f.strength for f in known}
        self.num_frames_with_strangers = 0
        """Frames so far with a face that is none of the known ones, if there are known ones."""

    def choose(self, item: TrackedFrame, *, is_wanted: bool = True) -> TrackedFrame:
        """Return the frame with the tracks that are wanted, each as strong as it is wanted.

        Args:
            item: With the tracks of all faces.
            is_wanted: The frame will be shown; False for one that only influences others.
        """
        tracks = item.tracks
        if self._index is not None and tracks:
            places = np.stack([place_of(track.landmarks) for track in tracks])
            named = self._index.recognise(item.frame.seconds, places)
            self.num_frames_with_strangers += is_wanted and None in named
            tracks = tuple(
                track if face is None else dataclasses.replace(track, face_id=face.face_id)
                for track, face in zip(tracks, named, strict=True)
                if self._is_wanted(face)
            )
        if self._choice is FaceChoice.LARGEST:
            tracks = _keep_largest(tracks)
        return dataclasses.replace(item, tracks=tuple(self._weakened(t) for t in tracks))

    def _is_wanted(self, face: KnownFace | None) -> bool:
        if isinstance(self._choice, tuple):
            return face is not None and face.face_id in self._choice
        return face is None or face.restore

    def _weakened(self, track: FaceTrack) -> FaceTrack:
        factor = self._factors.get(track.face_id, 1.0)
        return dataclasses.replace(track, strength=track.strength * factor)


def _keep_largest(tracks: Sequence[FaceTrack]) -> tuple[FaceTrack, ...]:
    """Weaken each track by the larger ones beside it.

    A face gives way to another as that one grows past it and as that one fades in: both are
    gradual, so the choice never jumps from one frame to the next.
    """
    sizes = [_size(t) for t in tracks]
    kept = []
    for i, face in enumerate(tracks):
        strength = face.strength
        for j, other in enumerate(tracks):
            if i != j:
                lead = 0.5 + np.log(sizes[i] / sizes[j]) / _CHOICE_BAND
                strength *= 1 - other.strength * (1 - float(np.clip(lead, 0, 1)))
        if strength > 0:
            kept.append(dataclasses.replace(face, strength=strength))
    return tuple(kept)


def _size(track: FaceTrack) -> float:
    return float(np.linalg.norm(track.landmarks - track.landmarks.mean(axis=0)))
