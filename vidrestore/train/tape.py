"""The degradation family ``tape``: a home film on VHS or Video8, digitised and kept in a codec.

The chain is the real one: camera (fields), recorder (luma band limit and ringing, colour-under
chroma, noise, dropouts, unsteady lines, head switch), capture (deinterlacing), codec. The mean
colour is kept on purpose: what hue the face had nobody can tell from the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import Matrix, RGBImage
from vidrestore.media.recode import LossyCodec, recode
from vidrestore.train import tape_signal
from vidrestore.train.scaling import (
    FILTERS,
    FloatImage,
    draw_source_px,
    is_face_crop,
    resize,
    to_levels,
)

_LINES = 576
"""Lines of a frame of tape (625-line system)."""


class Deinterlacing(StrEnum):
    """How the capture made whole pictures of fields."""

    NONE = "none"
    """The camera was progressive."""
    BOB = "bob"
    """One field kept, the other interpolated."""
    BLEND = "blend"
    """Both mixed."""


@dataclass(frozen=True, slots=True)
class TapeParameters:
    """What was drawn for a picture or a clip; samples and lines are pixels of the source."""

    source_px: int
    """Side of the face crop in its film, 64..256 px; whole frames keep their size."""
    tilt_degrees: float
    """Turn of the head, and thus of a crop's lines against its edges; whole frames have none."""
    up_filter: str
    """How a crop came back to its size, a name of `FILTERS`."""
    luma_cutoff: float
    """Cycles for each sample."""
    ringing: float
    """Amplitude with which the ringing begins, relative to the edge."""
    ringing_samples: float
    """Time in which it falls to 1/e."""
    chroma_cutoff: float
    """Cycles for each sample at half power."""
    chroma_tail: float
    """Length of the smear to the right, samples."""
    chroma_delay: float
    """Mean shift of the colour to the right, samples."""
    chroma_drop: float
    """Shift of the colour downwards, lines."""
    luma_noise: float
    """Standard deviation of fine luma noise, levels of 0..255."""
    streak_noise: float
    """The same of streaks."""
    streak_samples: float
    """Length of a streak, samples."""
    chroma_noise: float
    """Standard deviation of chroma streaks, levels."""
    dropouts: float
    """Mean number for each line."""
    wobble: float
    """Standard deviation of the slow bend of uprights, samples."""
    jitter: float
    """Standard deviation of each line's own shift, samples."""
    field_shift: float
    """How far the lower field lies to the right, samples."""
    deinterlacing: Deinterlacing
    comb_residue: float
    """Share of the undone combing that the deinterlacer left, 0..1."""
    motion_x: float
    """Motion between the fields of a picture that has none before it, samples."""
    motion_y: float
    """The same, lines."""
    head_switch_lines: int
    """Torn lines at the bottom of 576; a whole frame has its share of them."""
    head_switch_reach: float
    """How far they are torn, samples."""
    is_head_switch_in_crop: bool
    """A face crop has them as well: the face stands at the bottom of the picture."""
    codec: LossyCodec | None
    """None: kept without loss."""
    quality: int
    """Of the codec; lower is better."""


@dataclass(frozen=True, slots=True)
class TapeDegradation:
    """Makes pictures bad as its parameters say."""

    name: ClassVar[str] = "tape"
    parameters: TapeParameters

    def apply(self, frames: Sequence[RGBImage], rng: np.random.Generator) -> list[RGBImage]:
        """Degrade pictures with the same parameters; noise and jitter of each are its own.

        Args:
            frames: Pictures of one size, shape (H, W, 3), uint8 RGB, in the order of showing;
                square ones are face crops.
            rng: Source of noise and jitter.

        Returns:
            As many pictures of the same size.

        Raises:
            MediaError: The codec refuses the pictures.
        """
        p = self.parameters
        source = [_reduce(frame, p) for frame in frames]
        # the lower field shows another moment: the picture before, or this one moved
        earlier = [_move(source[0], p.motion_x, p.motion_y), *source[:-1]] if source else []
        is_crop = bool(frames) and is_face_crop(frames[0].shape)
        played = [
            _play(now, before, p, rng, is_crop=is_crop)
            for now, before in zip(source, earlier, strict=True)
        ]
        if p.codec is not None:
            levels = recode([to_levels(image) for image in played], p.codec, p.quality)
            played = [image.astype(np.float32) for image in levels]
        return [
            to_levels(_enlarge(image, frame, p))
            for image, frame in zip(played, frames, strict=True)
        ]


