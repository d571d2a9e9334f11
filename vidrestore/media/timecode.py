"""The numbers that tape recorders and cameras give to pictures: hours:minutes:seconds:frames."""

from __future__ import annotations

import re
from fractions import Fraction

_TIMECODE = re.compile(r"(\d{2}):(\d{2}):(\d{2})([:;.])(\d{2})")
_DROPPING = ";."
_HOURS = 24


def timecode_after(timecode: str, num_frames: int, rate: Fraction) -> str:
    """Return the number of the picture that comes so many pictures later.

    NTSC recorders leave out two numbers (at twice the rate: four) at the start of every minute but
    each tenth, so that 29.97 pictures a second keep up with the clock (SMPTE ST 12-1); a ``;``
    says so.

    Args:
        timecode: Of a picture; returned as it is if it cannot be read.
        num_frames: How many pictures later, not negative.
        rate: Pictures a second.

    >>> timecode_after("01:00:59;28", 2, Fraction(30000, 1001))
    '01:01:00;02'
    >>> timecode_after("23:59:59:24", 1, Fraction(25))
    '00:00:00:00'
    """
    match = _TIMECODE.fullmatch(timecode)
    if match is None:
        return timecode
    hours, minutes, seconds, frames = (int(match[k]) for k in (1, 2, 3, 5))
    mark, base = match[4], round(rate)
    drops = base // 15 if mark in _DROPPING and base % 30 == 0 else 0
    per_minute, per_ten = base * 60 - drops, base * 600 - 9 * drops
    total_minutes = hours * 60 + minutes
    count = (total_minutes * 60 + seconds) * base + frames + num_frames
    count -= drops * (total_minutes - total_minutes // 10)
    tens, rest = divmod(count, per_ten)
    # the first minute of ten leaves nothing out
    count += 9 * drops * tens
    if rest >= base * 60:
        count += drops * ((rest - base * 60) // per_minute + 1)
    seconds, frames = divmod(count, base)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours % _HOURS:02}:{minutes:02}:{seconds:02}{mark}{frames:02}"
