"""The exported network, in the programs that read ONNX."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import skip_or_fail
from tests.models.test_restorers import SIZE, random_crops, tiny_network, torch_restorer
from vidrestore.errors import DeviceError, OutputError
from vidrestore.models import onnx_file
from vidrestore.models.gpen_folded import FoldedGpen
from vidrestore.models.onnx_file import OnnxFile, export_onnx

try:
    import onnx
    import onnxruntime
except ImportError:
    skip_or_fail("onnx", "onnx or onnxruntime is not installed (they come with 'vidrestore[dev]')")


@pytest.fixture(scope="module")
def network() -> FoldedGpen:
    return FoldedGpen(tiny_network())


@pytest.fixture(scope="module")
def made(network: FoldedGpen, tmp_path_factory: pytest.TempPathFactory) -> OnnxFile:
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    return export_onnx(network, path, {"licence": "for a test"})


def test_the_file_says_what_it_takes_and_whose_it_is(made: OnnxFile) -> None:
    model = onnx.load(made.path)
    onnx.checker.check_model(model)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", onnx_file.OPSET)]
    for value, name in ((model.graph.input[0], "crops"), (model.graph.output[0], "restored")):
        tensor = value.type.tensor_type
        assert value.name == name
        assert tensor.elem_type == onnx.TensorProto.UINT8
        assert [d.dim_value or d.dim_param for d in tensor.shape.dim] == ["n", SIZE, SIZE, 3]
    assert {p.key: p.value for p in model.metadata_props}["licence"] == "for a test"
    assert made.num_bytes == made.path.stat().st_size
    assert [p.name for p in made.path.parent.iterdir()] == ["tiny.onnx"]


@pytest.mark.parametrize("count", [1, 3])
def test_another_program_makes_the_same_pictures_of_it(
    made: OnnxFile, network: FoldedGpen, count: int
) -> None:
    crops = random_crops(count, seed=5)
    session = onnxruntime.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    (restored,) = session.run(None, {"crops": np.stack(crops)})
    expected = np.stack(torch_restorer(network).submit(crops).result())
    assert np.abs(restored.astype(int) - expected).max() <= 1
    assert restored.std() > 10
    assert made.max_difference <= 1


def test_a_file_that_computes_something_else_is_not_written(
    network: FoldedGpen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = onnx_file._computed
    monkeypatch.setattr(onnx_file, "_computed", lambda *args: computed(*args) // 2)
    with pytest.raises(OutputError, match="pictures differ from PyTorch's by"):
        export_onnx(network, tmp_path / "wrong.onnx", {})
    assert not list(tmp_path.iterdir())


def test_without_the_extra_it_says_what_to_install(
    network: FoldedGpen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"pip install 'vidrestore\[onnx\]'"):
        export_onnx(network, tmp_path / "a.onnx", {})