def draw_tape(rng: np.random.Generator) -> TapeDegradation:
    """Draw parameters from a good Hi8 tape to a worn VHS one; the face stays recognisable."""
    codec = [None, LossyCodec.H264, LossyCodec.MPEG2][int(rng.choice(3, p=[0.3, 0.4, 0.3]))]
    quality = int(rng.integers(20, 31) if codec is LossyCodec.H264 else rng.integers(2, 8))
    deinterlacing = list(Deinterlacing)[int(rng.choice(3, p=[0.3, 0.35, 0.35]))]
    has_head_switch = bool(rng.random() < 0.06)
    # a turned crop lies inside its square of film, where the bottom lines do not reach it
    tilt_degrees = 0.0 if has_head_switch else float(np.clip(rng.normal(0, 5), -12, 12))
    return TapeDegradation(
        TapeParameters(
            source_px=draw_source_px(rng),
            tilt_degrees=tilt_degrees,
            up_filter=str(rng.choice(["linear", "cubic", "lanczos"])),
            luma_cutoff=float(rng.uniform(0.17, 0.37)),
            ringing=float(rng.uniform(0, 0.5)),
            ringing_samples=float(rng.uniform(1, 4)),
            chroma_cutoff=float(rng.uniform(0.03, 0.08)),
            chroma_tail=float(rng.uniform(0, 4)),
            chroma_delay=float(rng.uniform(-0.5, 3.5)),
            chroma_drop=float(rng.uniform(0, 1.5)),
            luma_noise=float(rng.uniform(0.5, 7)),
            streak_noise=float(rng.uniform(0, 5)),
            streak_samples=float(rng.uniform(4, 20)),
            chroma_noise=float(rng.uniform(0.5, 7)),
            dropouts=float(rng.uniform(0, 0.012)) if rng.random() < 0.2 else 0.0,
            wobble=float(rng.uniform(0, 0.8)),
            jitter=float(rng.uniform(0, 0.35)),
            field_shift=float(rng.uniform(-0.4, 0.4)),
            deinterlacing=deinterlacing,
            comb_residue=float(rng.uniform(0, 0.5)) if rng.random() < 0.5 else 0.0,
            motion_x=float(rng.normal(0, 1.5)),
            motion_y=float(rng.normal(0, 0.5)),
            head_switch_lines=int(rng.integers(4, 11)),
            head_switch_reach=float(rng.uniform(6, 30) * rng.choice([-1, 1])),
            is_head_switch_in_crop=has_head_switch,
            codec=codec,
            quality=quality,
        )
    )


def _play(
    now: FloatImage,
    before: FloatImage,
    p: TapeParameters,
    rng: np.random.Generator,
    *,
    is_crop: bool,
) -> FloatImage:
    """Record two fields, play the tape and make one picture of them again."""
    is_interlaced = p.deinterlacing is not Deinterlacing.NONE
    signal = _record(tape_signal.weave(now, before) if is_interlaced else now, p, rng)
    height = signal.shape[0]
    field_shift = p.field_shift if is_interlaced else 0.0
    offsets = tape_signal.line_offsets(height, p.wobble, p.jitter, field_shift, rng)
    if p.is_head_switch_in_crop or not is_crop:
        lines = p.head_switch_lines
        torn = lines if is_crop else max(2, round(lines * height / _LINES))
        offsets += tape_signal.head_switch_offsets(height, torn, p.head_switch_reach, rng)
        signal[-torn:, :, 0] += (
            4 * p.luma_noise * tape_signal.streaks(torn, signal.shape[1], p.streak_samples, 1, rng)
        )
    picture = _deinterlace(tape_signal.shift_lines(signal, offsets), p)
    rgb: npt.NDArray[Any] = cv2.cvtColor(picture, cv2.COLOR_YCrCb2RGB)
    return rgb


