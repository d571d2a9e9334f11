"""Small file systems, to be filled up."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import skip_or_fail


@contextmanager
def mounted_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of ``size`` (``200k``, ``3m``) at a folder, which is created."""
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.name != "posix" or os.geteuid() != 0:
        skip_or_fail("mount", "filling up a disk needs the right to mount one")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode != 0:
        skip_or_fail("mount", f"cannot mount a small disk: {done.stderr!r}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
