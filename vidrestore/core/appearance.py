"""What faces look like, for telling people apart where they cross.

An embedding takes a tenth of a second, so a face is described only when somebody asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidrestore.contracts import Embedding, FaceEmbedder, FaceObservation, RGBImage
from vidrestore.core.geometry import iou

_NUM_COMPARED = 2
"""Looks of a face that a new one is compared with."""


@dataclass(slots=True, eq=False)
class Look:
    """How a face looked once."""

    chip: RGBImage | None
    crowding: float
    """How far its box overlaps that of another face in the picture: IoU, 0..1."""
    embedding: Embedding | None = None
    """Of the chip, once it was asked for."""


def looks_of(seen: Sequence[FaceObservation]) -> list[Look]:
    """Return the looks of all faces of one picture."""
    if not seen:
        return []
    boxes = np.stack([o.box_xyxy for o in seen])
    overlap = iou(boxes, boxes)
    np.fill_diagonal(overlap, 0.0)
    return [Look(o.chip, float(c)) for o, c in zip(seen, overlap.max(axis=1), strict=True)]


class Comparer:
    """Says how far two looks are apart."""

    def __init__(self, embedder: FaceEmbedder) -> None:
        self._embedder = embedder

    def distance(self, known: Sequence[Look], seen: Look) -> float | None:
        """Return how far a new look is from a face that is known; None if there is no chip.

        Args:
            known: Looks of the face, oldest first; the nearer of the latest two of the least
                crowded counts, for one may be spoilt by a hand or by a mistake of the detector.
            seen: The new look.
        """
        with_chips = [look for look in reversed(known) if look.chip is not None]
        if seen.chip is None or not with_chips:
            return None
        clearest = sorted(with_chips, key=lambda look: look.crowding)[:_NUM_COMPARED]
        own = self._described(seen)
        return min(float(np.linalg.norm(self._described(look) - own)) for look in clearest)

    def _described(self, look: Look) -> Embedding:
        if look.embedding is None:
            assert look.chip is not None
            look.embedding = self._embedder.describe(look.chip)
        return look.embedding