def _record(rgb: FloatImage, p: TapeParameters, rng: np.random.Generator) -> FloatImage:
    """Return luma and the two chroma channels as they come off the tape, shape (H, W, 3)."""
    height, width = rgb.shape[:2]
    camera_luma, *chroma = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb))
    along = tape_signal.luma_kernel(p.luma_cutoff, p.ringing, p.ringing_samples)
    luma = tape_signal.convolve(camera_luma, along, np.ones(1))
    fine = tape_signal.streaks(height, width, 1.6, 1, rng)
    long = tape_signal.streaks(height, width, p.streak_samples, 1, rng)
    luma += np.float32(p.luma_noise) * fine + np.float32(p.streak_noise) * long
    tape_signal.add_dropouts(luma, p.dropouts, rng)
    along = tape_signal.chroma_kernel(p.chroma_cutoff, p.chroma_tail, p.chroma_delay)
    across = tape_signal.rows_kernel(0.8, p.chroma_drop)
    noisy = [
        tape_signal.convolve(channel, along, across)
        + np.float32(p.chroma_noise)
        * tape_signal.streaks(height, width, 0.4 / p.chroma_cutoff, 1.5, rng)
        for channel in chroma
    ]
    signal: FloatImage = cv2.merge([luma, *noisy]).astype(np.float32, copy=False)
    return signal


def _deinterlace(signal: FloatImage, p: TapeParameters) -> FloatImage:
    if p.deinterlacing is Deinterlacing.NONE:
        return signal
    if p.deinterlacing is Deinterlacing.BOB:
        whole = tape_signal.discard_lower_field(signal)
    else:
        whole = tape_signal.blend_fields(signal)
    residue = np.float32(p.comb_residue)
    return whole + residue * (signal - whole)


def _move(image: FloatImage, dx: float, dy: float) -> FloatImage:
    height, width = image.shape[:2]
    moved: FloatImage = cv2.warpAffine(
        image,
        np.array([[1, 0, dx], [0, 1, dy]]),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32, copy=False)
    return moved


def _reduce(frame: RGBImage, p: TapeParameters) -> FloatImage:
    """Bring a crop to the size and the turn that it had in its film."""
    if not is_face_crop(frame.shape):
        return frame.astype(np.float32)
    side = min(frame.shape[0], p.source_px)
    small = resize(frame, side, side, "area")
    film_from_small, film_side = _film_from_crop(side, side, p.tilt_degrees)
    turned: FloatImage = cv2.warpAffine(
        small,
        film_from_small,
        (film_side, film_side),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    ).astype(np.float32, copy=False)
    return turned


def _enlarge(film: FloatImage, like: npt.NDArray[np.uint8], p: TapeParameters) -> FloatImage:
    """Undo `_reduce`, as the aligner of a film does: one warp out of the picture."""
    if not is_face_crop(like.shape):
        return film
    side = like.shape[0]
    film_from_crop, _ = _film_from_crop(side, min(side, p.source_px), p.tilt_degrees)
    crop: FloatImage = cv2.warpAffine(
        film,
        film_from_crop,
        (side, side),
        flags=FILTERS[p.up_filter] | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32, copy=False)
    return crop


def _film_from_crop(side: int, source_side: int, tilt_degrees: float) -> tuple[Matrix, int]:
    """Return the turn about the middle with the reduction, and the side of the film's square.

    The square is so large that a turned crop has room in it, and even, for the codecs.
    """
    cosine, sine = math.cos(math.radians(tilt_degrees)), math.sin(math.radians(tilt_degrees))
    film_side = 2 * math.ceil(source_side * (cosine + abs(sine)) / 2)
    linear = source_side / side * np.array([[cosine, -sine], [sine, cosine]])
    middle, film_middle = np.full(2, (side - 1) / 2), np.full(2, (film_side - 1) / 2)
    return np.column_stack([linear, film_middle - linear @ middle]), film_side
