"""Steady texture: what the network draws on a face, averaged along the way the face moves.

A restoring network sees one picture at a time, and other noise makes it draw other pores and
lashes. The crops of a track hold the face still but for expression and turns; those are followed
by dense optical flow (DIS: Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search"),
measured on the film's crops, not on the restored ones. With R the restored luma, W_k what brings
crop k to crop t, and G the low-passed film::

    out_t = Σ_k g_k · W_k(R_k) / Σ_k g_k,    g_k = (1 - d_k²)² where d_k < 1, else 0,
    d_k = |W_k(G_k) - G_t| / τ

over the crops k from t - 2 to t + 2. The gate is Tukey's biweight; g_t is 1. Where the film itself
changed (a blink, a hand, a flash) the gate is shut, and the network's drawing of this very picture
is shown. The width τ follows the noise of the film. Flow, G and d are smooth and are kept in half
size; each d is the largest of its neighbourhood, so that no gate opens where it is enlarged.

The window is bounded on both sides, where a recursive filter would remember everything: so what is
shown of a picture does not depend on where decoding began, and nothing lags behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import RGBImage
from vidrestore.core.colour import FloatPlane

REACH = 2
"""Crops to each side that are averaged."""

Flow = npt.NDArray[np.float32]
"""Shape (H, W, 2): for each pixel the step, x and y in pixels, to its place in another crop; or
the place itself."""

_GUIDE_SIGMA = 1.5
"""Low-pass of the guide, in pixels: less noise to follow and to compare."""
_GATE_WIDTH = 12.0
"""Width τ of the gate in standard deviations of what differs between two guides by noise."""
_LEAST_GATE, _WIDEST_GATE = 2.0, 24.0
"""Bounds of τ in levels of 0..255; the first is added to it."""
_LEAST_FOLLOWED = 16
"""Shortest side of a guide, in pixels, in which the flow's patches of 8 find room."""
_LEAST_SCALED = 46
"""Longest side of a guide from which on the flow has two scales above the finest of its own."""
_SOME = np.s_[::4, ::4]
"""Every sixteenth pixel: for a median as good as all, and much faster."""
_MEDIAN_TO_STD = 1.4826
"""Standard deviation of a normal distribution over its median absolute value."""


@dataclass(slots=True, eq=False)
class Texture:
    """The luma of one face in one picture, as filmed and as restored; arrays float32.

    What says where the face moved and where it changed is smooth, and is kept in half size.
    """

    film: FloatPlane
    """(H, W)."""
    detail: FloatPlane
    """(H, W): what a low-pass takes away from the film."""
    guide: FloatPlane
    """(H/2, W/2): the film, low-passed."""
    restored: FloatPlane
    """(H, W)."""
    to_previous: Flow | None = None
    to_next: Flow | None = None
    noise: float | None = None
    """Standard deviation of what differs between the film's fine detail here and in the previous
    crop, over √2: noise, in levels; None where there is no previous crop."""

    @classmethod
    def of(cls, film: RGBImage, restored: RGBImage) -> Texture:
        """Take the luma of two crops of shape (H, W, 3)."""
        luma = _luma(film)
        smooth = cv2.GaussianBlur(luma, (0, 0), _GUIDE_SIGMA)
        guide = cv2.resize(smooth, _half(luma.shape)[::-1], interpolation=cv2.INTER_AREA)
        return cls(
            film=luma,
            detail=luma - smooth,
            guide=np.asarray(guide, np.float32),
            restored=_luma(restored),
        )


