"""OpenVINO for the networks: imported without its telemetry, converted networks kept on disk."""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openvino import CompiledModel, Model

logger = logging.getLogger(__name__)

_MANIFEST = "sha256.json"


def load_openvino() -> ModuleType:
    """Import OpenVINO and keep it from reporting to its makers.

    On import, OpenVINO loads its model converter, and that starts a thread which sends usage data
    without asking, if ``openvino_telemetry`` (a dependency of its wheel) can be imported; if not,
    it takes its own silent stub. An entry of None in ``sys.modules`` makes an import fail (Python
    language reference, "The module cache"), so the stub is what it gets.

    Returns:
        The module ``openvino``.
    """
    if "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            importlib.import_module("openvino")
        finally:
            del sys.modules["openvino_telemetry"]
    return importlib.import_module("openvino")


class _SignalStack(ctypes.Structure):
    """``stack_t`` of Linux (sigaltstack(2))."""

    _fields_ = (
        ("pointer", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


def compile_model(model: Model, properties: Mapping[str, Any]) -> CompiledModel:
    """Compile a network for the CPU.

    Raises:
        RuntimeError: OpenVINO cannot; its words are long.
    """
    with _own_signal_stack():
        return load_openvino().Core().compile_model(model, "CPU", dict(properties))


@contextmanager
def _own_signal_stack() -> Iterator[None]:
    """Leave the calling thread the signal stack that it had.

    Where a processor has AVX-512, OpenVINO gives a thread that compiles a network a signal stack of
    its own, and frees it with the network. If that happens on another thread, the first keeps an
    address where nothing is, and the next signal it gets, such as Ctrl-C's, kills the process.
    """
    if sys.platform != "linux":
        yield
        return
    sigaltstack = ctypes.CDLL(None).sigaltstack
    before = _SignalStack()
    sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        sigaltstack(ctypes.byref(before), None)


def cached_model(name: str, key: str, cache_dir: Path, convert: Callable[[], Model]) -> Model:
    """Return a network as an ``openvino.Model``, converted only if no intact copy is on disk.

    Args:
        name: What the copy is called, for people who look into the folder.
        key: Everything the conversion depends on (hash of the weights, settings); the version of
            OpenVINO is added.
        cache_dir: Where the copies are; made if missing. If it cannot be written, the network is
            converted each time.
        convert: Makes the model.
    """
    ov = load_openvino()
    digest = hashlib.sha256(f"{key} {ov.__version__}".encode()).hexdigest()
    folder = cache_dir / f"{name}-{digest[:16]}"
    if _is_intact(folder):
        return ov.Core().read_model(folder / "model.xml")
    model = convert()
    try:
        _write(ov, model, folder)
    except OSError as error:
        logger.warning("converted network not kept in %s: %s", cache_dir, error)
        return model
    # Saving tidies the network, which moves some roundings: only what is read back gives the same
    # frames in the first run as in all others.
    return ov.Core().read_model(folder / "model.xml")


def _write(ov: ModuleType, model: Model, folder: Path) -> None:
    """Write beside the final name and rename, so that a folder of that name is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        ov.save_model(model, draft / "model.xml", compress_to_fp16=False)
        hashes = {path.name: _sha256(path) for path in draft.iterdir()}
        (draft / _MANIFEST).write_text(json.dumps(hashes), encoding="utf-8")
        try:
            draft.replace(folder)
        except OSError:  # there is one: damaged, or made meanwhile by another process
            if not _is_intact(folder):
                shutil.rmtree(folder, ignore_errors=True)
                draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _is_intact(folder: Path) -> bool:
    try:
        hashes = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return bool(hashes) and all(_sha256(folder / name) == hashes[name] for name in hashes)
    except (OSError, ValueError, AttributeError, TypeError):  # missing, or not our JSON
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
