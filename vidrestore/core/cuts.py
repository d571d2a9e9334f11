"""Shot changes, from small luma pictures.

The score is that of FFmpeg's ``scdet`` filter (libavfilter/vf_scdet.c): with m_t the mean absolute
difference of two successive pictures, it is min(m_t, |m_t - m_(t-1)|). A cut makes m jump for one
picture; a pan or noise keeps it level. Here it is divided by the pictures' contrast, without which
cuts between dark pictures are missed: on real clips cuts then score .65 and more, other pictures
.30 and less.
"""

from __future__ import annotations

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
    small = cv2.resize(frame.planes[0], _THUMB_SIZE, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) * np.float32(100 / ((1 << frame.layout.bits) - 1))


class CutDetector:
    """Says of each picture whether a new shot begins with it; remembers two pictures back."""

    def __init__(self, threshold: float = CUT_SCORE) -> None:
        self._threshold = threshold
        self._thumbnail: npt.NDArray[np.float32] | None = None
        self._difference = 0.0

    def update(self, thumbnail: npt.NDArray[np.float32]) -> bool:
        """Take the next picture, (h, w) float32 in percent; True if it starts a shot.

        The first picture of all starts a shot.
        """
        previous, self._thumbnail = self._thumbnail, thumbnail
        if previous is None:
            return True
        difference = float(np.abs(thumbnail - previous).mean())
        score = min(difference, abs(difference - self._difference))
        self._difference = difference
        contrast = max(float(previous.std()), float(thumbnail.std()), _LEAST_CONTRAST)
        return score >= self._threshold * contrast