class TextureFilter:
    """Links the crops of a track and averages along the links; holds no crop itself.

    One thread at a time may use it.
    """

    def __init__(self, shape: tuple[int, int], reach: int = REACH) -> None:
        """Prepare for crops of that (H, W), and ``reach`` crops to each side."""
        half = _half(shape)
        self._grid = _grid(shape)
        self._half_grid = _grid(half)
        # to each side; memory that is new each time costs more than what is computed in it
        self._sides = {
            towards: [
                (np.empty(shape, np.float32), np.empty(half, np.float32)) for _ in range(reach)
            ]
            for towards in (-1, 1)
        }
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        # half of the guide; OpenCV would change it to 0 by itself, but not before the first pair
        self._flow.setFinestScale(1 if max(half) >= _LEAST_SCALED else 0)

    def link(self, earlier: Texture, later: Texture) -> None:
        """Find how the face moved between two successive crops; tiny ones are taken for still."""
        back = np.zeros_like(self._half_grid)
        if min(later.guide.shape) >= _LEAST_FOLLOWED:
            back = self._flow.calc(_bytes(later.guide), _bytes(earlier.guide), back)
        later.to_previous = back
        # the inverse of a small smooth step f is -f at the place it comes from
        earlier.to_next = -_at(back, self._half_grid - back)
        there = np.ascontiguousarray(self._whole(back)[_SOME])
        step = later.detail[_SOME] - _at(earlier.detail, there)
        later.noise = _MEDIAN_TO_STD * _median(np.abs(step)) / float(np.sqrt(2))

    def steadied(self, window: Sequence[Texture], centre: int) -> FloatPlane:
        """Average the restored luma of a window about one of its crops.

        Args:
            window: Successive linked crops, at most ``reach`` to each side of the centre.
            centre: Index of the crop that is wanted.

        Returns:
            Shape (H, W), float32, 0..255.
        """
        assert max(centre, len(window) - 1 - centre) <= len(self._sides[1]), "window beyond reach"
        here = window[centre]
        neighbours = [*self._moved(window, centre, -1), *self._moved(window, centre, 1)]
        total = here.restored.copy()
        if neighbours:
            for _, guide in neighbours:
                cv2.absdiff(guide, here.guide, dst=guide)
            width = _gate_width([step for _, step in neighbours])
            gates = [_biweight(_largest_around(step), width) for _, step in neighbours]
            weight = 1 + np.sum(gates, axis=0)
            for (restored, _), gate in zip(neighbours, gates, strict=True):
                gate /= weight
                restored -= here.restored
                restored *= self._enlarged(gate)
                total += restored
        return total

    def _moved(
        self, window: Sequence[Texture], centre: int, towards: int
    ) -> list[tuple[FloatPlane, FloatPlane]]:
        """Bring the crops on one side to the centre: restored luma and guide of each.

        They lie in the filter's own memory, until the next call for the same side.
        """
        found = []
        way = np.zeros_like(self._half_grid)
        k = centre
        for restored, guide in self._sides[towards]:
            if not 0 <= k + towards < len(window):
                break
            step = window[k].to_next if towards > 0 else window[k].to_previous
            assert step is not None, "the crops of a window are linked"
            way = step if k == centre else way + _at(step, self._half_grid + way)
            k += towards
            # cubic, since four times linear would be seen as softness
            _at(window[k].restored, self._whole(way), cv2.INTER_CUBIC, restored)
            _at(window[k].guide, self._half_grid + way, into=guide)
            found.append((restored, guide))
        return found

    def _whole(self, way: Flow) -> Flow:
        """Turn steps of the half size into places of the whole crop, (H, W, 2).

        Of odd sides the half is rounded up: there 2 is half a percent of the step too much.
        """
        return np.asarray(cv2.scaleAdd(self._enlarged(way), 2, self._grid), np.float32)

    def _enlarged(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(cv2.resize(image, self._grid.shape[1::-1]), np.float32)


def _half(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return half a (H, W), rounded up."""
    return (shape[0] + 1) // 2, (shape[1] + 1) // 2


def _grid(shape: tuple[int, int]) -> Flow:
    """Return the place of each pixel, (H, W, 2)."""
    columns, rows = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    return np.stack([columns, rows], axis=-1).astype(np.float32)


def _at(
    image: npt.NDArray[np.float32],
    where: Flow,
    how: int = cv2.INTER_LINEAR,
    into: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Sample an image at places; into memory that is there already, if any is given."""
    no_map: Any = None
    sampled = cv2.remap(image, where, no_map, how, dst=into, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, dtype=np.float32)


def _largest_around(step: FloatPlane) -> FloatPlane:
    """Return the largest of each sample and its eight neighbours."""
    return np.asarray(cv2.dilate(step, np.ones((3, 3), np.uint8)), np.float32)


def _biweight(step: FloatPlane, width: float) -> FloatPlane:
    """Turn differences into weights, (1 - (step / width)²)² where that is positive, in place."""
    step /= width
    np.square(step, out=step)
    np.subtract(1, step, out=step)
    np.maximum(step, 0, out=step)
    return np.square(step, out=step)


def with_luma_changed(crop: RGBImage, change: FloatPlane) -> RGBImage:
    """Add to the luma of a crop, (H, W, 3), levels of shape (H, W); its colour stays."""
    return np.asarray(cv2.add(crop, cv2.merge([change] * 3), dtype=cv2.CV_8U), dtype=np.uint8)


def _gate_width(steps: Sequence[FloatPlane]) -> float:
    """Judge τ by the neighbour that differs least: a flash makes others differ everywhere."""
    least = min(_median(step[::2, ::2]) for step in steps)
    return min(_GATE_WIDTH * _MEDIAN_TO_STD * least + _LEAST_GATE, _WIDEST_GATE)


def _median(plane: FloatPlane) -> float:
    return float(np.median(plane))


def _luma(crop: RGBImage) -> FloatPlane:
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def _bytes(plane: FloatPlane) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.convertScaleAbs(plane), dtype=np.uint8)
