"""RestoredFrame → RestoredFrame: texture that does not flicker, strength that does not jump.

Works on the crops of a track, a few frames to each side of the one that is given out.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from vidrestore.contracts import (
    Embedding,
    FaceEmbedder,
    Points,
    RestoredFace,
    RestoredFrame,
    RGBImage,
)
from vidrestore.core import gates
from vidrestore.core.colour import FloatPlane
from vidrestore.core.compositing import FaceMask, feathered_mask
from vidrestore.core.gates import GateKeeper, Measures, measure_geometry, measure_pictures
from vidrestore.core.geometry import invert_affine, similarity_transform
from vidrestore.core.texture import REACH, Texture, TextureFilter, with_luma_changed
from vidrestore.core.warping import resample
from vidrestore.settings import BlendSettings

FADE_FRAMES = 5
"""A strength is an average over so many frames, so its steps are 1/5 at most."""
_REACH_TICKS = 12
"""Frames further away than this have no part in a frame, however few lie between."""
_KEPT = FADE_FRAMES
"""Finished frames that later ones may need."""


def warmup_ticks(*, with_identity: bool = False) -> tuple[int, int]:
    """Return how many ticks before and after a range influence the frames inside it.

    Args:
        with_identity: An embedder is installed.
    """
    reach = _REACH_TICKS + 1  # ticks are rounded
    return gates.warmup_ticks(with_identity=with_identity) + reach, reach


def steady_faces(
    frames: Iterator[RestoredFrame],
    settings: BlendSettings,
    template: Points,
    size: int,
    lookahead: int,
    embedder: FaceEmbedder | None = None,
) -> Iterator[RestoredFrame]:
    """Average the texture of each face along its track, and decide how strongly it is shown.

    Holds back ``REACH`` frames, or ``lookahead`` if that is less.

    Args:
        frames: With restored crops.
        settings: How much of the averaging is wanted, and whether faces are judged.
        template: Where the landmarks lie in a crop, shape (5, 2), pixels.
        size: Side S of the crops.
        lookahead: Frames of the future that may be awaited.
        embedder: Says whether a restored face is still the same person, if one is installed.

    Yields:
        One frame for each that came, in order, its faces with their final crops and strengths.
    """
    likeness = None if embedder is None else _Likeness(embedder, template)
    steadier = _Steadier(settings, FaceMask.of(feathered_mask(template, size)), likeness)
    reach = min(REACH, lookahead)
    held: deque[_Held] = deque()
    num_done = 0
    for item in frames:
        held.append(steadier.prepare(item, held[-1] if held else None))
        while num_done < len(held) and _is_ready(held, num_done, reach):
            yield steadier.finish(held, num_done, reach)
            num_done += 1
        steadier.forget(held[num_done].tick if num_done < len(held) else held[-1].tick)
        while num_done > _KEPT:
            held.popleft()
            num_done -= 1
    for k in range(num_done, len(held)):
        yield steadier.finish(held, k, reach)


@dataclass(slots=True)
class _Held:
    """A frame, and what was worked out of each of its faces, by the track's id."""

    item: RestoredFrame
    shot: int
    textures: dict[int, Texture] = field(default_factory=dict)
    wanted: dict[int, tuple[float, str | None]] = field(default_factory=dict)
    """Strength before the fades, and the reason why it is no more."""

    @property
    def tick(self) -> int:
        return self.item.frame.tick


def _is_ready(held: Sequence[_Held], k: int, reach: int) -> bool:
    """Say whether all that may influence frame ``k`` has come."""
    latest = held[-1]
    is_over = latest.shot != held[k].shot or latest.tick > held[k].tick + _REACH_TICKS
    return is_over or len(held) - 1 - k >= reach


class _Likeness:
    """Compares the person in the film's crop with the one in the restored crop."""

    def __init__(self, embedder: FaceEmbedder, template: Points) -> None:
        chip_from_crop = similarity_transform(template, embedder.template)
        assert chip_from_crop is not None
        self._embedder = embedder
        self._crop_from_chip = invert_affine(chip_from_crop)

    def __call__(self, face: RestoredFace) -> float:
        """Return minus the distance of the two embeddings."""
        film, restored = (self._described(crop) for crop in (face.aligned.crop, face.crop))
        return -float(np.linalg.norm(film - restored))

    def _described(self, crop: RGBImage) -> Embedding:
        size = self._embedder.size
        channels = [resample(crop[..., k], self._crop_from_chip, size, size) for k in range(3)]
        chip = np.stack(channels, axis=2).round().clip(0, 255).astype(np.uint8)
        return self._embedder.describe(chip)


