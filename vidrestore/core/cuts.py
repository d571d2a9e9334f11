"""Shot changes, from small luma pictures.

The score is that of FFmpeg's ``scdet`` filter (libavfilter/vf_scdet.c): with m_t the mean absolute
difference of two successive pictures, it is min(m_t, |m_t - m_(t-1)|). A cut makes m jump for one
picture; a steady pan or noise keeps it level. Here it is divided by the pictures' contrast, without
which cuts between dark pictures are missed.

Three things jump as a cut does and are none. A flash is over after a few pictures: what comes then
looks like what was before. A pan that sets off shows a large part of the picture before, moved. A
fade that sets off shows the picture before, brighter or darker. They are looked for only where the
score is high. ``docs/STEADINESS.md`` compares it with others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from vidrestore.contracts import Frame

CUT_SCORE = 0.45
"""Least score that counts as a cut."""
_LEAST_CONTRAST = 3.0
"""Standard deviation, in percent, below which a picture is flat; nothing is divided by less."""

_THUMB_SIZE = (64, 48)


def luma_thumbnail(frame: Frame) -> npt.NDArray[np.float32]:
    """Return the luma plane area-averaged to (48, 64), float32, in percent of the full scale."""
    plane = frame.planes[0]
    while plane.shape[0] >= 4 * _THUMB_SIZE[1] and plane.shape[1] >= 4 * _THUMB_SIZE[0]:
        # exact halves are a tenth of the work of other areas
        height, width = plane.shape[0] // 2, plane.shape[1] // 2
        even = plane[: 2 * height, : 2 * width]
        plane = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
    small = cv2.resize(plane, _THUMB_SIZE, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) * np.float32(100 / ((1 << frame.layout.bits) - 1))


LOOKAHEAD_FRAMES = 3
"""Pictures after a jump that tell a flash from a cut."""
LONGEST_PAUSE_TICKS = 12
"""Ticks without a picture after which a new shot begins, whatever it shows."""
LOOKAHEAD_TICKS = LOOKAHEAD_FRAMES * LONGEST_PAUSE_TICKS
"""How far ahead of a picture those pictures are at most."""
_PANNED = 0.85
"""Correlation of the picture's middle with a part of the one before, from which on it is a pan."""
_FADED = 0.9
"""Correlation of two whole pictures from which on one is the other in another light."""
_BLACK = 1.0
"""Standard deviation, in percent, below which a picture shows nothing."""
Thumbnail = npt.NDArray[np.float32]


def find_cuts(thumbnails: Iterator[Thumbnail]) -> Iterator[bool]:
    """Say of each picture whether a new shot begins with it; the first of all does.

    Args:
        thumbnails: Pictures (h, w), float32 in percent; read ``LOOKAHEAD_FRAMES`` ahead.
    """
    before: deque[Thumbnail] = deque(maxlen=LOOKAHEAD_FRAMES + 1)
    ahead: deque[Thumbnail] = deque()
    difference = 0.0
    for thumbnail in thumbnails:
        ahead.append(thumbnail)
        if len(ahead) > LOOKAHEAD_FRAMES:
            is_cut, difference = _judge(before, ahead, difference)
            yield is_cut
    while ahead:
        is_cut, difference = _judge(before, ahead, difference)
        yield is_cut


def _judge(
    before: deque[Thumbnail], ahead: deque[Thumbnail], last_difference: float
) -> tuple[bool, float]:
    """Judge the first picture of ``ahead``, move it to ``before``; return its difference too."""
    now = ahead.popleft()
    if not before:
        before.append(now)
        return True, 0.0
    previous = before[-1]
    difference = float(np.abs(now - previous).mean())
    score = min(difference, abs(difference - last_difference))
    is_cut = (
        score >= CUT_SCORE * _contrast(now, previous)
        and not any(_resemble(old, now) for old in list(before)[:-1])  # back from a flash
        and not any(_resemble(previous, new) for new in ahead)  # a flash that will be over
        and not _is_faded(before, now)
        and not _is_panned(previous, now)
    )
    if is_cut:
        before.clear()
    before.append(now)
    return is_cut, difference


def _contrast(a: Thumbnail, b: Thumbnail) -> float:
    return max(float(a.std()), float(b.std()), _LEAST_CONTRAST)


def _resemble(a: Thumbnail, b: Thumbnail) -> bool:
    least = max(min(float(a.std()), float(b.std())), _LEAST_CONTRAST)
    return float(np.abs(a - b).mean()) < CUT_SCORE * least


def _is_faded(before: deque[Thumbnail], now: Thumbnail) -> bool:
    """Compare with what was last to be seen; a shot that has just begun in black has not shown it.

    Where a picture comes out of black that lasted longer, a new shot begins with it.
    """
    seen = [old for old in before if old.std() >= _BLACK]
    if not seen:
        return len(before) <= LOOKAHEAD_FRAMES
    alike: float = cv2.matchTemplate(seen[-1], now, cv2.TM_CCOEFF_NORMED).item()
    return now.std() >= _BLACK and alike >= _FADED


def _is_panned(previous: Thumbnail, now: Thumbnail) -> bool:
    """Look for the middle of each picture in the other, up to a quarter of its size away."""
    height, width = now.shape
    y, x = height // 4, width // 4
    found = [
        cv2.matchTemplate(whole, part[y:-y, x:-x], cv2.TM_CCOEFF_NORMED).max()
        for whole, part in ((previous, now), (now, previous))
        if part[y:-y, x:-x].std() > 1
    ]
    return bool(found) and float(min(found)) >= _PANNED
