"""The place where the output will be, checked before any work.

Nothing here knows what is written.
"""

from __future__ import annotations

import os
from pathlib import Path

from vidrestore.errors import OutputError


def claim_target(target: Path, source: Path, *, overwrite: bool) -> None:
    """Make sure that ``target`` can be written; nothing stays behind.

    Raises:
        OutputError: The folder is missing or not writable, the target is the source itself (also
            through a link), or it exists and may not be overwritten.
    """
    try:
        _check(target, source, overwrite)
        trial = target.with_name(f".{target.name}.{os.getpid()}.trial")
        trial.touch()
        trial.unlink()
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
