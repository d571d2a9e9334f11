"""Compilers of the restoring network: everything but the compilers themselves."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._inductor import config as inductor_config

from tests.models.test_restorers import (
    assert_equal,
    build,
    random_crops,
    tiny_network,
    torch_restorer,
)
from vidrestore.errors import DeviceError
from vidrestore.models import compiling
from vidrestore.models.compiling import choose_compiler
from vidrestore.models.devices import choose_device, choose_runtime
from vidrestore.models.gpen_folded import FoldedGpen
from vidrestore.models.restorer_torch import TorchRestorer
from vidrestore.settings import Precision, Runtime


@pytest.fixture(autouse=True)
def _fresh_dynamo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    yield
    torch.compiler.reset()


class Backend:
    """Stands in for a compiler: runs the graph as it is, and counts."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.options: dict[str, Any] | None = None

    def __call__(
        self, graph: torch.fx.GraphModule, inputs: list[Any], **more: Any
    ) -> Callable[..., Any]:
        self.options = more.get("options")
        self.shapes += [tuple(x.shape) for x in inputs if x.dtype == torch.uint8]
        return graph.forward


def test_the_whole_computation_is_compiled_once_and_before_the_first_crop() -> None:
    backend = Backend()
    compiler = partial(torch.compile, backend=backend, fullgraph=True, dynamic=False)
    network = FoldedGpen(tiny_network())
    compiled = torch_restorer(network, compiler=compiler, batch_size=2)
    assert backend.shapes == [(2, 16, 16, 3)]
    assert "compiled" in compiled.description
    crops = random_crops(5)
    assert_equal(
        compiled.submit(crops).result(),
        torch_restorer(network, batch_size=2).submit(crops).result(),
    )
    assert backend.shapes == [(2, 16, 16, 3)]


def test_a_compiler_that_fails_is_a_device_error() -> None:
    def broken(*_: object) -> Any:
        raise ValueError("pages of text")

    with pytest.raises(DeviceError, match="cannot be compiled for cpu: use --runtime torch"):
        torch_restorer(FoldedGpen(tiny_network()), compiler=partial(torch.compile, backend=broken))


def test_what_torch_compiles_is_kept_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda name: f"/bin/{name}")
    compiler = choose_compiler(Runtime.TORCH_COMPILE, tmp_path)
    assert isinstance(compiler, partial)
    assert compiler.keywords == {"fullgraph": True, "dynamic": False}
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "torch-compile")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    choose_compiler(Runtime.TORCH_COMPILE, tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "elsewhere"


def test_without_a_cpp_compiler_nothing_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    with pytest.raises(DeviceError, match=r"needs a C\+\+ compiler"):
        build(tmp_path, device="cpu", runtime=Runtime.TORCH_COMPILE, precision=Precision.FP32)


def test_no_other_runtime_compiles(tmp_path: Path) -> None:
    assert choose_compiler(Runtime.TORCH, tmp_path) is None
    assert choose_compiler(Runtime.OPENVINO, tmp_path) is None


def test_without_tensorrt_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    with pytest.raises(DeviceError, match=r"pip install 'vidrestore\[tensorrt\]'"):
        choose_compiler(Runtime.TENSORRT, tmp_path)


def test_tensorrt_gets_the_network_with_its_types_and_a_folder_for_its_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend()
    monkeypatch.setitem(sys.modules, "torch_tensorrt", types.ModuleType("torch_tensorrt"))
    compiler = choose_compiler(Runtime.TENSORRT, tmp_path)
    assert isinstance(compiler, partial)
    assert compiler.keywords["backend"] == "torch_tensorrt"
    # the provider alone is exchanged: the way of its options is the real one
    compiler.keywords["backend"] = backend
    network = FoldedGpen(tiny_network())
    restorer = torch_restorer(network, compiler=compiler, precision=Precision.BF16, use_graph=False)
    assert backend.options == {
        "use_explicit_typing": True,
        "pass_through_build_failures": True,
        "cache_built_engines": True,
        "reuse_cached_engines": True,
        "immutable_weights": False,
        "engine_cache_dir": str(tmp_path / "tensorrt"),
    }
    crops = random_crops(3)
    plain = torch_restorer(network, precision=Precision.BF16)
    assert_equal(restorer.submit(crops).result(), plain.submit(crops).result())


@pytest.mark.slow
def test_the_compiled_network_differs_by_roundings_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # its pool of compilers lives as long as the process
    monkeypatch.setattr(inductor_config, "compile_threads", 1)
    restorer, _ = build(
        tmp_path, device="cpu", runtime=Runtime.TORCH_COMPILE, precision=Precision.FP32
    )
    assert isinstance(restorer, TorchRestorer)
    plain, _ = build(tmp_path, device="cpu", runtime=Runtime.TORCH, precision=Precision.FP32)
    crops = random_crops(3)
    for a, b in zip(restorer.submit(crops).result(), plain.submit(crops).result(), strict=True):
        assert abs(a.astype(int) - b).max() <= 1
    assert any((tmp_path / "torch-compile").rglob("*.so"))


# --- devices -------------------------------------------------------------------------------------


def give(monkeypatch: pytest.MonkeyPatch, cards: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cards", "mps", "asked", "runtime", "device", "chosen"),
    [
        (0, False, "auto", Runtime.AUTO, "cpu", Runtime.OPENVINO),
        (2, False, "auto", Runtime.AUTO, "cuda", Runtime.TORCH),
        (2, False, "auto", Runtime.OPENVINO, "cpu", Runtime.OPENVINO),
        (2, False, "auto", Runtime.TENSORRT, "cuda", Runtime.TENSORRT),
        (2, False, "cuda:1", Runtime.TORCH_COMPILE, "cuda:1", Runtime.TORCH_COMPILE),
        (0, True, "auto", Runtime.AUTO, "cpu", Runtime.OPENVINO),
        (0, True, "mps", Runtime.AUTO, "mps", Runtime.TORCH),
    ],
)
def test_a_device_and_a_runtime_go_together(
    monkeypatch: pytest.MonkeyPatch,
    cards: int,
    mps: bool,
    asked: str,
    runtime: Runtime,
    device: str,
    chosen: Runtime,
) -> None:
    give(monkeypatch, cards, mps)
    found = choose_device(asked, runtime)
    assert str(found) == device
    assert choose_runtime(runtime, found) is chosen


@pytest.mark.parametrize(
    ("asked", "runtime", "message"),
    [
        ("mps", Runtime.AUTO, "cannot use mps: this is no Mac"),
        ("cuda", Runtime.AUTO, "cannot use cuda: no CUDA device found; use --device cpu"),
        ("auto", Runtime.TENSORRT, "cannot use cuda: no CUDA device found"),
        ("cpu", Runtime.TENSORRT, "TensorRT runs on NVIDIA cards, not on cpu"),
    ],
)
def test_what_is_not_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch, asked: str, runtime: Runtime, message: str
) -> None:
    give(monkeypatch)
    with pytest.raises(DeviceError, match=message):
        choose_runtime(runtime, choose_device(asked, runtime))


def test_apple_gpus_compute_in_fp16_or_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, mps=True)
    with pytest.raises(DeviceError, match="mps has no bf16: use --precision fp16"):
        build(tmp_path, device="mps", precision=Precision.BF16)
