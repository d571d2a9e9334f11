"""Is there room for the output? Asked before the work begins, not after a night of it."""

from __future__ import annotations

import errno
import shutil
from fractions import Fraction
from pathlib import Path

from vidrestore.errors import OutputError
from vidrestore.media.estimate import estimate_output_bytes
from vidrestore.media.probe import SourceInfo
from vidrestore.media.work_folder import work_path
from vidrestore.settings import EncodeSettings

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT}) if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
_COPIES = 2
"""For a while the segments and the film made of them lie side by side."""


def check_space(
    target: Path,
    info: SourceInfo,
    settings: EncodeSettings,
    span_seconds: Fraction | None,
    enlargement: float = 1.0,
) -> tuple[str | None, str | None]:
    """Compare the room on the disk with what the output will take.

    Args:
        target: Where the output will be.
        info: The source.
        settings: How it is coded.
        span_seconds: Length of the range; None: the whole film.
        enlargement: Pixels of the output for each of the source.

    Returns:
        The estimate as a sentence, and a warning if the room may not be enough; None each where
        there is nothing to say.

    Raises:
        OutputError: Even the least that can be expected does not fit.
    """
    least, most = estimate_output_bytes(info, settings, span_seconds, enlargement)
    free = _room_for(target)
    if most == 0 or free is None:
        return None, None
    size = f"{as_size(least)} to {as_size(most)}"
    if free < _COPIES * least:
        raise OutputError(
            f"{target} will take {size}, and as much again while it is made, but only "
            f"{as_size(free)} are free there: free some space, or name an output elsewhere"
        )
    warning = None
    if free < _COPIES * most:
        warning = (
            f"{as_size(free)} are free where {target.name} is written, which may not be enough: it "
            f"will take {size}, and as much again while it is made. If the disk fills up, what is "
            "finished is kept, and the same command goes on from there"
        )
    return f"{target.name} will take {size}", warning


def _room_for(target: Path) -> int | None:
    """Return the bytes that are free, and those that an unfinished run has taken already."""
    try:
        usage = shutil.disk_usage(target.parent)
        taken = sum(path.stat().st_size for path in work_path(target).glob("*.nut"))
    except OSError:  # some network drives cannot say
        return None
    return usage.free + taken if usage.total else None


def is_disk_full(error: BaseException | None) -> bool:
    """Look for the system's word for a full disk among an error and its causes."""
    while error is not None:
        if getattr(error, "errno", None) in _NO_ROOM:  # the system's, or FFmpeg's
            return True
        error = error.__cause__
    return False


def as_size(num_bytes: float) -> str:
    """Write a number of bytes for people.

    >>> as_size(1_234_000_000)
    '1.2 GB'
    """
    for unit in ("bytes", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} GB"
