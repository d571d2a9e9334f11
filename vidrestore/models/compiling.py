"""Compilers for the restoring network: PyTorch's own and NVIDIA's; what they made stays on disk.

Both are backends of ``torch.compile``, so all but the backend is the same. A compiler is taken only
when it is asked for: compiling takes a minute and more, and its roundings differ from those of the
network as it is, so a short preview and the film would no longer be the same.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from vidrestore.errors import DeviceError
from vidrestore.runtime.streams import Compute
from vidrestore.settings import Runtime

Compiler = Callable[[Compute], Compute]

_CPP_COMPILERS = ("c++", "g++", "clang++", "cl")


def choose_compiler(runtime: Runtime, cache_dir: Path) -> Compiler | None:
    """Return what compiles a computation under a runtime; None if nothing does.

    The result compiles when it is first called with a batch, and for the shape of that.

    Args:
        runtime: Anything but AUTO.
        cache_dir: Where compiled networks are kept.

    Raises:
        DeviceError: The compiler, or what it needs, is not installed.
    """
    if runtime is Runtime.TORCH_COMPILE:
        return _inductor(cache_dir)
    if runtime is Runtime.TENSORRT:
        return _tensorrt(cache_dir)
    return None


def _inductor(cache_dir: Path) -> Compiler:
    names = (os.environ.get("CXX"), *_CPP_COMPILERS)
    if not any(name and shutil.which(name) for name in names):
        raise DeviceError(
            "torch-compile needs a C++ compiler and there is none: install g++ or clang, or use "
            "--runtime torch"
        )
    # read whenever something is compiled; a folder that the user chose stays
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir / "torch-compile"))
    return partial(torch.compile, fullgraph=True, dynamic=False)


def _tensorrt(cache_dir: Path) -> Compiler:
    try:
        importlib.import_module("torch_tensorrt")  # registers its backend
    except ImportError as error:
        raise DeviceError(
            "TensorRT is not installed: pip install 'vidrestore[tensorrt]', or use --runtime torch"
        ) from error
    options = {
        "use_explicit_typing": True,  # the network itself says what is fp16 and what fp32
        "pass_through_build_failures": True,  # or it would go on without TensorRT
        "cache_built_engines": True,
        "reuse_cached_engines": True,
        "immutable_weights": False,  # only such engines are kept
        "engine_cache_dir": str(cache_dir / "tensorrt"),
    }
    return partial(
        torch.compile, backend="torch_tensorrt", options=options, fullgraph=True, dynamic=False
    )