class _Steadier:
    """What the frames of a film share: the mask, the filter, the gates of the faces in sight."""

    def __init__(self, settings: BlendSettings, mask: FaceMask, likeness: _Likeness | None) -> None:
        self._settings, self._likeness = settings, likeness
        self._mask = mask.weights
        left, top, right, bottom = mask.box
        self._box = np.s_[top:bottom, left:right]
        self._weights: FloatPlane = np.ascontiguousarray(self._mask[self._box])
        self._filter = TextureFilter((bottom - top, right - left))
        self._keepers: dict[int, GateKeeper] = {}

    def prepare(self, item: RestoredFrame, previous: _Held | None) -> _Held:
        """Take in the next frame: link its crops to those before, and measure its faces."""
        held = _Held(item, 0 if previous is None else previous.shot + item.is_cut)
        earlier = previous.textures if previous and _are_near(previous, held) else {}
        if not self._settings.gates and not self._settings.temporal:
            return held  # nobody asks for the textures, which are what costs
        for face in item.faces:
            number = face.aligned.track.track_id
            texture = Texture.of(face.aligned.crop[self._box], face.crop[self._box])
            held.textures[number] = texture
            if number in earlier:
                self._filter.link(earlier[number], texture)
            if self._settings.gates:
                keeper = self._keepers.setdefault(number, GateKeeper())
                keeper.add(held.tick, self._measure(item, face, texture, keeper))
        return held

    def forget(self, tick: int) -> None:
        """Drop the gates of faces that no frame from ``tick`` on asks for."""
        gone = [number for number, keeper in self._keepers.items() if keeper.is_stale(tick)]
        for number in gone:
            del self._keepers[number]

    def _measure(
        self, item: RestoredFrame, face: RestoredFace, texture: Texture, keeper: GateKeeper
    ) -> Measures:
        aligned = face.aligned
        identity = math.nan
        if self._likeness is not None:
            identity = keeper.identity_at(item.frame.tick, partial(self._likeness, face))
        return Measures(
            *measure_geometry(
                aligned.track.landmarks, item.frame, aligned.crop_from_frame, self._mask
            ),
            *measure_pictures(texture.film, texture.restored, texture.noise, self._weights),
            identity,
        )

    def finish(self, held: Sequence[_Held], k: int, reach: int) -> RestoredFrame:
        """Return frame ``k`` as it is to be shown."""
        faces = tuple(self._finish_face(held, k, face, reach) for face in held[k].item.faces)
        return dataclasses.replace(held[k].item, faces=faces)

    def _finish_face(
        self, held: Sequence[_Held], k: int, face: RestoredFace, reach: int
    ) -> RestoredFace:
        number = face.aligned.track.track_id
        last = k + reach
        near = [j for j, other in enumerate(held) if _are_near(held[k], other)]
        # where a shot begins or ends within the window, its first or last frame is repeated
        window = np.clip(range(last - FADE_FRAMES + 1, last + 1), near[0], near[-1])
        shown = [self._wanted(held[j], number)[0] for j in window]
        crop = face.crop
        strength = sum(shown) / len(shown)
        if strength > 0 and self._settings.temporal > 0:
            crop = self._steadied(held, k, number, crop, reach)
        reason = self._wanted(held[k], number)[1]
        return dataclasses.replace(face, crop=crop, strength=strength, held_back=reason)

    def _wanted(self, held: _Held, number: int) -> tuple[float, str | None]:
        """Return the strength of a face before it is faded, and what holds it back."""
        if number not in held.wanted:
            strengths = {f.aligned.track.track_id: f.strength for f in held.item.faces}
            strength, reason = strengths.get(number, 0.0), None
            if number in self._keepers and strength > 0:
                openness, reason = self._keepers[number].openness(held.tick)
                strength = min(strength, openness)
            held.wanted[number] = strength, reason
        return held.wanted[number]

    def _steadied(
        self, held: Sequence[_Held], k: int, number: int, crop: RGBImage, reach: int
    ) -> RGBImage:
        """Return a crop with its luma averaged over those it is linked to."""
        textures = [near.textures.get(number) for near in held]
        here = textures[k]
        assert here is not None
        first = last = k
        near = range(max(0, k - REACH), min(len(held), k + reach + 1))
        is_near = {j: _are_near(held[k], held[j]) for j in near}
        while is_near.get(first - 1, False) and _is_linked(textures[first]):
            first -= 1
        while is_near.get(last + 1, False) and _is_linked(textures[last + 1]):
            last += 1
        window = [t for t in textures[first : last + 1] if t is not None]
        average = self._filter.steadied(window, k - first)
        change = self._settings.temporal * (average - here.restored)
        result = crop.copy()
        result[self._box] = with_luma_changed(crop[self._box], change)
        return result


def _are_near(a: _Held, b: _Held) -> bool:
    """Say whether two frames of a shot are close enough to be related."""
    return a.shot == b.shot and abs(a.tick - b.tick) <= _REACH_TICKS


def _is_linked(texture: Texture | None) -> bool:
    """Say whether a crop is linked to that of the frame before."""
    return texture is not None and texture.to_previous is not None
