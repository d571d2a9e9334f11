"""The place where the output will be: checked before any work, and kept clean.

Nothing here knows what is written.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from vidrestore.errors import OutputError


def part_path(target: Path) -> Path:
    """Return the name under which the output grows, beside its final name."""
    return target.with_name(f".{target.name}.{os.getpid()}.part")


def claim_target(target: Path, source: Path, *, overwrite: bool) -> None:
    """Make sure that ``target`` can be written, and clear away what killed runs left beside it.

    Raises:
        OutputError: The folder is missing or not writable, the target is the source itself (also
            through a link), or it exists and may not be overwritten.
    """
    try:
        _check(target, source, overwrite)
        with suppress(OSError):
            _remove_stale_parts(target)
        part = part_path(target)
        part.touch()
        part.unlink()
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}") from error


def _check(target: Path, source: Path, overwrite: bool) -> None:
    folder = target.parent
    if not folder.exists():
        raise OutputError(f"the folder {folder} does not exist: create it first")
    if not folder.is_dir():
        raise OutputError(f"{folder} is not a folder, so {target.name} cannot be written there")
    if target.is_dir():
        raise OutputError(f"{target} is a folder: give the output a file name")
    if target.exists():
        if target.samefile(source):
            raise OutputError(f"{target} is the input itself: name another output")
        if not overwrite:
            raise OutputError(f"{target} exists: use --overwrite to replace it")


def _remove_stale_parts(target: Path) -> None:
    """Remove unfinished outputs of this name whose process is gone."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.(\d+)\.part")
    for path in target.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match is not None and not _is_running(int(match[1])):
            path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
